// The kernel of the propensities, compiled once for each instruction set.
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
constexpr double nothing = 0.5;      // from the mode of a narrow arm: exp(-1e4) and less

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
  if (!arm.narrow)
    return V::load(panel.log_x + at) * arm.a + V::load(panel.log_rest + at) * arm.b - arm.peak;
  // Farther away the series, which is about the mode, rises again, where the density is nothing.
  const Real away = V::load(panel.y + at) - arm.mode;
  const Real t = V::minimum(V::maximum(away, V::real(-nothing)), V::real(nothing));
  Real sum = t * arm.curve[4] + arm.curve[3];
  sum = sum * t + arm.curve[2];
  sum = sum * t + arm.curve[1];
  sum = sum * t + arm.curve[0];
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

// The fall of an arm's log density from its mode is convex, so that Newton's steps come from
// outside and never cross the end. They begin at the nearest of three bounds: everywhere
// fall(t) >= c (e^-t + t - 1) >= c t^2 / (2 + t), with c the curvature at the mode; and on the side
// where the curvature grows first, about as far as to where x or 1 - x is a half,
// fall(t) >= c t^2 / 2 and c / 4 (e^t - t - 1).
MLKIT_INLINE Real bound_of_end(Real a, Real b, Real mode, double direction, double depth) {
  const Real share = V::minimum(a, b) / (a + b);
  const Real deep = depth / (V::maximum(a, b) * share);
  const Real root = V::square_root(deep);
  const Real bending =
      V::select(V::less(V::real(0.0), mode * -direction), -log<V>(share), V::real(0.0));
  Real away = (deep + root * V::square_root(deep + 8.0)) * 0.5;
  const Real gauss = root * std::numbers::sqrt2;
  away = V::select(V::less(gauss, bending), V::minimum(away, gauss), away);
  const Real grown = deep * 4.0 + 1.0;
  const Real grows = log<V>(grown + gauss * 2.0 + log<V>(grown));
  return V::select(V::less(grows, bending), V::minimum(away, grows), away);
}

MLKIT_INLINE Real nearer_end(Real a, Real b, Real mode, Real peak, double direction, double depth,
                             Real away) {
  const Real y = mode + away * direction;
  const Real small = exp_of_negative<V>(-V::maximum(y, -y));
  const Real near_one = 1.0 / (small + 1.0);
  const Real soft = log<V>(small + 1.0);
  const Real below = V::maximum(-y, V::real(0.0)) + soft;
  const Real above = V::maximum(y, V::real(0.0)) + soft;
  const auto right = V::less(V::real(0.0), y);
  const Real x = V::select(right, near_one, small * near_one);
  const Real rest = V::select(right, small * near_one, near_one);
  const Real excess = peak + a * below + b * above - depth;
  const Real nearer = away - excess / ((b * x - a * rest) * direction);
  // Where the bound did not hold, it is too near.
  return V::select(V::less(excess, V::real(-0.5)), away * 1.5, V::minimum(nearer, away));
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

// log gamma(x) less Stirling's (x - 1/2) log x - x + log(2 pi) / 2, but for a term log(factor):
// below 8 from gamma(x) = gamma(x + 8) / (x (x + 1) .. (x + 7)).
MLKIT_INLINE Real stirling_rest(Real x, Real log_x, Real& factor) {
  const auto small = V::less(x, V::real(8.0));
  const Real larger = V::select(small, x + 8.0, x);
  factor = V::select(
      small,
      (x * (x + 1.0) * (x + 2.0) * (x + 3.0)) * ((x + 4.0) * (x + 5.0) * (x + 6.0) * (x + 7.0)),
      V::real(1.0));
  const Real moved = (larger - 0.5) * log<V>(larger) - (x - 0.5) * log_x - 8.0;
  const Real i = 1.0 / larger, square = i * i;
  Real series = square * (-691.0 / 360360) + 1.0 / 1188;
  series = series * square - 1.0 / 1680;
  series = series * square + 1.0 / 1260;
  series = series * square - 1.0 / 360;
  series = series * square + 1.0 / 12;
  return V::select(small, moved, V::real(0.0)) + series * i;
}

// As many numbers as a vector has; the last one again behind the end.
MLKIT_INLINE Real take(const double* from, std::size_t filled) {
  double taken[V::width];
  for (std::size_t lane = 0; lane < V::width; ++lane)
    taken[lane] = from[lane < filled ? lane : filled - 1];
  return V::load(taken);
}

MLKIT_INLINE void give(double* to, std::size_t filled, const Real& values) {
  double given[V::width];
  V::store(given, values);
  for (std::size_t lane = 0; lane < filled; ++lane) to[lane] = given[lane];
}

double log_shape_at(const Point& point, const Arm& arm) {
  if (!arm.narrow) return point.log_x * arm.a + point.log_rest * arm.b - arm.peak;
  const double t = point.y - arm.mode;
  double sum = 0;
  for (std::size_t i = 5; i-- > 0;) sum = sum * t + arm.curve[i];
  // Farther away the series rises again.
  return t < nothing && t > -nothing ? sum * t * t : -1e4;
}

}  // namespace

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

void describe(const double* a, const double* b, std::size_t count, double* mode, double* peak,
              double* scale) {
  for (std::size_t i = 0; i < count; i += V::width) {
    const std::size_t filled = count - i < V::width ? count - i : V::width;
    const Real of_a = take(a + i, filled), of_b = take(b + i, filled), both = of_a + of_b;
    const Real log_a = log<V>(of_a), log_b = log<V>(of_b);
    const Real larger = V::maximum(of_a, of_b), lesser = V::minimum(of_a, of_b);
    // log(1 + u) for u = lesser / larger, exact for a tiny u; at the mode rounding of u cancels.
    const Real u = lesser / larger, more = u + 1.0;
    const Real soft = log<V>(more) + (u - (more - 1.0)) / more;
    const auto is_first = V::less(of_b, of_a);
    const Real apart =
        V::select(V::less(u, V::real(1e-290)), V::select(is_first, log_a - log_b, log_b - log_a),
                  -log<V>(V::maximum(u, V::real(1e-290))));
    const Real middle = V::select(is_first, apart, -apart);
    Real of_both, of_first, of_second;
    const Real rest = stirling_rest(both, log<V>(both), of_both) -
                      stirling_rest(of_a, log_a, of_first) - stirling_rest(of_b, log_b, of_second);
    const Real bent = V::square_root(of_a / both * of_b * (0.5 / std::numbers::pi));
    const Real grown = V::maximum(rest, V::real(0.0));
    const Real power = exp_of_negative<V>(rest - grown) / exp_of_negative<V>(-grown);
    give(mode + i, filled, middle);
    give(peak + i, filled, -(larger * soft + lesser * (apart + soft)));
    give(scale + i, filled, bent * power * (of_first / of_both * of_second));
  }
}

double above_point(const Point& point, const Arm* arms, std::size_t count, double* density,
                   double* above) {
  constexpr int terms = 14;
  double changes = 0;
  for (std::size_t i = 0; i < count; i += V::width) {
    const std::size_t filled = count - i < V::width ? count - i : V::width;
    double as[V::width], bs[V::width], shapes[V::width], scales[V::width];
    for (std::size_t lane = 0; lane < V::width; ++lane) {
      const Arm& arm = arms[i + (lane < filled ? lane : filled - 1)];
      as[lane] = arm.a, bs[lane] = arm.b, scales[lane] = arm.scale;
      shapes[lane] = log_shape_at(point, arm);
    }
    const Real a = V::load(as), b = V::load(bs), both = a + b;
    const Real g = exp_of_negative<V>(V::minimum(V::load(shapes), V::real(0.0))) * V::load(scales);
    const Real ahead = b * point.x - a * point.rest + 1.0;
    // Convergents p / q of 1 / (d1 + c2 / (d2 + c3 / (d3 + ...))).
    Real q = ahead * (b / (b + 1.0)), q_before = V::real(1.0);
    Real p = V::real(1.0), p_before = V::real(0.0);
    for (int n = 1; n < terms; ++n) {
      const auto m = static_cast<double>(n);
      const Real left = 1.0 / (b + (2 * m - 1)), part = (a - m) * (left * m * point.rest);
      const Real c = (b + (m - 1)) * (both + (m - 1)) * left * part * point.rest;
      const Real d = part + (b + m) / (b + (2 * m + 1)) * (ahead + m * (1 + point.x)) + m;
      const Real next_p = d * p + c * p_before, next_q = d * q + c * q_before;
      p_before = p, q_before = q, p = next_p, q = next_q;
    }
    const Real found = g * p / q, before = g * p_before / q_before;
    give(density + i, filled, g);
    give(above + i, filled, found);
    double last[V::width];
    V::store(last, V::magnitude(found - before));
    for (std::size_t lane = 0; lane < filled; ++lane) changes += last[lane];
  }
  return changes;
}

void find_ends(const double* a, const double* b, const double* mode, const double* peak,
               std::size_t count, const End* wanted, double* const* ends) {
  constexpr int steps = 2;  // beyond, the end moves by less than panels are wide
  for (std::size_t i = 0; i < count; i += V::width) {
    const std::size_t filled = count - i < V::width ? count - i : V::width;
    const Real of_a = take(a + i, filled), of_b = take(b + i, filled);
    const Real of_mode = take(mode + i, filled), of_peak = take(peak + i, filled);
    Real away[end_count];
    for (std::size_t e = 0; e < end_count; ++e)
      away[e] = bound_of_end(of_a, of_b, of_mode, wanted[e].direction, wanted[e].depth);
    for (int step = 0; step < steps; ++step)
      for (std::size_t e = 0; e < end_count; ++e)
        away[e] =
            nearer_end(of_a, of_b, of_mode, of_peak, wanted[e].direction, wanted[e].depth, away[e]);
    for (std::size_t e = 0; e < end_count; ++e)
      give(ends[e] + i, filled, of_mode + away[e] * wanted[e].direction);
  }
}

void add_ranks(const Panel& panel, const double* density, const double* above, std::size_t shown,
               std::size_t k, const double* counts, double* scratch, double* ranks) {
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
    const Values g = load(density + i * nodes);
    for (std::size_t r = 0; r < k; ++r) {
      Values others;
      for (std::size_t p = 0; p < parts; ++p) others.part[p] = V::real(0.0);
      for (std::size_t m = 0; m <= r && m < shown - i; ++m) {
        const Values x = load(before + i * terms + (r - m) * nodes);
        const Values y = load(after + (i + 1) * terms + m * nodes);
        for (std::size_t p = 0; p < parts; ++p)
          others.part[p] = others.part[p] + x.part[p] * y.part[p];
      }
      for (std::size_t p = 0; p < parts; ++p)
        others.part[p] = others.part[p] * g.part[p] * weights.part[p];
      ranks[i * k + r] += sum(others);
    }
  }
}

}  // namespace mlkit::propensity::MLKIT_ISA
