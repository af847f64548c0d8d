// Bars of ticks, by ticker: the rules of mlkit.pairs.feeds.assembly for one ticker at a time, without
// lateness, on arrays.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mlkit::records {

enum Price : std::size_t { open, high, low, close, volume, dividend, bid, ask, prices };

// What is counted.
enum Rule : std::size_t {
  accepted,
  price,
  range,
  amount,
  crossed,
  empty,
  late,
  out_of_order,
  outside,
  rules
};

constexpr std::int64_t never = INT64_MIN;

// The open bar of a ticker; what is unknown is NaN.
struct OpenBar {
  std::int64_t start = never;   // never: no bar is open
  std::int64_t first = never;   // the time of its earliest tick
  std::int64_t last = never;    // the time of the ticker's latest tick, in any bar
  std::int64_t closed = never;  // the start of the last bar that was closed
  double close_before = NAN;    // the last close that is known of closed bars
  std::array<double, prices> values{};
};

struct ClosedBar {
  std::int64_t ticker = 0, start = never;
  std::int64_t start_before = never;  // of the bar before; never: it is the first one
  double close_before = NAN;
  std::array<double, prices> values{};
};

// Columns of ticks; one without values is null.
struct Ticks {
  std::size_t count;
  const std::int64_t* tickers;  // numbers of open bars
  const std::int64_t* times;
  const std::int64_t* starts;  // of the bar of each tick; never: it is outside of all
  std::array<const double*, prices> values;
};

// Takes ticks in their order, and returns the bars that they close.
std::vector<ClosedBar> take(const Ticks& ticks, OpenBar* bars,
                            std::array<std::int64_t, rules>& counts);

}  // namespace mlkit::records
