// From closing prices to the features of a pair, one bar at a time.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>

#include "strategy/moments.hpp"
#include "strategy/rule.hpp"

namespace mlkit::strategy {

enum class Hedge { fixed, rolling, kalman };

// Random-walk intercept and slope, observed through y = alpha + beta x + noise.
struct KalmanSettings {
  std::array<double, 3> covariance{};  // of (alpha, beta) at the start: aa, ab, bb
  std::array<double, 3> drift{};       // added to it at each bar
  double noise = 0.0;                  // variance of the observation
};

struct SignalSettings {
  Hedge hedge = Hedge::fixed;
  bool log = true;
  double alpha = 0.0;
  double beta = 1.0;
  std::size_t hedge_window = 0;  // bars of the rolling regression
  std::size_t lookback = 0;      // bars of the z-score; 0: `mean` and `deviation` are given
  double mean = 0.0;
  double deviation = 1.0;
  KalmanSettings kalman;
};

inline double fixed_spread(double y, double x, double alpha, double beta) {
  return y - alpha - beta * x;
}

// NaN while the window fills, and when it does not vary.
inline double z_score(double spread, const RollingMoments& moments) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const double variance = moments.variance();
  return moments.full() && variance > 0.0 ? (spread - moments.mean()) / std::sqrt(variance) : nan;
}

// The logarithm by the arithmetic of the kernels.
double logarithm(double price);

void archive(Archive& archive, SignalSettings& settings);

class Signal {
 public:
  explicit Signal(const SignalSettings& settings);

  // Take a bar's closing prices.
  Features push(double y, double x);
  // Take what `log` says: their logarithms, or the prices themselves.
  Features take(double y, double x);
  bool log() const { return settings_.log; }

  // Ask for the memory that the next bar reads.
  void prefetch() const {
    if (moments_) moments_->prefetch();
    if (regression_) regression_->prefetch();
  }
  void archive(Archive& archive);

 private:
  Features fixed(double y, double x);
  Features rolling(double y, double x);
  Features kalman(double y, double x);
  double z_score(double spread);

  SignalSettings settings_;
  std::optional<RollingMoments> moments_;
  std::optional<RollingRegression> regression_;
};

}  // namespace mlkit::strategy
