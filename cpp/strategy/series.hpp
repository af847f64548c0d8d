// The bars of one pair, and its features at each of them.
#pragma once

#include <cstddef>

#include "strategy/pages.hpp"
#include "strategy/series_kernel.hpp"
#include "strategy/signal.hpp"

namespace mlkit::strategy {

// Opens and dividends may be null.
struct Series {
  std::size_t bars = 0;
  const double* y_open = nullptr;
  const double* x_open = nullptr;
  const double* y_close = nullptr;
  const double* x_close = nullptr;
  const double* y_dividend = nullptr;
  const double* x_dividend = nullptr;
};

struct FeatureSeries {
  Long<double> beta;    // empty if it is fixed
  Long<double> spread;  // empty unless it is asked for
  Long<double> z;       // padded
  double fixed_beta = 0.0;

  double beta_at(std::size_t bar) const { return beta.empty() ? fixed_beta : beta[bar]; }
};

// Features of a pair at each close, equal to those of a Signal bit for bit.
FeatureSeries features(const double* y, const double* x, std::size_t bars,
                       const SignalSettings& signal, bool with_spread = false);

}  // namespace mlkit::strategy
