#include "strategy/moments.hpp"

#include <limits>

namespace mlkit::strategy {

void RollingRegression::push(double y, double x) {
  settle(sums_.push(Two{y, x}));
  if (loses_digits()) settle(sums_.restart(Two{y, x}));
}

bool RollingRegression::loses_digits() const {
  const Two squared = sum_ * offset_;
  return strategy::loses_digits(squared[0], centred_[0]) ||
         strategy::loses_digits(squared[1], centred_[1]);
}

void RollingRegression::settle(const Products& sums) {
  sum_ = sums.sums;
  offset_ = sum_ * sums_.share();
  centred_ = sums.squares - sum_ * offset_;
  mixed_ = sums.mixed - sum_[1] * offset_[0];
}

double RollingRegression::slope() const {
  if (!(centred_[1] > 0.0)) return std::numeric_limits<double>::quiet_NaN();
  return mixed_ / centred_[1];
}

double RollingRegression::intercept() const {
  const Two mean = sums_.reference() + offset_;
  return mean[0] - slope() * mean[1];
}

}  // namespace mlkit::strategy
