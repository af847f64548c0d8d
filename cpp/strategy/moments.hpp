// Moments of a sliding window, in constant time a value.
//
// Both classes keep sums of deviations from a reference near the window's mean, without
// rounding errors (a removed value leaves no trace), and start again from a two-pass
// computation when the window has drifted so far from the reference that digits would be
// lost. So they stay within 1e-10 of a two-pass computation after any number of values and at
// any price level.
#pragma once

#include <cstddef>
#include <vector>

namespace mlkit::strategy {

// A sum as an unevaluated pair of doubles (Knuth's TwoSum). `Value` is a double, or two of them
// in one register.
template <class Value>
class Sum {
 public:
  void add(Value value) {
    const Value sum = high_ + value;
    const Value part = sum - high_;
    low_ += (high_ - (sum - part)) + (value - part);
    high_ = sum;
  }
  Value value() const { return high_ + low_; }

 private:
  Value high_{};
  Value low_{};
};

using Two = double __attribute__((vector_size(16)));

// A centred sum of squares keeps fewer than about ten good digits when the reference is more
// than a hundred deviations away, or when the value that leaves was 1e6 deviations away.
inline bool loses_digits(double squared_sum, double removed, double centred) {
  return squared_sum > 1e4 * centred || removed * removed > 1e12 * centred;
}

// Mean and sample variance (divisor n - 1) of the last `length` values.
class RollingMoments {
 public:
  explicit RollingMoments(std::size_t length) : window_(length) {}

  void push(double value) {
    double removed = 0.0;
    // A local sum: the store into the window could change members, for all a compiler knows.
    Sum<Two> sums = sums_;
    if (full()) {
      removed = window_[next_] - reference_;
      sums.add(-Two{removed, removed * removed});
    } else {
      if (count_ == 0) reference_ = value;
      ++count_;
      share_ = 1.0 / double(count_);
      sample_share_ = 1.0 / double(count_ - 1);
    }
    window_[next_] = value;
    if (++next_ == window_.size()) next_ = 0;
    const double deviation = value - reference_;
    sums.add(Two{deviation, deviation * deviation});
    sums_ = sums;
    settle();
    if (loses_digits(sums.value()[0] * offset_, removed, centred_)) restart(value);
  }

  bool full() const { return count_ == window_.size(); }
  double mean() const { return reference_ + offset_; }
  double variance() const { return centred_ > 0.0 ? centred_ * sample_share_ : 0.0; }

 private:
  void settle() {
    const Two sums = sums_.value();
    offset_ = sums[0] * share_;
    centred_ = sums[1] - sums[0] * offset_;
  }
  void restart(double newest);

  std::vector<double> window_;
  std::size_t next_ = 0;
  std::size_t count_ = 0;
  double share_ = 0.0, sample_share_ = 0.0;  // 1 / count, 1 / (count - 1)
  double reference_ = 0.0;
  Sum<Two> sums_;                         // of the deviations from it, and of their squares
  double offset_ = 0.0, centred_ = 0.0;  // mean less reference; squares about the mean
};

// Least squares of y on a constant and x over the last `length` points.
class RollingRegression {
 public:
  explicit RollingRegression(std::size_t length) : y_(length), x_(length) {}

  void push(double y, double x);

  bool full() const { return count_ == y_.size(); }
  // NaN if x does not vary.
  double slope() const;
  double intercept() const;

 private:
  using Total = Sum<double>;

  void add(double y, double x, double sign);
  double centred(const Total& products, const Total& a, const Total& b) const {
    return products.value() - a.value() * b.value() * share_;
  }
  void restart(double y, double x);

  std::vector<double> y_, x_;
  std::size_t next_ = 0;
  std::size_t count_ = 0;
  double share_ = 0.0;  // 1 / count
  double y_reference_ = 0.0, x_reference_ = 0.0;
  Total y_sum_, x_sum_, yy_, xy_, xx_;
};

}  // namespace mlkit::strategy
