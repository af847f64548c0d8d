// Moments of a sliding window, in constant time a value.
//
// The sums are of deviations from a reference near the window's mean. Nothing is ever subtracted
// from them: they are the sums over the tail of the values that the window held when the
// reference was chosen, which are kept for every tail, and the sums over the values since. So a
// value that has left leaves no trace. A reference serves until the window has turned over once,
// or has drifted so far from it that digits would be lost. Moments stay within 1e-10 of a
// two-pass computation after any number of values and at any price level.
#pragma once

#include <cstddef>
#include <vector>

#include "strategy/archive.hpp"

namespace mlkit::strategy {

typedef double Two __attribute__((vector_size(16)));  // one register

// Of a value: itself and its square.
inline Two terms(double deviation) { return Two{deviation, deviation * deviation}; }

// Of a point (y, x): sums and products.
struct Products {
  Two sums{};     // y, x
  Two squares{};  // yy, xx
  double mixed = 0.0;
  double unused = 0.0;  // instead of padding, whose bytes would have no value

  Products& operator+=(const Products& other) {
    sums += other.sums;
    squares += other.squares;
    mixed += other.mixed;
    return *this;
  }
  friend Products operator+(Products a, const Products& b) { return a += b; }
};

inline Products terms(Two deviation) {
  return {deviation, deviation * deviation, deviation[0] * deviation[1], 0.0};
}

// A centred sum of squares keeps ten good digits and more while the reference is within ten
// deviations.
inline bool loses_digits(double squared_sum, double centred) {
  return squared_sum > 100.0 * centred;
}

// The sums of `terms(deviation)` over the last `length` points.
template <class Point, class Terms>
class SlidingSums {
 public:
  explicit SlidingSums(std::size_t length) : window_(length), tails_(length + 1) {}

  Terms push(Point point) {
    if (full()) {
      ++left_;
    } else {
      if (count_ == 0) reference_ = point;
      ++count_;
      share_ = 1.0 / double(count_);
    }
    window_[next_] = point;
    newer_ += terms(point - reference_);
    if (++next_ < window_.size()) return tails_[left_] + newer_;
    next_ = 0;
    return restart(point);
  }

  // Choose the reference again: near the mean, and exactly the newest value in a window that
  // does not vary.
  Terms restart(Point newest) {
    reference_ = newest + (sum_from(newest) * share_);
    Terms tail{};
    tails_[count_] = tail;
    std::size_t at = next_;
    for (std::size_t i = count_; i-- > 0;) {
      at = (at == 0 ? window_.size() : at) - 1;
      tail += terms(window_[at] - reference_);
      tails_[i] = tail;
    }
    newer_ = Terms{};
    left_ = 0;
    return tail;
  }

  // Ask for the memory that the next `push` reads.
  void prefetch() const {
    __builtin_prefetch(window_.data() + next_, 1);
    __builtin_prefetch(tails_.data() + left_ + 1);
  }

  void archive(Archive& archive) {
    archive.values(window_);
    archive.values(tails_);
    archive.value(next_);
    archive.value(count_);
    archive.value(left_);
    archive.value(share_);
    archive.value(reference_);
    archive.value(newer_);
    archive.require(!window_.empty() && tails_.size() == window_.size() + 1 &&
                    next_ < window_.size() && count_ <= window_.size() && left_ <= count_);
  }

  bool full() const { return count_ == window_.size(); }
  std::size_t count() const { return count_; }
  double share() const { return share_; }  // 1 / count
  Point reference() const { return reference_; }

 private:
  // In several sums, since each addition waits for the one before.
  Point sum_from(Point origin) const {
    Point sums[4]{};
    std::size_t i = 0;
    for (; i + 4 <= count_; i += 4) {
      for (std::size_t k = 0; k < 4; ++k) sums[k] += window_[i + k] - origin;
    }
    for (; i < count_; ++i) sums[0] += window_[i] - origin;
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }

  std::vector<Point> window_;
  std::vector<Terms> tails_;  // [k]: of the window at the last restart, without its first k
  std::size_t next_ = 0, count_ = 0;
  std::size_t left_ = 0;  // points of that window that have left it
  double share_ = 0.0;
  Point reference_{};
  Terms newer_{};
};

// Mean and sample variance (divisor n - 1) of the last `length` values.
class RollingMoments {
 public:
  explicit RollingMoments(std::size_t length) : sums_(length) {}

  void push(double value) {
    settle(sums_.push(value));
    if (loses_digits(sum_ * offset_, centred_)) settle(sums_.restart(value));
  }

  void prefetch() const { sums_.prefetch(); }
  void archive(Archive& archive) {
    sums_.archive(archive);
    archive.value(sum_);
    archive.value(offset_);
    archive.value(centred_);
  }

  bool full() const { return sums_.full(); }
  double mean() const { return sums_.reference() + offset_; }
  // 0 or less if the values do not vary.
  double variance() const { return centred_ / double(sums_.count() - 1); }

 private:
  void settle(Two sums) {
    sum_ = sums[0];
    offset_ = sum_ * sums_.share();
    centred_ = sums[1] - sum_ * offset_;
  }

  SlidingSums<double, Two> sums_;
  double sum_ = 0.0;                     // of the deviations from the reference
  double offset_ = 0.0, centred_ = 0.0;  // mean less reference; squares about the mean
};

// Least squares of y on a constant and x over the last `length` points.
class RollingRegression {
 public:
  explicit RollingRegression(std::size_t length) : sums_(length) {}

  void push(double y, double x);

  void prefetch() const { sums_.prefetch(); }
  void archive(Archive& archive) {
    sums_.archive(archive);
    archive.value(sum_);
    archive.value(offset_);
    archive.value(centred_);
    archive.value(mixed_);
  }

  bool full() const { return sums_.full(); }
  // NaN if x does not vary.
  double slope() const;
  double intercept() const;

 private:
  void settle(const Products& sums);
  bool loses_digits() const;

  SlidingSums<Two, Products> sums_;
  Two sum_{}, offset_{}, centred_{};  // as in RollingMoments, of y and of x
  double mixed_ = 0.0;                // products about the means
};

}  // namespace mlkit::strategy
