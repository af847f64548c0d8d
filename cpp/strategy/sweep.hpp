// Many settings of the rule on one pair: the engine's arithmetic without its bookkeeping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "strategy/engine.hpp"
#include "strategy/series.hpp"

namespace mlkit::strategy {

struct Score {
  double equity = 0.0;      // at the last bar
  double sharpe = 0.0;      // of the excess return a bar, not annualised; 0 if it never varies
  double drawdown = 0.0;    // greatest loss from a peak, as a share of the peak
  double turnover = 0.0;    // money traded
  std::int64_t trades = 0;  // closed
};

// A rule, and which of the signals it reads.
struct Configuration {
  Rule rule;
  std::size_t signal = 0;
};

// Trade one rule over bars [trade, bars). `equity` becomes the account at the close before these
// bars and at each of them. Trades and equity equal the engine's bit for bit.
Score simulate(const SeriesKernel& kernel, const Series& series, const FeatureSeries& features,
               std::size_t trade, const Settings& settings, Long<double>& equity);

// Score configurations on the same bars, and return the mean correlation of their returns. The
// results do not depend on the number of threads.
double sweep(const Series& series, const std::vector<SignalSettings>& signals, std::size_t trade,
             const std::vector<Configuration>& configurations, const Settings& settings,
             std::size_t threads, Score* scores);

}  // namespace mlkit::strategy
