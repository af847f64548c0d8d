// Exact propensities of Thompson sampling with independent Beta posteriors, by quadrature.
//
// With Y_i = log(X_i / (1 - X_i)), density g_i and survival function S_i, the arm i has the r-th
// highest draw with probability
//
//   int g_i(y) P(r - 1 of the other arms are above y) dy.
//
// g_i is smooth and log-concave. The number of arms above y is Poisson-binomial: its lowest
// probabilities come from products of (1 - S) + S z, cut off at z^k, whose terms are all positive.
// Panels of 8 Gauss-Legendre nodes go from the right end, or from where few arms are expected above,
// to the left until it is settled who is in the top k; S is summed up on the way, so that it is
// relatively exact in the upper tail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mlkit::propensity {

inline constexpr std::size_t nodes = 8;
inline constexpr std::size_t most_panels = 50'000;  // where the integration ends, decided or not

struct Propensities {
  std::vector<double> ranks;  // [shown][k]: P(the shown arm has rank 1 .. k)
  double slate = 0;           // P(the first ranks are exactly the shown arms, in this order)
  std::size_t panels = 0;
};

// Propensities of the `shown` arms among the `count` arms Beta(a, b); 1 <= k <= count. `width` is
// that of the panels, in units of what gives ranks relative errors below 1e-5.
Propensities top_k(const double* a, const double* b, std::size_t count,
                   const std::vector<std::uint32_t>& shown, std::size_t k, double width);

}  // namespace mlkit::propensity
