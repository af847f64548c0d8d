#include "records/bars.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mlkit::records {

namespace {

using Values = std::array<double, prices>;

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
constexpr double largest = 1e150;  // LARGEST of mlkit.pairs.feeds.records

bool known(double value) { return !std::isnan(value); }
double or_else(double value, double other) { return known(value) ? value : other; }

// As `fault` of mlkit.pairs.feeds.records.
Rule fault(const Values& tick) {
  for (const Price each : {close, open, high, low, bid, ask})
    if (known(tick[each]) && !(tick[each] > 0.0 && tick[each] <= largest)) return price;
  for (const Price each : {volume, dividend})
    if (known(tick[each]) && !(tick[each] >= 0.0 && tick[each] <= largest)) return amount;
  if (!known(tick[close]) && or_else(tick[dividend], 0.0) == 0.0) return empty;
  const double least = or_else(tick[low], 0.0), most = or_else(tick[high], INFINITY);
  for (const Price each : {open, close})
    if (known(tick[each]) && !(least <= tick[each] && tick[each] <= most)) return range;
  if (least > most) return range;
  return tick[bid] > tick[ask] ? crossed : accepted;
}

Values opened(Values tick) {
  for (const Price each : {open, high, low}) tick[each] = or_else(tick[each], tick[close]);
  return tick;
}

double total(double one, double other) {
  return known(one) && known(other) ? one + other : or_else(one, other);
}

// Adds a tick; fmin and fmax pass over what is unknown.
void merge(OpenBar& bar, const Values& tick, std::int64_t time) {
  Values& values = bar.values;
  const Values before = values;
  const bool is_latest = time >= bar.last;
  const double first = or_else(before[open], before[close]);
  values[open] = time >= bar.first ? first : or_else(tick[open], tick[close]);
  values[high] =
      std::fmax(std::fmax(before[high], before[close]), std::fmax(tick[high], tick[close]));
  values[low] = std::fmin(std::fmin(before[low], before[close]), std::fmin(tick[low], tick[close]));
  if (is_latest) values[close] = or_else(tick[close], before[close]);
  for (const Price each : {volume, dividend}) values[each] = total(before[each], tick[each]);
  for (const Price each : {bid, ask}) values[each] = is_latest ? tick[each] : before[each];
  bar.first = std::min(bar.first, time);
}

Values row_of(const Ticks& ticks, std::size_t n) {
  Values row;
  for (std::size_t each = 0; each < prices; ++each)
    row[each] = ticks.values[each] ? ticks.values[each][n] : unknown;
  return row;
}

ClosedBar closed(OpenBar& bar, std::int64_t ticker, std::int64_t start, const Values& values) {
  const ClosedBar found{ticker, start, bar.closed, bar.close_before, values};
  bar.closed = start;
  bar.close_before = or_else(values[close], bar.close_before);
  return found;
}

}  // namespace

std::vector<ClosedBar> take(const Ticks& ticks, OpenBar* bars,
                            std::array<std::int64_t, rules>& counts) {
  std::vector<ClosedBar> found;
  for (std::size_t n = 0; n < ticks.count; ++n) {
    Values tick = row_of(ticks, n);
    if (const Rule wrong = fault(tick); wrong != accepted) {
      ++counts[wrong];
      if (wrong != crossed) continue;
      tick[bid] = tick[ask] = unknown;
    }
    const std::int64_t ticker = ticks.tickers[n], time = ticks.times[n], start = ticks.starts[n];
    OpenBar& bar = bars[ticker];
    if (start == never || start <= bar.closed) {
      ++counts[start == never ? outside : late];
      continue;
    }
    ++counts[accepted];
    if (time < bar.last) ++counts[out_of_order];
    if (bar.start != never && start < bar.start) {  // of a bar that had no tick before the open one
      found.push_back(closed(bar, ticker, start, opened(tick)));
      continue;
    }
    if (bar.start == start) {
      merge(bar, tick, time);
    } else {
      if (bar.start != never) found.push_back(closed(bar, ticker, bar.start, bar.values));
      bar.start = start;
      bar.first = time;
      bar.values = opened(tick);
    }
    bar.last = std::max(bar.last, time);
  }
  return found;
}

}  // namespace mlkit::records
