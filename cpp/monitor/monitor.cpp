#include "monitor/monitor.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <tuple>

#include "simd/simd.hpp"
#include "threads/thread_pool.hpp"

namespace mlkit::monitor {

namespace baseline {
Kernel kernel();
}
#if defined(__x86_64__)
namespace avx2 {
Kernel kernel();
}
namespace avx512 {
Kernel kernel();
}
#endif

Kernel selected_kernel() {
  switch (simd::selected()) {
#if defined(__x86_64__)
    case simd::Isa::avx512:
      return avx512::kernel();
    case simd::Isa::avx2:
      return avx2::kernel();
#endif
    default:
      return baseline::kernel();
  }
}

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t blocks_per_helper = 512;  // fewer are done before a helper has woken

// Each thread calls `work(take)`; `take(y)` finds its next row, the longest ones first.
template <class Work>
void share_rows(std::size_t rows, std::size_t blocks, std::size_t threads, const Work& work) {
  const std::size_t useful = std::max<std::size_t>(blocks / blocks_per_helper, 1);
  const std::size_t helpers = std::clamp<std::size_t>(threads, 1, std::min(useful, rows)) - 1;
  std::atomic<std::size_t> next = 0;
  const auto take = [&](std::size_t& row) { return (row = next.fetch_add(1)) < rows; };
  threads::run_with_helpers(helpers, [&] { work(take); });
}

// A sum of weights never passes that of more bars, so comparing the two compares the bars.
double weight_of(std::int64_t bars, double decay) {
  double weight = 0.0;
  for (std::int64_t bar = 0; bar < bars; ++bar) {
    const double next = decay * weight + 1.0;
    if (next == weight) break;
    weight = next;
  }
  return weight;
}

double score(Figure by, double value) {
  if (by == distance) return value;
  return -(by == zscore ? std::fabs(value) : value);
}

bool within(const Query& query, const std::array<double, figures>& values) {
  for (std::size_t each = 0; each < figures; ++each) {
    if (query.bounded[each] &&
        !(query.low[each] <= values[each] && values[each] <= query.high[each]))
      return false;
  }
  return true;
}

// Whether a pair comes before another one.
struct Before {
  Figure by;
  bool operator()(const Candidate& a, const Candidate& b) const {
    const double one = score(by, a.values[by]), other = score(by, b.values[by]);
    return std::tie(one, a.y, a.x) < std::tie(other, b.y, b.x);
  }
};

}  // namespace

// The best so far, worst on top of the heap.
class Monitor::Best {
 public:
  explicit Best(const Query& query) : query_(query) {}

  bool may_take(double value) const {
    if (std::isnan(value) || query_.count == 0) return false;
    return found_.size() < query_.count || score(query_.by, value) <= worst_;
  }

  void take(const Candidate& candidate) {
    found_.push_back(candidate);
    std::push_heap(found_.begin(), found_.end(), Before{query_.by});
    if (found_.size() > query_.count) {
      std::pop_heap(found_.begin(), found_.end(), Before{query_.by});
      found_.pop_back();
    }
    worst_ = score(query_.by, found_.front().values[query_.by]);
  }

  const Query& query() const { return query_; }
  const std::vector<Candidate>& found() const { return found_; }
  std::vector<Candidate> sorted() && {
    std::sort_heap(found_.begin(), found_.end(), Before{query_.by});
    return std::move(found_);
  }

 private:
  const Query& query_;
  std::vector<Candidate> found_;
  double worst_ = 0.0;
};

Monitor::Monitor(std::size_t tickers, const Settings& settings, const Betas& betas)
    : tickers_(tickers), settings_(settings) {
  blocks_.assign(lay_out(), Block{});
  base_.assign(padded_, nan);
  log_.assign(padded_, nan);
  const auto slots = std::size_t(settings_.window);
  for (auto* each : {&kept_.log, &kept_.normalised, &kept_.change})
    each->assign(slots * padded_, nan);
  kept_.crossed.assign(slots * blocks_.size(), 0);
  for (std::size_t y = 0; y + 1 < tickers_; ++y) {
    Block* const row = blocks_.data() + rows_[y];
    for (std::size_t x = y + 1; x < tickers_; ++x) {
      const std::size_t place = x - first_column(y);
      row[place / lanes].beta[place % lanes] = betas.values[betas.shared ? 0 : y * tickers_ + x];
    }
  }
}

// Place the rows; the number of blocks that they need.
std::size_t Monitor::lay_out() {
  padded_ = (tickers_ + lanes - 1) / lanes * lanes;
  rows_.clear();
  std::size_t blocks = 0;
  for (std::size_t y = 0; y + 1 < tickers_; ++y) {
    rows_.push_back(blocks);
    blocks += (padded_ - first_column(y)) / lanes;
  }
  normalised_.assign(padded_, nan);
  change_.assign(padded_, nan);
  for (auto* each : {&left_.log, &left_.normalised, &left_.change}) each->assign(padded_, nan);
  left_.crossed.assign(blocks, 0);
  least_ = weight_of(settings_.min_bars, settings_.decay);
  return blocks;
}

void Monitor::require_prices(const double* close) const {
  using Range = std::numeric_limits<double>;
  for (std::size_t i = 0; i < tickers_; ++i) {
    if (std::isnan(close[i])) continue;
    const std::string place = "closes[" + std::to_string(i) + "]";
    if (!(close[i] >= Range::min() && close[i] <= Range::max()))
      throw std::invalid_argument(place + ": a price must be positive and finite");
    if (close[i] / base_[i] > most_growth)
      throw std::invalid_argument(place + ": more than 1e150 times the first price");
  }
}

void Monitor::step(const double* close, std::size_t threads) {
  require_prices(close);
  const Kernel kernel = selected_kernel();
  std::vector<double> row(padded_, nan);
  std::copy_n(close, tickers_, row.begin());
  for (std::size_t i = 0; i < tickers_; ++i) {
    if (std::isnan(row[i])) row[i] = nan;  // without the bits that a NaN may carry
    if (std::isnan(base_[i])) base_[i] = row[i];
  }
  kernel.prepare(row.data(), base_.data(), padded_, log_.data(), normalised_.data(),
                 change_.data());
  const Bar bar{log_.data(), normalised_.data(), change_.data()};
  if (settings_.window > 0) slide(bar);
  share_rows(rows_.size(), blocks_.size(), threads, [&](const auto& take) {
    for (std::size_t y; take(y);) step_row(kernel, bar, y);
  });
  ++bars_;
}

// Put a bar into the slot of the one that leaves.
void Monitor::slide(const Bar& bar) {
  const std::size_t slot = std::size_t(bars_ % settings_.window);
  const auto exchange = [&](auto& kept, auto& left, const auto* now) {
    const auto place = kept.begin() + std::ptrdiff_t(slot * left.size());
    std::copy_n(place, left.size(), left.begin());
    if (now != nullptr) std::copy_n(now, left.size(), place);
  };
  exchange(kept_.log, left_.log, bar.log);
  exchange(kept_.normalised, left_.normalised, bar.normalised);
  exchange(kept_.change, left_.change, bar.change);
  exchange(kept_.crossed, left_.crossed, static_cast<const std::uint8_t*>(nullptr));
}

void Monitor::step_row(const Kernel& kernel, const Bar& bar, std::size_t y) {
  const std::size_t column = first_column(y), place = rows_[y];
  Block* const row = blocks_.data() + place;
  if (settings_.window == 0)
    return kernel.step(row, bar, y, column, padded_, settings_.decay, nullptr);
  const auto slots = std::size_t(settings_.window), slot = std::size_t(bars_) % slots;
  if (std::size_t(bars_) >= slots) {
    const Window window{{kept_.log.data(), kept_.normalised.data(), kept_.change.data()},
                        slots,
                        padded_,
                        (slot + 1) % slots,
                        slots - 1};
    const Bar old{left_.log.data(), left_.normalised.data(), left_.change.data()};
    const bool renew = y % slots == slot;  // every row's turn comes once in a window
    kernel.leave(row, old, left_.crossed.data() + place, window, renew, y, column, padded_);
  }
  kernel.step(row, bar, y, column, padded_, 1.0,
              kept_.crossed.data() + slot * blocks_.size() + place);
}

// The row's figures, one after the other in `buffer`, a value for each column.
void Monitor::evaluate(const Kernel& kernel, std::size_t y, std::vector<double>& buffer) const {
  std::array<double*, figures> out;
  for (std::size_t each = 0; each < figures; ++each) out[each] = buffer.data() + each * padded_;
  kernel.evaluate(blocks_.data() + rows_[y], log_.data(), y, first_column(y), padded_, least_,
                  out.data());
}

void Monitor::all(Figure figure, double* out, std::size_t threads) const {
  const Kernel kernel = selected_kernel();
  share_rows(rows_.size(), blocks_.size(), threads, [&](const auto& take) {
    std::vector<double> buffer(figures * padded_);
    for (std::size_t y; take(y);) {
      evaluate(kernel, y, buffer);
      const std::size_t before = y * tickers_ - y * (y + 1) / 2;  // pairs of the rows above
      std::copy_n(buffer.data() + figure * padded_ + y + 1, tickers_ - y - 1, out + before);
    }
  });
}

Candidate Monitor::pair(std::size_t y, std::size_t x) const {
  const std::size_t column = x / lanes * lanes;
  std::array<std::array<double, lanes>, figures> found;
  std::array<double*, figures> out;
  for (std::size_t each = 0; each < figures; ++each) out[each] = found[each].data();
  std::array<double, lanes + 1> log;  // of the block's tickers, and of y
  std::copy_n(log_.data() + column, lanes, log.data());
  log.back() = log_[y];
  const Block* const block = blocks_.data() + rows_[y] + (column - first_column(y)) / lanes;
  selected_kernel().evaluate(block, log.data(), lanes, 0, lanes, least_, out.data());
  Candidate candidate{y, x, {}};
  for (std::size_t each = 0; each < figures; ++each)
    candidate.values[each] = found[each][x - column];
  return candidate;
}

// The best pairs of a row, whose figures are in `buffer`.
void Monitor::search(std::size_t y, const std::vector<double>& buffer, Best& best) const {
  const Query& query = best.query();
  const double* const by = buffer.data() + query.by * padded_;
  for (std::size_t x = y + 1; x < tickers_; ++x) {
    if (!best.may_take(by[x])) continue;
    Candidate candidate{y, x, {}};
    for (std::size_t each = 0; each < figures; ++each)
      candidate.values[each] = buffer[each * padded_ + x];
    if (within(query, candidate.values)) best.take(candidate);
  }
}

std::vector<Candidate> Monitor::top(const Query& query, std::size_t threads) const {
  const Kernel kernel = selected_kernel();
  Best all(query);
  std::mutex mutex;
  share_rows(rows_.size(), blocks_.size(), threads, [&](const auto& take) {
    std::vector<double> buffer(figures * padded_);
    Best best(query);
    for (std::size_t y; take(y);) {
      evaluate(kernel, y, buffer);
      search(y, buffer, best);
    }
    const std::lock_guard lock(mutex);
    for (const Candidate& candidate : best.found()) all.take(candidate);
  });
  return std::move(all).sorted();
}

}  // namespace mlkit::monitor
