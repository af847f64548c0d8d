#include "strategy/signal.hpp"

#include <cmath>

#include "simd/elementary.hpp"

namespace mlkit::strategy {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Of both prices at once, by the arithmetic of the kernels.
void to_logarithms(double& y, double& x) {
  using Both = simd::baseline::Lanes<2>;
  const Both::Real logs = simd::baseline::log<Both>(Both::Real{y, x});
  y = logs[0];
  x = logs[1];
}

double ratio(double deviation, double scale) { return scale > 0.0 ? deviation / scale : nan; }

}  // namespace

double logarithm(double price) {
  double again = price;
  to_logarithms(price, again);
  return price;
}

void archive(Archive& archive, SignalSettings& settings) {
  archive.value(settings.hedge);
  archive.require(settings.hedge >= Hedge::fixed && settings.hedge <= Hedge::kalman);
  archive.flag(settings.log);
  archive.fields(settings.alpha, settings.beta, settings.hedge_window, settings.lookback,
                 settings.mean, settings.deviation, settings.kalman.covariance,
                 settings.kalman.drift, settings.kalman.noise);
}

void Signal::archive(Archive& archive) {
  strategy::archive(archive, settings_);
  // Windows of one bar stand in until their own are read.
  if (archive.reading()) {
    moments_.reset();
    regression_.reset();
    if (settings_.lookback > 0) moments_.emplace(1);
    if (settings_.hedge == Hedge::rolling) regression_.emplace(1);
  }
  if (moments_) moments_->archive(archive);
  if (regression_) regression_->archive(archive);
}

Signal::Signal(const SignalSettings& settings) : settings_(settings) {
  if (settings.lookback > 0) moments_.emplace(settings.lookback);
  if (settings.hedge == Hedge::rolling) regression_.emplace(settings.hedge_window);
}

Features Signal::push(double y, double x) {
  if (settings_.log) to_logarithms(y, x);
  return take(y, x);
}

Features Signal::take(double y, double x) {
  switch (settings_.hedge) {
    case Hedge::rolling:
      return rolling(y, x);
    case Hedge::kalman:
      return kalman(y, x);
    default:
      return fixed(y, x);
  }
}

Features Signal::fixed(double y, double x) {
  const double spread = fixed_spread(y, x, settings_.alpha, settings_.beta);
  return {settings_.beta, spread, z_score(spread)};
}

Features Signal::rolling(double y, double x) {
  regression_->push(y, x);
  if (!regression_->full()) return {};
  const double beta = regression_->slope();
  const double spread = y - regression_->intercept() - beta * x;
  if (std::isnan(spread)) return {};
  return {beta, spread, z_score(spread)};
}

double Signal::z_score(double spread) {
  if (!moments_) return ratio(spread - settings_.mean, settings_.deviation);
  moments_->push(spread);
  return mlkit::strategy::z_score(spread, *moments_);
}

// Predict, compare, correct. The spread is the innovation, its z-score the innovation over the
// deviation that the filter expects (E. Chan, Algorithmic Trading, 2013, chapter 3).
Features Signal::kalman(double y, double x) {
  auto& [aa, ab, bb] = settings_.kalman.covariance;
  const auto& drift = settings_.kalman.drift;
  aa += drift[0];
  ab += drift[1];
  bb += drift[2];
  const double innovation = y - settings_.alpha - settings_.beta * x;
  const double a = aa + ab * x;  // covariance of the innovation with alpha, and with beta
  const double b = ab + bb * x;
  const double variance = a + b * x + settings_.kalman.noise;
  if (!(variance > 0.0)) return {settings_.beta, innovation, nan};
  settings_.alpha += a / variance * innovation;
  settings_.beta += b / variance * innovation;
  aa -= a * a / variance;
  ab -= a * b / variance;
  bb -= b * b / variance;
  return {settings_.beta, innovation, innovation / std::sqrt(variance)};
}

}  // namespace mlkit::strategy
