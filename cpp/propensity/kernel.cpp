// The kernel of the propensities, compiled once for each instruction set.
#include "propensity/kernel.hpp"

#include "simd/elementary.hpp"
#include "simd/vector.hpp"

namespace mlkit::propensity::MLKIT_ISA {

using namespace mlkit::simd::MLKIT_ISA;

namespace {

using V = Vector;
using Real = V::Real;
constexpr std::size_t parts = nodes / V::width;
constexpr double nothing = 0.5;  // from the mode of a narrow arm: exp(-1e4) and less

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

MLKIT_INLINE Values density_at(const Panel& panel, const Arm& arm) {
  Values found;
  for (std::size_t p = 0; p < parts; ++p) {
    const Real shape = V::minimum(log_shape(panel, arm, p * V::width), V::real(0.0));
    found.part[p] = exp_of_negative<V>(shape) * arm.scale;
  }
  return found;
}

// P(Y > y) at the nodes; moves the arm's right edge to the panel's left one.
MLKIT_INLINE Values above_of(const Panel& panel, Arm& arm, const Values& density) {
  double g[nodes];
  store(g, density);
  Values found;
  for (std::size_t p = 0; p < parts; ++p) found.part[p] = V::real(arm.right);
  double whole = 0;
  for (std::size_t r = 0; r < nodes; ++r) {
    const Values weights = load(panel.to_the_right[r]);
    for (std::size_t p = 0; p < parts; ++p) found.part[p] = found.part[p] + weights.part[p] * g[r];
    whole += panel.weights[r] * g[r];
  }
  for (std::size_t p = 0; p < parts; ++p)
    found.part[p] = V::minimum(V::maximum(found.part[p], V::real(0.0)), V::real(1.0));
  arm.right = arm.right + whole < 1.0 ? arm.right + whole : 1.0;
  return found;
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

}  // namespace

void densities(const Panel& panel, Arm& arm, double* density, double* above) {
  const Values found = density_at(panel, arm);
  store(density, found);
  store(above, above_of(panel, arm, found));
}

void count_above(const Panel& panel, Arm* arms, const std::uint32_t* which, std::size_t count,
                 std::size_t k, double* counts) {
  for (std::size_t i = 0; i < count; ++i) {
    Arm& arm = arms[which[i]];
    count_one(above_of(panel, arm, density_at(panel, arm)), k, counts, counts);
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
      double sums[nodes];
      store(sums, others);
      double sum = 0;
      for (const double each : sums) sum += each;
      ranks[i * k + r] += sum;
    }
  }
}

}  // namespace mlkit::propensity::MLKIT_ISA
