#include "strategy/sweep.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <iterator>
#include <numeric>

#include "threads/thread_pool.hpp"

namespace mlkit::strategy {

namespace {

// Configurations that one thread takes at a time, and the sum of their returns, each brought
// to mean 0 and length 1. The blocks do not depend on the threads, so neither does the sum.
struct Block {
  std::size_t begin = 0, end = 0;
  Long<double> returns;
  double means = 0.0;  // of the scaled returns, to be taken from the sum
  std::size_t varying = 0;
};

// Below this deviation a curve does not vary but for rounding, as one that only earns interest.
constexpr double flat = 1e-13;

double total(const double (&parts)[padding]) {
  return std::accumulate(std::begin(parts), std::end(parts), 0.0);
}

void measure(const SeriesKernel& kernel, const Long<double>& equity, double rate,
             Long<double>& returns, Block& block, Score& score) {
  const std::size_t bars = equity.size() - 1;
  const auto count = double(bars);
  score.drawdown = kernel.drawdown(equity.data(), equity.size());
  const Totals totals =
      kernel.returns(equity.data(), bars, rate, returns.empty() ? nullptr : returns.data());
  const double sum = total(totals.sum);
  const double squares = total(totals.squares) - sum * sum / count;
  if (!(squares > flat * flat * count)) return;
  score.sharpe = sum / count / std::sqrt(squares / (count - 1.0));
  const double scale = 1.0 / std::sqrt(squares);
  if (returns.empty()) return;
  kernel.add_scaled(returns.data(), scale, returns.size(), block.returns.data());
  block.means += sum / count * scale;
  ++block.varying;
}

// The mean correlation between different rows of length 1, from their sum over `bars`.
double mean_correlation(const SeriesKernel& kernel, const std::vector<Block>& blocks,
                        std::size_t bars) {
  Long<double> sum(blocks.front().returns.size(), 0.0);
  double rows = 0.0, means = 0.0;
  for (const Block& block : blocks) {
    rows += double(block.varying);
    means += block.means;
    kernel.add_scaled(block.returns.data(), 1.0, sum.size(), sum.data());
  }
  if (rows < 2.0) return 1.0;
  double square = 0.0;
  for (std::size_t i = 0; i < bars; ++i) square += (sum[i] - means) * (sum[i] - means);
  return (square - rows) / (rows * (rows - 1.0));
}

// Pieces of work that threads take one after the other.
class Pieces {
 public:
  explicit Pieces(std::size_t count) : count_(count) {}

  // Do pieces until none is left to begin.
  template <class Work>
  void take(const Work& work) {
    for (std::size_t i = next_++; i < count_; i = next_++) {
      try {
        work(i);
      } catch (...) {
        failed_ = true;
        throw;
      }
      ++done_;
    }
  }
  // Wait for the pieces that other threads have begun, which are short; return whether all are done.
  bool await() const {
    while (done_ < count_ && !failed_) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    return !failed_;
  }

 private:
  const std::size_t count_;
  std::atomic<std::size_t> next_{0}, done_{0};
  std::atomic<bool> failed_{false};
};

std::vector<Block> blocks_of(std::size_t configurations, std::size_t bars) {
  const std::size_t count = std::min<std::size_t>(configurations, 32);
  std::vector<Block> blocks(count);
  for (std::size_t i = 0; i < count; ++i) {
    blocks[i] = {configurations * i / count, configurations * (i + 1) / count,
                 Long<double>(bars, 0.0), 0.0, 0};
  }
  return blocks;
}

}  // namespace

double sweep(const Series& series, const std::vector<SignalSettings>& signals, std::size_t trade,
             const std::vector<Configuration>& configurations, const Settings& settings,
             std::size_t threads, Score* scores) {
  const std::size_t bars = series.bars - trade;
  // One configuration alone has nothing to be correlated with.
  const bool one = configurations.size() == 1;
  const std::size_t padded = one ? 0 : (bars + padding - 1) / padding * padding;
  const double rate = settings.cash_rate / settings.bars_per_year;
  const SeriesKernel kernel = series_kernel();
  std::vector<FeatureSeries> known(signals.size());
  std::vector<Block> blocks = blocks_of(configurations.size(), padded);
  const auto compute = [&](std::size_t i) {
    known[i] = features(series.y_close, series.x_close, series.bars, signals[i]);
  };
  const auto score = [&](std::size_t number) {
    Block& block = blocks[number];
    Long<double> equity, returns(padded);
    Settings each = settings;
    for (std::size_t i = block.begin; i < block.end; ++i) {
      each.rule = configurations[i].rule;
      scores[i] = simulate(kernel, series, known[configurations[i].signal], trade, each, equity);
      measure(kernel, equity, rate, returns, block, scores[i]);
    }
  };
  Pieces first(signals.size()), then(blocks.size());
  threads::run_with_helpers(std::min(threads, blocks.size()) - 1, [&] {
    first.take(compute);
    if (first.await()) then.take(score);
  });
  return one ? 1.0 : mean_correlation(kernel, blocks, bars);
}

}  // namespace mlkit::strategy
