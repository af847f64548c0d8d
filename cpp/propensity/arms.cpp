// The kernel on arms, compiled once for each instruction set.
#include "propensity/kernel.hpp"

#include <numbers>

#include "simd/elementary.hpp"
#include "simd/vector.hpp"

namespace mlkit::propensity::MLKIT_ISA {

using namespace mlkit::simd::MLKIT_ISA;

namespace {

using V = Vector;
using Real = V::Real;
constexpr double infinity = __builtin_inf();

// As many numbers as a vector has; the last one again behind the end.
MLKIT_INLINE Real take(const double* from, std::size_t filled) {
  if (filled == V::width) return V::load(from);
  double taken[V::width];
  for (std::size_t lane = 0; lane < V::width; ++lane)
    taken[lane] = from[lane < filled ? lane : filled - 1];
  return V::load(taken);
}

MLKIT_INLINE void give(double* to, std::size_t filled, const Real& values) {
  if (filled == V::width) return V::store(to, values);
  double given[V::width];
  V::store(given, values);
  for (std::size_t lane = 0; lane < filled; ++lane) to[lane] = given[lane];
}

// The fall of an arm's log density from its mode is convex, so that Newton's steps come from
// outside and never cross the end. They begin at the nearest of three bounds: everywhere
// fall(t) >= c (e^-t + t - 1) >= c t^2 / (2 + t), with c the curvature at the mode; and on the side
// where the curvature grows first, about as far as to where x or 1 - x is a half,
// fall(t) >= c t^2 / 2 and c / 4 (e^t - t - 1).
MLKIT_INLINE Real bound_of_end(Real a, Real b, Real mode, double direction) {
  const Real share = V::minimum(a, b) / (a + b);
  const Real deep = reach / (V::maximum(a, b) * share);
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

// The log density's fall from the mode at some distance, less `reach`, and its slope there.
struct Excess {
  Real value, slope;
};

MLKIT_INLINE Excess excess_at(Real a, Real b, Real mode, Real peak, double direction, Real away) {
  const Real y = mode + away * direction;
  const Real small = exp_of_negative<V>(-V::maximum(y, -y));
  const Real near_one = 1.0 / (small + 1.0);
  const Real soft = log<V>(small + 1.0);
  const Real below = V::maximum(-y, V::real(0.0)) + soft;
  const Real above = V::maximum(y, V::real(0.0)) + soft;
  const auto right = V::less(V::real(0.0), y);
  const Real x = V::select(right, near_one, small * near_one);
  const Real rest = V::select(right, small * near_one, near_one);
  return {peak + a * below + b * above - reach, (b * x - a * rest) * direction};
}

MLKIT_INLINE Real nearer_end(const Excess& excess, double less, Real away) {
  const Real nearer = away - (excess.value + less) / excess.slope;
  // Where the bound did not hold, it is too near.
  return V::select(V::less(excess.value, V::real(-0.5)), away * 1.5, V::minimum(nearer, away));
}

// log gamma(x) less Stirling's (x - 1/2) log x - x + log(2 pi) / 2, but for a term log(factor):
// below 8 from gamma(x) = gamma(x + 8) / (x (x + 1) .. (x + 7)).
MLKIT_INLINE Real stirling_rest(Real x, Real& factor) {
  const auto small = V::less(x, V::real(8.0));
  const Real larger = V::select(small, x + 8.0, x);
  factor = V::select(
      small,
      (x * (x + 1.0) * (x + 2.0) * (x + 3.0)) * ((x + 4.0) * (x + 5.0) * (x + 6.0) * (x + 7.0)),
      V::real(1.0));
  const Real i = 1.0 / larger, square = i * i;
  Real series = square * (-691.0 / 360360) + 1.0 / 1188;
  series = series * square - 1.0 / 1680;
  series = series * square + 1.0 / 1260;
  series = series * square - 1.0 / 360;
  series = series * square + 1.0 / 12;
  if (V::bits(small) == 0) return series * i;
  const Real moved = (larger - 0.5) * log<V>(larger) - (x - 0.5) * log<V>(x) - 8.0;
  return V::select(small, moved, V::real(0.0)) + series * i;
}

// The log density of a narrow arm, less that at its mode.
double log_shape(const Series& series, double y) {
  const double t = y - series.mode;
  double sum = 0;
  for (std::size_t i = 5; i-- > 0;) sum = sum * t + series.curve[i];
  // Farther away the series rises again, where the density is nothing.
  return t < nothing && t > -nothing ? sum * t * t * std::numbers::ln2 : -1e4;
}

double log_shape_at(const Point& point, const Arm& arm) {
  if (arm.narrow == nullptr) return point.log_x * arm.a + point.log_rest * arm.b - arm.peak;
  return log_shape(*arm.narrow, point.y);
}

// The densities of some arms at a point, and their chances above it.
struct Tails {
  Real density, above, change;  // change: of the last term
};

MLKIT_INLINE Tails tails_at(const Point& point, Real a, Real b, Real shape, Real scale) {
  constexpr int terms = 14;
  const Real both = a + b;
  const Real g = exp_of_negative<V>(V::minimum(shape, V::real(0.0))) * scale;
  const Real ahead = b * point.x - a * point.rest + 1.0;
  Real left = 1.0 / (b + 1.0);
  // Convergents p / q of 1 / (d1 + c2 / (d2 + c3 / (d3 + ...))).
  Real q = ahead * (b * left), q_before = V::real(1.0);
  Real p = V::real(1.0), p_before = V::real(0.0);
  for (int n = 1; n < terms; ++n) {
    const auto m = static_cast<double>(n);
    const Real next_left = 1.0 / (b + (2 * m + 1));
    const Real part = (a - m) * (left * m * point.rest);
    const Real c = (b + (m - 1)) * (both + (m - 1)) * left * part * point.rest;
    const Real d = part + (b + m) * next_left * (ahead + m * (1 + point.x)) + m;
    const Real next_p = d * p + c * p_before, next_q = d * q + c * q_before;
    p_before = p, q_before = q, p = next_p, q = next_q;
    left = next_left;
  }
  const Real found = g * p / q, before = g * p_before / q_before;
  return {g, found, V::magnitude(found - before)};
}

}  // namespace

void locate(const double* a, const double* b, std::size_t count, double* mode, double* peak,
            const Ends& ends) {
  for (std::size_t i = 0; i < count; i += V::width) {
    const std::size_t filled = count - i < V::width ? count - i : V::width;
    const Real of_a = take(a + i, filled), of_b = take(b + i, filled);
    const Real larger = V::maximum(of_a, of_b), lesser = V::minimum(of_a, of_b);
    // log(1 + u) for u = lesser / larger, exact for a tiny u; at the mode rounding of u cancels.
    const Real u = lesser / larger, more = u + 1.0;
    const Real soft = log<V>(more) + (u - (more - 1.0)) / more;
    const auto is_first = V::less(of_b, of_a), is_tiny = V::less(u, V::real(1e-290));
    Real apart = -log<V>(V::maximum(u, V::real(1e-290)));
    if (V::bits(is_tiny) != 0) apart = V::select(is_tiny, log<V>(larger) - log<V>(lesser), apart);
    const Real middle = V::select(is_first, apart, -apart);
    const Real height = -(larger * soft + lesser * (apart + soft));
    Real high = bound_of_end(of_a, of_b, middle, 1), low = bound_of_end(of_a, of_b, middle, -1);
    // Further steps would move the ends by less than panels are wide.
    high = nearer_end(excess_at(of_a, of_b, middle, height, 1, high), 0, high);
    low = nearer_end(excess_at(of_a, of_b, middle, height, -1, low), 0, low);
    low = nearer_end(excess_at(of_a, of_b, middle, height, -1, low), 0, low);
    const Excess last = excess_at(of_a, of_b, middle, height, 1, high);
    Real begin = nearer_end(last, reach - core, high);
    high = nearer_end(last, 0, high);
    // The logarithms of a narrow arm would cancel; it is nearly a Gauss curve.
    const Real curvature = lesser / more;
    const auto is_narrow = V::less(V::real(narrow_from), curvature);
    if (V::bits(is_narrow) != 0) {
      const Real spread = 1.0 / V::square_root(curvature);
      const Real end = spread * __builtin_sqrt(2 * reach);
      high = V::select(is_narrow, end, high), low = V::select(is_narrow, end, low);
      begin = V::select(is_narrow, spread * __builtin_sqrt(2 * core), begin);
    }
    give(mode + i, filled, middle);
    give(peak + i, filled, height);
    give(ends.high + i, filled, middle + high);
    give(ends.begin + i, filled, middle + V::minimum(begin, high));
    give(ends.low + i, filled, middle - low);
  }
}

void heights(const double* a, const double* b, std::size_t count, double* scale) {
  for (std::size_t i = 0; i < count; i += V::width) {
    const std::size_t filled = count - i < V::width ? count - i : V::width;
    const Real of_a = take(a + i, filled), of_b = take(b + i, filled), both = of_a + of_b;
    Real of_both, of_first, of_second;
    const Real rest = stirling_rest(both, of_both) - stirling_rest(of_a, of_first) -
                      stirling_rest(of_b, of_second);
    const Real bent = V::square_root(of_a / both * of_b * (0.5 / std::numbers::pi));
    const Real grown = V::maximum(rest, V::real(0.0));
    const Real power = exp_of_negative<V>(rest - grown) / exp_of_negative<V>(-grown);
    give(scale + i, filled, bent * power * (of_first / of_both * of_second));
  }
}

Crossing cross(const Extents& extents, double y, double x, double rest) {
  constexpr std::size_t parts = nodes / V::width;
  const Real zero = V::real(0.0);
  Real total[parts], curvature[parts], steepest[parts], rising[parts], next[parts];
  for (std::size_t p = 0; p < parts; ++p) {
    total[p] = curvature[p] = steepest[p] = rising[p] = zero;
    next[p] = V::real(-infinity);
  }
  for (std::size_t i = 0; i < extents.count; i += nodes) {
    for (std::size_t p = 0; p < parts; ++p) {
      const std::size_t at = i + p * V::width;
      const Real begin = V::load(extents.begin + at), of_total = V::load(extents.total + at);
      const Real slope = V::load(extents.a + at) * rest - V::load(extents.b + at) * x;
      const auto has_begun = V::reaches(begin, V::real(y));
      const auto crossed = V::both(has_begun, V::less(V::load(extents.low + at), V::real(y)));
      total[p] = V::maximum(total[p], V::select(crossed, of_total, zero));
      curvature[p] =
          V::maximum(curvature[p], V::select(crossed, V::load(extents.curvature + at), zero));
      const auto is_wide = V::both(crossed, V::less(zero, of_total));
      steepest[p] = V::maximum(steepest[p], V::select(is_wide, V::magnitude(slope), zero));
      rising[p] = rising[p] + V::select(crossed, V::maximum(slope, zero), zero);
      next[p] = V::maximum(next[p], V::select(has_begun, V::real(-infinity), begin));
    }
  }
  double each[5][nodes];
  for (std::size_t p = 0; p < parts; ++p) {
    V::store(each[0] + p * V::width, total[p]), V::store(each[1] + p * V::width, curvature[p]);
    V::store(each[2] + p * V::width, steepest[p]), V::store(each[3] + p * V::width, rising[p]);
    V::store(each[4] + p * V::width, next[p]);
  }
  Crossing found{.next = -infinity};
  for (std::size_t q = 0; q < nodes; ++q) {
    if (each[0][q] > found.total) found.total = each[0][q];
    if (each[1][q] > found.curvature) found.curvature = each[1][q];
    if (each[2][q] > found.steepest) found.steepest = each[2][q];
    if (each[4][q] > found.next) found.next = each[4][q];
    found.rising += each[3][q];
  }
  return found;
}

Crowd above_point(const Point& point, Arm* arms, std::size_t count, double& changes) {
  Crowd crowd;
  double a[V::width], b[V::width], shape[V::width], scale[V::width];
  double density[V::width], above[V::width], change[V::width];
  Arm* chosen[V::width];
  std::size_t filled = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Arm& arm = arms[i];
    arm.right = 0;
    if (arm.high > point.y) {
      a[filled] = arm.a, b[filled] = arm.b, scale[filled] = arm.scale;
      shape[filled] = log_shape_at(point, arm);
      chosen[filled++] = &arm;
    }
    if (filled < V::width && (i + 1 < count || filled == 0)) continue;
    const Tails tails =
        tails_at(point, take(a, filled), take(b, filled), take(shape, filled), take(scale, filled));
    V::store(density, tails.density), V::store(above, tails.above);
    V::store(change, tails.change);
    for (std::size_t lane = 0; lane < filled; ++lane) {
      chosen[lane]->right = above[lane];
      crowd.above += above[lane], crowd.density += density[lane], changes += change[lane];
    }
    filled = 0;
  }
  return crowd;
}

}  // namespace mlkit::propensity::MLKIT_ISA
