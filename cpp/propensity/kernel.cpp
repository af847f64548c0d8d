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
constexpr std::size_t together = 2;  // arms whose densities are computed at once

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
    return V::load(panel.log_x + at) * arm.a + V::load(panel.log_rest + at) * arm.b - arm.peak;
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

// exp(x) for x <= 0 to 1e-14, and exp(-708) below that: what is so small is nothing. The terms of the
// series are paired, since a chain of them would keep the processor waiting.
template <std::size_t count>
MLKIT_INLINE void exponentials(Real (&x)[count]) {
  constexpr double c[] = {1.0,         1.0,          1.0 / 2,       1.0 / 6,
                          1.0 / 24,    1.0 / 120,    1.0 / 720,     1.0 / 5040,
                          1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800};
  for (std::size_t i = 0; i < count; ++i) {
    const Real y = V::maximum(x[i], V::real(-708.0));
    const Real shifted = y * std::numbers::log2e + integer_shift;
    const Real k = shifted - integer_shift;
    const Real r = (y - k * ln2_high) - k * ln2_low;
    const Real square = r * r, fourth = square * square;
    const Real low = (r + c[0]) + square * (r * c[3] + c[2]);
    const Real middle = (r * c[5] + c[4]) + square * (r * c[7] + c[6]);
    const Real high = (r * c[9] + c[8]) + square * (r * c[11] + c[10]);
    x[i] = (low + fourth * (middle + fourth * high)) * power_of_two<V>(shifted);
  }
}

// The densities of some arms at the nodes.
template <std::size_t count>
MLKIT_INLINE void densities_at(const Panel& panel, const Arm* arms, Values (&found)[count]) {
  Real shapes[count * parts];
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t p = 0; p < parts; ++p)
      shapes[i * parts + p] = V::minimum(log_shape(panel, arms[i], p * V::width), V::real(0.0));
  exponentials(shapes);
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t p = 0; p < parts; ++p)
      found[i].part[p] = shapes[i * parts + p] * arms[i].scale;
}

// The sum of a panel's nodes, in one order for all instruction sets.
MLKIT_INLINE double sum(const Values& values) {
  double each[nodes];
  store(each, values);
  return ((each[0] + each[4]) + (each[2] + each[6])) + ((each[1] + each[5]) + (each[3] + each[7]));
}

// P(Y > y) at the nodes; moves the arms' right edges to the panel's left one.
template <std::size_t count>
MLKIT_INLINE void above_of(const Panel& panel, Arm* arms, const Values (&density)[count],
                           Values (&found)[count]) {
  double g[count][nodes];
  for (std::size_t i = 0; i < count; ++i) {
    store(g[i], density[i]);
    for (std::size_t p = 0; p < parts; ++p) found[i].part[p] = V::real(arms[i].right);
  }
  for (std::size_t r = 0; r < nodes; ++r) {
    const Values weights = load(panel.to_the_right[r]);
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t p = 0; p < parts; ++p)
        found[i].part[p] = found[i].part[p] + weights.part[p] * g[i][r];
  }
  const Values weights = load(panel.weights);
  for (std::size_t i = 0; i < count; ++i) {
    Values mass;
    for (std::size_t p = 0; p < parts; ++p) {
      mass.part[p] = weights.part[p] * density[i].part[p];
      found[i].part[p] = V::minimum(V::maximum(found[i].part[p], V::real(0.0)), V::real(1.0));
    }
    const double right = arms[i].right + sum(mass);
    arms[i].right = right < 1.0 ? right : 1.0;
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

// Count some arms, and add what they are expected to bring.
template <std::size_t count>
MLKIT_INLINE void count_some(const Panel& panel, Arm* arms, std::size_t k, double* counts,
                             Values& crowd, Values& densities) {
  Values density[count], above[count];
  densities_at(panel, arms, density);
  above_of(panel, arms, density, above);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t p = 0; p < parts; ++p) {
      crowd.part[p] = crowd.part[p] + above[i].part[p];
      densities.part[p] = densities.part[p] + density[i].part[p];
    }
  }
  if constexpr (count == 2) count_two(above[0], above[1], k, counts);
  else
    for (std::size_t i = 0; i < count; ++i) count_one(above[i], k, counts, counts);
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
    V::store(panel.log_x + p, V::minimum(y, zero) - soft);
    V::store(panel.log_rest + p, V::minimum(-y, zero) - soft);
    V::store(panel.weights + p, V::load(rule.weight + p) * panel.half);
    for (std::size_t r = 0; r < nodes; ++r)
      V::store(panel.to_the_right[r] + p, V::load(rule.to_the_right[r] + p) * panel.half);
  }
}

void densities(const Panel& panel, Arm& arm, double* density, double* above) {
  Values found[1], upper[1];
  densities_at(panel, &arm, found);
  above_of(panel, &arm, found, upper);
  store(density, found[0]);
  store(above, upper[0]);
}

Crowd count_above(const Panel& panel, Arm* arms, std::size_t count, std::size_t k, double* counts) {
  Values crowd, densities;
  for (std::size_t p = 0; p < parts; ++p) crowd.part[p] = densities.part[p] = V::real(0.0);
  std::size_t i = 0;
  for (; i + together <= count; i += together)
    count_some<together>(panel, arms + i, k, counts, crowd, densities);
  for (; i < count; ++i) count_some<1>(panel, arms + i, k, counts, crowd, densities);
  return {crowd.part[0][0], densities.part[0][0]};
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
