// Many settings of the rule on one pair: the engine's arithmetic without its bookkeeping.
#pragma once

#include <cstddef>
#include <cstdint>

#include "strategy/engine.hpp"

namespace mlkit::strategy {

// The bars of one pair; opens and dividends may be null.
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
  const double* z = nullptr;
  const double* beta = nullptr;
};

struct Score {
  double equity = 0.0;      // at the last bar
  double sharpe = 0.0;      // a bar, not annualised; 0 if the equity never moves
  double drawdown = 0.0;    // greatest loss from a peak, as a share of the peak
  double turnover = 0.0;    // money traded
  std::int64_t trades = 0;  // closed
};

// Score one rule over bars [trade, bars). `equity` receives the account at the close before them
// and at each of them, if it is not null. Trades and equity equal the engine's bit for bit.
Score score(const Series& series, const FeatureSeries& features, std::size_t trade,
            const Settings& settings, double* equity);

}  // namespace mlkit::strategy
