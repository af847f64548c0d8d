// All pairs of a set of tickers, watched bar by bar.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/kernel.hpp"
#include "strategy/archive.hpp"
#include "strategy/pages.hpp"

namespace mlkit::monitor {

// More would need hundreds of gigabytes; sizes in bytes cannot wrap below.
inline constexpr std::size_t most_tickers = 65'536;
inline constexpr std::int64_t most_bars = 1'000'000;  // to wait for, or of a window

// A price so many times the ticker's first one is no price: its square would not be finite.
inline constexpr double most_growth = 1e150;

struct Settings {
  double decay = 1.0;         // of a bar's weight with each bar of its pair that follows
  std::int64_t min_bars = 2;  // bars before a pair has figures
  std::int64_t window = 0;    // bars that count; 0: all do, with weights that decay
};

// Hedge ratios: one for all pairs, or that of y and x at [y * tickers + x].
struct Betas {
  const double* values;
  bool shared;
};

// A pair and its figures.
struct Candidate {
  std::size_t y, x;
  std::array<double, figures> values;
};

// Which pairs to find: the best by a figure among those within the bounds.
struct Query {
  Figure by;
  std::size_t count;
  std::array<double, figures> low, high;
  std::array<bool, figures> bounded;
};

class Monitor {
 public:
  Monitor(std::size_t tickers, const Settings& settings, const Betas& betas);

  // Take a bar of a price for each ticker, NaN where it is missing.
  // Throws std::invalid_argument, and leaves everything unchanged, if one is no price.
  void step(const double* close, std::size_t threads);

  // The figures of the pairs (0, 1), (0, 2), ..., (1, 2), ...
  void all(Figure figure, double* out, std::size_t threads) const;
  Candidate pair(std::size_t y, std::size_t x) const;
  // Best first: highest correlation, least distance, greatest |z|, most crossings. Ties go by y, x.
  std::vector<Candidate> top(const Query& query, std::size_t threads) const;

  // The whole state; equal states have equal bytes. `load` throws std::invalid_argument.
  std::string save();
  static Monitor load(std::string_view bytes);

  std::size_t tickers() const { return tickers_; }
  std::size_t pairs() const { return tickers_ * (tickers_ - 1) / 2; }
  std::int64_t bars() const { return bars_; }
  const Settings& settings() const { return settings_; }

 private:
  class Best;
  Monitor() = default;
  void archive(strategy::Archive& archive);
  std::size_t lay_out();
  void require_prices(const double* close) const;
  void slide(const Bar& bar);
  void step_row(const Kernel& kernel, const Bar& bar, std::size_t y);
  void evaluate(const Kernel& kernel, std::size_t y, std::vector<double>& buffer) const;
  void search(std::size_t y, const std::vector<double>& buffer, Best& best) const;
  std::size_t first_column(std::size_t y) const { return (y + 1) / lanes * lanes; }

  std::size_t tickers_ = 0, padded_ = 0;
  Settings settings_;
  std::int64_t bars_ = 0;
  double least_ = 0.0;              // the weight of `min_bars` bars
  std::vector<double> base_, log_;  // first prices; logarithms of the last bar's
  std::vector<double> normalised_, change_;
  std::vector<std::size_t> rows_;  // number of each y's first block
  strategy::Long<Block> blocks_;

  // The bars of a window, a slot each, that of a bar is its number modulo the window's length.
  struct Slots {
    std::vector<double> log, normalised, change;
    std::vector<std::uint8_t> crossed;  // a byte for each block
  } kept_, left_;                       // left_: the bar that leaves, one slot
};

}  // namespace mlkit::monitor
