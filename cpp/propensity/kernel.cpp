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

// The densities of some arms at the nodes.
template <std::size_t count>
MLKIT_INLINE void densities_at(const Panel& panel, const Arm* arms, Values (&found)[count]) {
  Real shapes[count * parts];
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t p = 0; p < parts; ++p)
      shapes[i * parts + p] = V::minimum(log_shape(panel, arms[i], p * V::width), V::real(0.0));
  exp_of_negative<V>(shapes);
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
    count_one(above[i], k, counts, counts);
  }
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

void find_ends(const double* a, const double* b, const double* mode, const double* peak,
               std::size_t count, const End* wanted, double* const* ends) {
  constexpr int steps = 3;  // beyond, the end moves by less than panels are wide
  for (std::size_t i = 0; i < count; i += V::width) {
    const std::size_t filled = count - i < V::width ? count - i : V::width;
    const auto take = [&](const double* from) {
      double taken[V::width];
      for (std::size_t lane = 0; lane < V::width; ++lane)
        taken[lane] = from[i + (lane < filled ? lane : filled - 1)];
      return V::load(taken);
    };
    const Real of_a = take(a), of_b = take(b), of_mode = take(mode), of_peak = take(peak);
    Real away[end_count];
    for (std::size_t e = 0; e < end_count; ++e)
      away[e] = bound_of_end(of_a, of_b, of_mode, wanted[e].direction, wanted[e].depth);
    for (int step = 0; step < steps; ++step)
      for (std::size_t e = 0; e < end_count; ++e)
        away[e] =
            nearer_end(of_a, of_b, of_mode, of_peak, wanted[e].direction, wanted[e].depth, away[e]);
    for (std::size_t e = 0; e < end_count; ++e) {
      double found[V::width];
      V::store(found, of_mode + away[e] * wanted[e].direction);
      for (std::size_t lane = 0; lane < filled; ++lane) ends[e][i + lane] = found[lane];
    }
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
