#include "strategy/moments.hpp"

#include <limits>

namespace mlkit::strategy {

namespace {

// The mean as an offset from one of the values, so that a constant window has it exactly.
double mean_near(const std::vector<double>& values, std::size_t count, double origin) {
  Sum<double> sum;
  for (std::size_t i = 0; i < count; ++i) sum.add(values[i] - origin);
  return origin + sum.value() / double(count);
}

}  // namespace

void RollingMoments::restart(double newest) {
  reference_ = mean_near(window_, count_, newest);
  sums_ = {};
  for (std::size_t i = 0; i < count_; ++i) {
    const double deviation = window_[i] - reference_;
    sums_.add(Two{deviation, deviation * deviation});
  }
  settle();
}

void RollingRegression::add(double y, double x, double sign) {
  const double dy = y - y_reference_;
  const double dx = x - x_reference_;
  y_sum_.add(sign * dy);
  x_sum_.add(sign * dx);
  yy_.add(sign * (dy * dy));
  xy_.add(sign * (dx * dy));
  xx_.add(sign * (dx * dx));
}

void RollingRegression::push(double y, double x) {
  double y_removed = 0.0, x_removed = 0.0;
  if (full()) {
    y_removed = y_[next_] - y_reference_;
    x_removed = x_[next_] - x_reference_;
    add(y_[next_], x_[next_], -1.0);
  } else {
    if (count_ == 0) {
      y_reference_ = y;
      x_reference_ = x;
    }
    ++count_;
    share_ = 1.0 / double(count_);
  }
  y_[next_] = y;
  x_[next_] = x;
  if (++next_ == y_.size()) next_ = 0;
  add(y, x, 1.0);
  const auto square = [&](const Total& sum) { return sum.value() * sum.value() * share_; };
  if (loses_digits(square(y_sum_), y_removed, centred(yy_, y_sum_, y_sum_)) ||
      loses_digits(square(x_sum_), x_removed, centred(xx_, x_sum_, x_sum_))) {
    restart(y, x);
  }
}

void RollingRegression::restart(double y, double x) {
  y_reference_ = mean_near(y_, count_, y);
  x_reference_ = mean_near(x_, count_, x);
  y_sum_ = x_sum_ = yy_ = xy_ = xx_ = Total{};
  for (std::size_t i = 0; i < count_; ++i) add(y_[i], x_[i], 1.0);
}

double RollingRegression::slope() const {
  const double squares = centred(xx_, x_sum_, x_sum_);
  if (!(squares > 0.0)) return std::numeric_limits<double>::quiet_NaN();
  return centred(xy_, x_sum_, y_sum_) / squares;
}

double RollingRegression::intercept() const {
  const double y_mean = y_reference_ + y_sum_.value() * share_;
  const double x_mean = x_reference_ + x_sum_.value() * share_;
  return y_mean - slope() * x_mean;
}

}  // namespace mlkit::strategy
