// The kernel on panels, compiled once for each instruction set.
#include "propensity/kernel.hpp"

#include <numbers>

#include "simd/elementary.hpp"
#include "simd/vector.hpp"

namespace mlkit::propensity::MLKIT_ISA {

using namespace mlkit::simd::MLKIT_ISA;

namespace {

using V = Vector;
using Real = V::Real;
constexpr std::size_t parts = nodes / V::width;
constexpr std::size_t together = 4;  // arms whose densities are computed at once

// A function at the nodes of a panel.
struct Values {
  Real part[parts];
};

MLKIT_INLINE Values load(const double* from) {
  Values values;
  for (std::size_t p = 0; p < parts; ++p) values.part[p] = V::load(from + p * V::width);
  return values;
}

MLKIT_INLINE void store(double* to, const Values& values) {
  for (std::size_t p = 0; p < parts; ++p) V::store(to + p * V::width, values.part[p]);
}

MLKIT_INLINE Real log_shape(const Panel& panel, const Arm& arm, std::size_t at) {
  if (arm.narrow == nullptr)
    return V::load(panel.log_x + at) * arm.a + V::load(panel.log_rest + at) * arm.b - arm.peak2;
  const Series& series = *arm.narrow;
  // Farther away the series, which is about the mode, rises again, where the density is nothing.
  const Real away = V::load(panel.y + at) - series.mode;
  const Real t = V::minimum(V::maximum(away, V::real(-nothing)), V::real(nothing));
  Real sum = t * series.curve[4] + series.curve[3];
  sum = sum * t + series.curve[2];
  sum = sum * t + series.curve[1];
  sum = sum * t + series.curve[0];
  return sum * t * t;
}

// 2^x for x <= 0 (and a little above, by rounding), and 2^-1021 below that: what is so small is
// nothing. The polynomial interpolates 2^r, |r| <= 1/2, at Chebyshev's ten nodes: relative error
// 2e-14. Its terms are paired, since a chain of them would keep the processor waiting.
template <std::size_t count>
MLKIT_INLINE void powers_of_two(Real (&x)[count]) {
  constexpr double c[] = {1.0000000000000135,    0.6931471805599462,     0.2402265069564034,
                          0.05550410866465167,   0.009618129193934313,   0.0013333558200794592,
                          0.0001540343375125101, 1.5252672924850737e-05, 1.325964524488711e-06,
                          1.0205905413765595e-07};
  for (std::size_t i = 0; i < count; ++i) {
    const Real y = V::maximum(x[i], V::real(-1021.0));
    const Real shifted = y + integer_shift;
    const Real r = y - (shifted - integer_shift);
    const Real square = r * r, fourth = square * square;
    const Real low = (r * c[1] + c[0]) + square * (r * c[3] + c[2]);
    const Real middle = (r * c[5] + c[4]) + square * (r * c[7] + c[6]);
    x[i] = (low + fourth * (middle + fourth * (r * c[9] + c[8]))) * power_of_two<V>(shifted);
  }
}

// The densities of some arms at the nodes.
template <std::size_t count>
MLKIT_INLINE void densities_at(const Panel& panel, const Arm* arms, Values (&found)[count]) {
  Real shapes[count * parts];
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t p = 0; p < parts; ++p)
      shapes[i * parts + p] = log_shape(panel, arms[i], p * V::width);
  powers_of_two(shapes);
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t p = 0; p < parts; ++p)
      found[i].part[p] = shapes[i * parts + p] * arms[i].scale;
}

constexpr std::size_t pairs = nodes / 2;                   // of mirrored nodes, q and q + 4
constexpr std::size_t halves = parts > 1 ? parts / 2 : 1;  // vectors for one node of each pair

MLKIT_INLINE Real bounded(Real chance) {
  return V::minimum(V::maximum(chance, V::real(0.0)), V::real(1.0));
}

// The sum of a density's values at two mirrored nodes, the difference, and the integral's part.
MLKIT_INLINE void split(const Panel& panel, const Values& density, double (&even)[pairs],
                        double (&odd)[pairs], double (&mass)[pairs]) {
  if constexpr (parts > 1) {
    for (std::size_t p = 0; p < halves; ++p) {
      const Real sum = density.part[p] + density.part[p + halves];
      V::store(even + p * V::width, sum);
      V::store(odd + p * V::width, density.part[p] - density.part[p + halves]);
      V::store(mass + p * V::width, V::load(panel.weights + p * V::width) * sum);
    }
  } else {
    double g[nodes];
    store(g, density);
    for (std::size_t r = 0; r < pairs; ++r) {
      even[r] = g[r] + g[r + pairs], odd[r] = g[r] - g[r + pairs];
      mass[r] = panel.weights[r] * even[r];
    }
  }
}

// The sum of a panel's nodes, in one order for all instruction sets.
MLKIT_INLINE double sum(const Values& values) {
  double each[nodes];
  store(each, values);
  return ((each[0] + each[4]) + (each[2] + each[6])) + ((each[1] + each[5]) + (each[3] + each[7]));
}

// P(Y > y) at the nodes; moves the arms' right edges to the panel's left one. The rule is
// symmetric: what the even part of a density (about the middle) adds to half of its integral is
// odd, and what its odd part adds is even, so that half of the products suffice. Cancellation costs
// 1e-16 of what the whole panel adds.
template <std::size_t count>
MLKIT_INLINE void above_of(const Panel& panel, Arm* arms, const Values (&density)[count],
                           Values (&found)[count]) {
  double even[count][pairs], odd[count][pairs], mass[count][pairs];
  Real of_even[count][halves], of_odd[count][halves];
  for (std::size_t i = 0; i < count; ++i) {
    split(panel, density[i], even[i], odd[i], mass[i]);
    for (std::size_t p = 0; p < halves; ++p) of_even[i][p] = of_odd[i][p] = V::real(0.0);
  }
  for (std::size_t r = 0; r < pairs; ++r) {
    for (std::size_t p = 0; p < halves; ++p) {
      const Real of_r = V::load(panel.even[r] + p * V::width);
      const Real of_s = V::load(panel.odd[r] + p * V::width);
      for (std::size_t i = 0; i < count; ++i) {
        of_even[i][p] = of_even[i][p] + of_r * even[i][r];
        of_odd[i][p] = of_odd[i][p] + of_s * odd[i][r];
      }
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const double all = (mass[i][0] + mass[i][2]) + (mass[i][1] + mass[i][3]);
    const double middle = arms[i].right + all / 2, left = arms[i].right + all;
    for (std::size_t p = 0; p < halves; ++p) {
      found[i].part[p] = bounded((of_odd[i][p] + of_even[i][p]) + middle);
      // The mirrored nodes; a vector of all nodes has them, with signs in `panel.even`.
      if constexpr (parts > 1)
        found[i].part[p + halves] = bounded((of_odd[i][p] - of_even[i][p]) + middle);
    }
    arms[i].right = left < 1.0 ? left : 1.0;
  }
}

// Multiply the polynomial of k terms by (1 - above) + above z.
MLKIT_INLINE void count_one(const Values& above, std::size_t k, const double* from, double* to) {
  for (std::size_t r = k; r-- > 0;) {
    Values term = load(from + r * nodes);
    for (std::size_t p = 0; p < parts; ++p) term.part[p] = term.part[p] * (1.0 - above.part[p]);
    if (r > 0) {
      const Values before = load(from + (r - 1) * nodes);
      for (std::size_t p = 0; p < parts; ++p)
        term.part[p] = term.part[p] + before.part[p] * above.part[p];
    }
    store(to + r * nodes, term);
  }
}

// Multiply it by that of two arms, which saves a multiplication of five.
MLKIT_INLINE void count_two(const Values& one, const Values& other, std::size_t k, double* counts) {
  Values none, single, both;
  for (std::size_t p = 0; p < parts; ++p) {
    const Real below = 1.0 - one.part[p], other_below = 1.0 - other.part[p];
    none.part[p] = below * other_below;
    single.part[p] = below * other.part[p] + one.part[p] * other_below;
    both.part[p] = one.part[p] * other.part[p];
  }
  Values term = load(counts + (k - 1) * nodes), before, first;
  for (std::size_t p = 0; p < parts; ++p) first.part[p] = V::real(0.0);
  before = k > 1 ? load(counts + (k - 2) * nodes) : first;
  for (std::size_t r = k; r-- > 0;) {
    const Values earlier = r > 1 ? load(counts + (r - 2) * nodes) : first;
    for (std::size_t p = 0; p < parts; ++p)
      term.part[p] = (term.part[p] * none.part[p] + before.part[p] * single.part[p]) +
                     earlier.part[p] * both.part[p];
    store(counts + r * nodes, term);
    term = before;
    before = earlier;
  }
}

// Sums of the powers of small chances: the polynomial of these arms, the product of all 1 + S (z - 1),
// is exp(P_1 (z - 1) - P_2 (z - 1)^2 / 2 + ...). (Newton's identities, as Chen and Liu have them of the
// odds: Statistica Sinica 7, 1997.) What the first power P_m that is left out changes in a coefficient
// of the logarithm is (m over j) P_m / m, at most 5 P_m for m <= 7, and so in all of a probability.
struct Powers {
  Values sum[most_powers];
  std::size_t used = 0;  // how many powers
};

template <std::size_t powers>
MLKIT_INLINE void add_powers(const Values& above, Powers& to) {
  for (std::size_t p = 0; p < parts; ++p) {
    Real power = above.part[p];
    to.sum[0].part[p] = to.sum[0].part[p] + power;
    for (std::size_t m = 1; m < powers; ++m) {
      power = power * above.part[p];
      to.sum[m].part[p] = to.sum[m].part[p] + power;
    }
  }
  if (to.used < powers) to.used = powers;
}

// The factor of the m-th sum in the j-th coefficient of the logarithm, times j but for the
// constant: (-1)^(j+1) j (m over j) / m.
struct Factors {
  double of[most_powers + 1][most_powers + 1];
  constexpr Factors() : of{} {
    for (std::size_t m = 1; m <= most_powers; ++m) {
      double choose = -1;
      for (std::size_t j = 0; j <= m; ++j) {
        of[j][m] = choose * static_cast<double>(j > 0 ? j : 1) / static_cast<double>(m);
        choose *= -static_cast<double>(m - j) / static_cast<double>(j + 1);
      }
    }
  }
};
constexpr Factors factors{};

// Multiply the polynomial of k terms by that of the arms in `powers`; own: k terms of scratch.
MLKIT_INLINE void count_powers(const Powers& powers, std::size_t k, double* own, double* counts) {
  Values slope[most_powers + 1];
  for (std::size_t j = 0; j <= powers.used; ++j) {
    for (std::size_t p = 0; p < parts; ++p) slope[j].part[p] = V::real(0.0);
    for (std::size_t m = j > 0 ? j : 1; m <= powers.used; ++m)
      for (std::size_t p = 0; p < parts; ++p)
        slope[j].part[p] = slope[j].part[p] + powers.sum[m - 1].part[p] * factors.of[j][m];
  }
  for (std::size_t p = 0; p < parts; ++p) slope[0].part[p] = slope[0].part[p] * std::numbers::log2e;
  powers_of_two(slope[0].part);
  store(own, slope[0]);
  for (std::size_t r = 1; r < k; ++r) {
    Values term;
    for (std::size_t p = 0; p < parts; ++p) term.part[p] = V::real(0.0);
    for (std::size_t j = 1; j <= r && j <= powers.used; ++j) {
      const Values before = load(own + (r - j) * nodes);
      for (std::size_t p = 0; p < parts; ++p)
        term.part[p] = term.part[p] + slope[j].part[p] * before.part[p];
    }
    const double share = 1 / static_cast<double>(r);
    for (std::size_t p = 0; p < parts; ++p)  // of few arms nothing is left but rounding
      term.part[p] = V::maximum(term.part[p] * share, V::real(0.0));
    store(own + r * nodes, term);
  }
  for (std::size_t r = k; r-- > 0;) {
    Values term;
    for (std::size_t p = 0; p < parts; ++p) term.part[p] = V::real(0.0);
    for (std::size_t j = 0; j <= r; ++j) {
      const Values x = load(own + j * nodes), y = load(counts + (r - j) * nodes);
      for (std::size_t p = 0; p < parts; ++p) term.part[p] = term.part[p] + x.part[p] * y.part[p];
    }
    store(counts + r * nodes, term);
  }
}

// Count some arms: those with small chances by their powers.
template <std::size_t count>
MLKIT_INLINE void count_some(const Panel& panel, Arm* arms, std::size_t k, const Small& small,
                             double* counts, Powers& powers, Crowd& crowd) {
  Values density[count], above[count];
  densities_at(panel, arms, density);
  above_of(panel, arms, density, above);
  double most = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double at_left = above[i].part[0][0];
    crowd.above += at_left, crowd.density += density[i].part[0][0];
    if (at_left > most) most = at_left;
  }
  if (most < small.few) {
    for (std::size_t i = 0; i < count; ++i) add_powers<few_powers>(above[i], powers);
  } else if (most < small.most) {
    for (std::size_t i = 0; i < count; ++i) add_powers<most_powers>(above[i], powers);
  } else {
    std::size_t i = 0;
    for (; i + 2 <= count; i += 2) count_two(above[i], above[i + 1], k, counts);
    for (; i < count; ++i) count_one(above[i], k, counts, counts);
  }
}

}  // namespace

void place(const Rule& rule, double left, double right, Panel& panel) {
  panel.half = (right - left) / 2;
  const double middle = left + panel.half;
  const Real zero = V::real(0.0);
  for (std::size_t p = 0; p < nodes; p += V::width) {
    const Real y = V::load(rule.node + p) * panel.half + middle;
    const Real small = exp_of_negative<V>(-V::magnitude(y)), more = small + 1.0;
    // log(1 + small), exact for a tiny one.
    const Real soft = log<V>(more) + (small - (more - 1.0)) / more;
    V::store(panel.y + p, y);
    V::store(panel.log_x + p, (V::minimum(y, zero) - soft) * std::numbers::log2e);
    V::store(panel.log_rest + p, (V::minimum(-y, zero) - soft) * std::numbers::log2e);
    V::store(panel.weights + p, V::load(rule.weight + p) * panel.half);
    for (std::size_t r = 0; r < nodes / 2; ++r) {
      V::store(panel.even[r] + p, V::load(rule.even[r] + p) * panel.half);
      V::store(panel.odd[r] + p, V::load(rule.odd[r] + p) * panel.half);
    }
  }
}

void densities(const Panel& panel, Arm& arm, double* density, double* above) {
  Values found[1], upper[1];
  densities_at(panel, &arm, found);
  above_of(panel, &arm, found, upper);
  store(density, found[0]);
  store(above, upper[0]);
}

Crowd count_above(const Panel& panel, Arm* arms, std::size_t count, std::size_t k,
                  const Small& small, double* scratch, double* counts) {
  Powers powers;
  for (std::size_t m = 0; m < most_powers; ++m)
    for (std::size_t p = 0; p < parts; ++p) powers.sum[m].part[p] = V::real(0.0);
  Crowd crowd;
  std::size_t i = 0;
  for (; i + together <= count; i += together)
    count_some<together>(panel, arms + i, k, small, counts, powers, crowd);
  for (; i < count; ++i) count_some<1>(panel, arms + i, k, small, counts, powers, crowd);
  if (powers.used > 0) count_powers(powers, k, scratch, counts);
  return crowd;
}

void add_ranks(const Panel& panel, const double* density, const double* above, std::size_t shown,
               std::size_t k, const double* counts, double* scratch, double* const* ranks) {
  const std::size_t terms = k * nodes;
  double* before = scratch;                       // the others and the shown arms before
  double* after = scratch + (shown + 1) * terms;  // the shown arms after
  for (std::size_t j = 0; j < terms; ++j) before[j] = counts[j];
  for (std::size_t i = 0; i < shown; ++i)
    count_one(load(above + i * nodes), k, before + i * terms, before + (i + 1) * terms);
  for (std::size_t j = 0; j < terms; ++j) after[shown * terms + j] = j < nodes ? 1.0 : 0.0;
  for (std::size_t i = shown; i-- > 0;)
    count_one(load(above + i * nodes), k, after + (i + 1) * terms, after + i * terms);
  const Values weights = load(panel.weights);
  for (std::size_t i = 0; i < shown; ++i) {
    Values share = load(density + i * nodes);
    for (std::size_t p = 0; p < parts; ++p) share.part[p] = share.part[p] * weights.part[p];
    for (std::size_t r = 0; r < k; ++r) {
      Values others;
      for (std::size_t p = 0; p < parts; ++p) others.part[p] = V::real(0.0);
      for (std::size_t m = 0; m <= r && m < shown - i; ++m) {
        const Values x = load(before + i * terms + (r - m) * nodes);
        const Values y = load(after + (i + 1) * terms + m * nodes);
        for (std::size_t p = 0; p < parts; ++p)
          others.part[p] = others.part[p] + x.part[p] * y.part[p];
      }
      const Values before_it = load(ranks[i] + r * nodes);
      for (std::size_t p = 0; p < parts; ++p)
        others.part[p] = others.part[p] * share.part[p] + before_it.part[p];
      store(ranks[i] + r * nodes, others);
    }
  }
}

double add_place(const Rule& rule, const double* halves, std::size_t panels, const double* g,
                 std::size_t stride, double* h) {
  const Values weights = load(rule.weight);
  double below = 0;
  for (std::size_t panel = panels; panel-- > 0;) {  // from the left, since it may be tiny
    const Values density = load(g + panel * stride);
    Values f = load(h + panel * nodes), integral, whole;
    for (std::size_t p = 0; p < parts; ++p) {
      f.part[p] = f.part[p] * density.part[p];
      whole.part[p] = f.part[p] * weights.part[p];
      integral.part[p] = V::real(0.0);
    }
    double each[nodes];
    store(each, f);
    for (std::size_t r = 0; r < nodes; ++r) {
      const Values share = load(rule.from_the_left[r]);
      for (std::size_t p = 0; p < parts; ++p)
        integral.part[p] = integral.part[p] + share.part[p] * each[r];
    }
    for (std::size_t p = 0; p < parts; ++p)
      integral.part[p] = V::maximum(V::real(0.0), integral.part[p] * halves[panel] + below);
    store(h + panel * nodes, integral);
    below += sum(whole) * halves[panel];
  }
  return below;
}

}  // namespace mlkit::propensity::MLKIT_ISA
