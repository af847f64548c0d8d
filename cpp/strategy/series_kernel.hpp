// Work on whole series, several bars at a time; all instruction sets give the same bits.
#pragma once

#include <cstddef>

#include "simd/simd.hpp"

namespace mlkit::strategy {

// Series that a kernel scans have so many bars more, which hold no number.
inline constexpr std::size_t padding = 8;

// What a curve's returns add up to, in parts: each takes the bars of every eighth place.
struct Totals {
  double sum[padding]{}, squares[padding]{};
};

struct SeriesKernel {
  // y - alpha - beta x, of the logarithms if `log`.
  void (*spreads)(const double* y, const double* x, std::size_t count, double alpha, double beta,
                  bool log, double* spread);

  // (spread - mean) / sqrt(variance), in place of the spreads; NaN where the variance is not
  // positive.
  void (*z_scores)(double* spread, const double* mean, const double* variance, std::size_t count);

  // The first bar of [from, to) with |z| >= entry, or `to`. `z` is padded.
  std::size_t (*first_beyond)(const double* z, std::size_t from, std::size_t to, double entry);

  // The first bar of [from, to) with side * z >= -exit or side * z <= -stop, or `to`. `z` is
  // padded.
  std::size_t (*first_outside)(const double* z, std::size_t from, std::size_t to, double side,
                               double exit, double stop);

  // The equity cash + (y_shares * y + x_shares * x) at `count` bars, of `room` that `y`, `x` and
  // `equity` have; bars after the count may be overwritten. Ends before the first bar at which
  // it is less than `margin` times the gross exposure, and returns the number of bars.
  std::size_t (*hold)(double cash, double y_shares, double x_shares, double margin, const double* y,
                      const double* x, std::size_t count, std::size_t room, double* equity);

  // The return of each bar over the bar before, less `rate`, and the sums. The returns have
  // room for a multiple of `padding`, and are 0 after the last; null if only the sums are wanted.
  Totals (*returns)(const double* equity, std::size_t count, double rate, double* returns);

  // sum += scale * values, at a multiple of `padding` places.
  void (*add_scaled)(const double* values, double scale, std::size_t count, double* sum);

  // The greatest loss from a peak, as a share of the peak; equity[0] is the first peak.
  double (*drawdown)(const double* equity, std::size_t count);
};

// The kernel of the instruction set in use.
SeriesKernel series_kernel();

}  // namespace mlkit::strategy
