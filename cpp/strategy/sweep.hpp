// Many settings of the rule on one pair: the engine's arithmetic without its bookkeeping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

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
  explicit FeatureSeries(std::size_t bars) : beta(bars), spread(bars), z(bars) {}
  Long<double> beta, spread, z;
};

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

// Features of a pair at each close.
FeatureSeries features(const double* y, const double* x, std::size_t bars,
                       const SignalSettings& signal);

// The account at the close before the traded bars and at each of them, and where it moves: at
// all other places it is what it was at the one before.
struct Curve {
  struct Run {
    std::size_t begin = 0, end = 0;
  };
  Long<double> equity;
  std::vector<Run> moves;
};

// Trade one rule over bars [trade, bars). Trades and equity equal the engine's bit for bit.
Score simulate(const Series& series, const FeatureSeries& features, std::size_t trade,
               const Settings& settings, Curve& curve);

// Score configurations on the same bars, and give the mean correlation of their returns. The
// results do not depend on the number of threads.
double sweep(const Series& series, const std::vector<SignalSettings>& signals, std::size_t trade,
             const std::vector<Configuration>& configurations, const Settings& settings,
             std::size_t threads, Score* scores);

}  // namespace mlkit::strategy
