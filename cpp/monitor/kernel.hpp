// The arithmetic of a pair monitor: every pair of tickers moves on by one bar.
//
// Means and centred sums of squares and products are updated in place (West 1979, "Updating mean
// and variance estimates: an improved method"), at any level of prices. Where weights decay,
// nothing is ever subtracted from a sum, and no digits are lost however long a monitor runs. What
// leaves a window is taken out again by the inverse update, and sums are made again from the
// window's bars once in its length, and at once where what left was most of them. All instruction
// sets give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlkit::monitor {

inline constexpr std::size_t lanes = 8;

// Eight pairs of one ticker y with the tickers x of eight neighbouring columns.
struct alignas(64) Block {
  double beta[lanes];
  // Of the bars in which both have a price.
  double bars[lanes];                          // sum of weights
  double spread[lanes], spread_square[lanes];  // mean, and squares about it
  double distance[lanes];                      // mean squared gap of the normalised prices
  double crossings[lanes];                     // weights of the bars at which the side changed
  double side[lanes];  // of the mean on which the spread was last: 1, -1, or 0 before any
  // Of the bars in which both have a return.
  double returns[lanes];  // sum of weights
  double mean_y[lanes], mean_x[lanes];
  double square_y[lanes], square_x[lanes], product[lanes];  // about the means
};

// A bar of the tickers, a value for each, NaN where it is missing.
struct Bar {
  const double* log;         // of the price
  const double* normalised;  // price over the ticker's first one
  const double* change;      // of the logarithm since the bar before
};

// The bars that stay in a window: `count` of the slots from `oldest` on, modulo `slots`. A slot holds a
// bar of `stride` tickers.
struct Window {
  Bar first;  // of slot 0
  std::size_t slots, stride, oldest, count;
};

enum Figure : std::size_t { correlation, distance, zscore, crossings };
inline constexpr std::size_t figures = 4;

struct Kernel {
  // Make a bar of `count` prices, a multiple of `lanes`; `log` holds the last bar's and is
  // replaced. Prices are positive normal numbers or NaN.
  void (*prepare)(const double* close, const double* base, std::size_t count, double* log,
                  double* normalised, double* change);

  // Move the pairs of ticker y with those of the blocks from column `begin` to `end` on. Unless it
  // is null, `crossed` gets a byte for each block: who crossed the mean.
  void (*step)(Block* blocks, const Bar& bar, std::size_t y, std::size_t begin, std::size_t end,
               double decay, std::uint8_t* crossed);

  // Take a bar with its crossings out of the same pairs; with `renew`, make all sums again.
  void (*leave)(Block* blocks, const Bar& bar, const std::uint8_t* crossed, const Window& window,
                bool renew, std::size_t y, std::size_t begin, std::size_t end);

  // Figures of the same pairs at x's column in `out[figure]`; NaN where there is none, or where
  // the weights sum to less than `least`.
  void (*evaluate)(const Block* blocks, const double* log, std::size_t y, std::size_t begin,
                   std::size_t end, double least, double* const* out);
};

// The kernel of the instruction set in use.
Kernel selected_kernel();

}  // namespace mlkit::monitor
