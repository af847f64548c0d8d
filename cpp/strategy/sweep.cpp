#include "strategy/sweep.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <functional>
#include <thread>

namespace mlkit::strategy {

namespace {

// `floor` is the equity below which a drawdown is the worst one: most bars need no division.
double greatest_drawdown(const Curve& curve) {
  double peak = curve.equity.front(), worst = 0.0, floor = peak;
  for (const auto& [begin, end] : curve.moves) {
    for (std::size_t i = begin; i < end; ++i) {
      const double now = curve.equity[i];
      if (now > peak) {
        peak = now;
      } else if (now < floor) {
        worst = 1.0 - now / peak;
      } else {
        continue;
      }
      floor = peak * (1.0 - worst);
    }
  }
  return worst;
}

// Configurations that one thread takes at a time, and the sum of their returns, each brought
// to mean 0 and length 1. The blocks do not depend on the threads, so neither does the sum.
struct Block {
  std::size_t begin = 0, end = 0;
  Long<double> returns;
  double means = 0.0;  // of the scaled returns, to be taken from the sum
  std::size_t varying = 0;
};

// Returns in excess of cash where the curve moves, and their sums.
void excess(const Curve& curve, double rate, double* returns, double& sum, double& squares) {
  for (const auto& [begin, end] : curve.moves) {
    std::array<double, 4> sums{}, more{};
    const auto take = [&](std::size_t i, std::size_t part) {
      const double change = curve.equity[i] / curve.equity[i - 1] - 1.0 - rate;
      returns[i - 1] = change;
      sums[part] += change;
      more[part] += change * change;
    };
    std::size_t i = begin;
    for (; i + 4 <= end; i += 4) {
      for (std::size_t k = 0; k < 4; ++k) take(i + k, k);
    }
    for (; i < end; ++i) take(i, 0);
    sum += (sums[0] + sums[1]) + (sums[2] + sums[3]);
    squares += (more[0] + more[1]) + (more[2] + more[3]);
  }
}

// Below this deviation a curve does not vary but for rounding, as one that only earns interest.
constexpr double flat = 1e-13;

void measure(const Curve& curve, double rate, Long<double>& returns, Block& block,
             Score& score) {
  const auto count = double(returns.size());
  double sum = 0.0, squares = 0.0;
  score.drawdown = greatest_drawdown(curve);
  excess(curve, rate, returns.data(), sum, squares);
  squares -= sum * sum / count;
  if (!(squares > flat * flat * count)) return;
  score.sharpe = sum / count / std::sqrt(squares / (count - 1.0));
  const double scale = 1.0 / std::sqrt(squares);
  for (const auto& [begin, end] : curve.moves) {
    for (std::size_t i = begin - 1; i + 1 < end; ++i) block.returns[i] += returns[i] * scale;
  }
  block.means += sum / count * scale;
  ++block.varying;
}

// The mean correlation between different rows of length 1, from their sum.
double mean_correlation(const std::vector<Block>& blocks) {
  std::vector<double> sum(blocks.front().returns.size());
  double rows = 0.0;
  for (const Block& block : blocks) {
    rows += double(block.varying);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += block.returns[i] - block.means;
  }
  if (rows < 2.0) return 1.0;
  double square = 0.0;
  for (const double each : sum) square += each * each;
  return (square - rows) / (rows * (rows - 1.0));
}

// Run work(0) ... work(count - 1), each once, on some threads.
void spread_over(std::size_t threads, std::size_t count,
                 const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  const auto take = [&] {
    for (std::size_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::jthread> others;
  for (std::size_t i = 1; i < std::min(threads, count); ++i) others.emplace_back(take);
  take();
}

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
  const double rate = settings.cash_rate / settings.bars_per_year;
  std::vector<FeatureSeries> known(signals.size(), FeatureSeries(0));
  spread_over(threads, signals.size(), [&](std::size_t i) {
    known[i] = features(series.y_close, series.x_close, series.bars, signals[i]);
  });
  std::vector<Block> blocks = blocks_of(configurations.size(), bars);
  spread_over(threads, blocks.size(), [&](std::size_t number) {
    Block& block = blocks[number];
    Curve curve;
    Long<double> returns(bars);
    Settings each = settings;
    for (std::size_t i = block.begin; i < block.end; ++i) {
      each.rule = configurations[i].rule;
      scores[i] = simulate(series, known[configurations[i].signal], trade, each, curve);
      measure(curve, rate, returns, block, scores[i]);
    }
  });
  return mean_correlation(blocks);
}

}  // namespace mlkit::strategy
