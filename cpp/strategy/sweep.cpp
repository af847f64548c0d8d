#include "strategy/sweep.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <functional>
#include <thread>

namespace mlkit::strategy {

namespace {

// The account of one pair, bar by bar, in the order of Engine::step.
class Account {
 public:
  Account(const Series& series, const FeatureSeries& features, const Settings& settings)
      : series_(series),
        z_(features.z.data()),
        beta_(features.beta.data()),
        settings_(settings),
        interest_(settings.cash_rate / settings.bars_per_year),
        borrow_(settings.costs.borrow_rate / settings.bars_per_year),
        accrues_(borrow_ != 0.0 || series.y_dividend != nullptr),
        cash_(settings.sizing.capital),
        equity_(settings.sizing.capital) {}

  // A bar before the first decision only earns interest.
  void idle(std::size_t bar) {
    if (bar > 0 && interest_ != 0.0) cash_ += cash_ * interest_;
    equity_ = cash_;
  }

  // The next bar from here on at which anything can happen.
  std::size_t next(std::size_t bar) const {
    if (open_ || waiting_ || interest_ != 0.0 || state_.locked != 0) return bar;
    const double entry = settings_.rule.entry;
    while (bar < series_.bars && !(std::abs(z_[bar]) >= entry)) ++bar;
    return bar;
  }

  // Bars through which the position is merely held, from this one on: `step` in brief. The first
  // bar at which anything else happens is left to `step`.
  std::size_t hold(std::size_t bar, double* equity) {
    if (!open_ || waiting_) return bar;
    const Rule& rule = settings_.rule;
    const double margin = settings_.limits.maintenance_margin, side = state_.side;
    const Legs shares = shares_;
    double cash = cash_;
    std::int64_t held = state_.held;
    for (; bar < series_.bars; ++bar) {
      double next = cash;
      if (interest_ != 0.0) next += next * interest_;
      if (accrues_) next -= accrued(bar);
      const double now = next + value(shares, closes(bar));
      const double z = side * z_[bar];
      const bool called = margin > 0.0 && now < margin * gross(shares, closes(bar));
      const bool over = rule.max_bars > 0 && held + 1 >= rule.max_bars;
      if (called || over || z >= -rule.exit || z <= -rule.stop) break;
      ++held;
      cash = next;
      *equity++ = now;
    }
    cash_ = cash;
    state_.held = held;
    return bar;
  }

  double step(std::size_t bar) {
    if (bar > 0 && interest_ != 0.0) cash_ += cash_ * interest_;
    if (open_ && accrues_) cash_ -= accrued(bar);
    if (waiting_) fill(fill_prices(bar));
    mark(bar);
    if (open_) call_margin(bar);
    const Decision decision = mlkit::strategy::step(state_, z_[bar], settings_.rule);
    if (decision.order == Order::none) {
      state_ = decision.state;
    } else {
      order(decision, bar);
    }
    if (waiting_ && settings_.same_bar) {
      fill(closes(bar));
      mark(bar);
    }
    return equity_;
  }

  // Close what is open at the last bar.
  double finish(std::size_t bar) {
    waiting_ = open_;
    if (waiting_) fill(closes(bar));
    mark(bar);
    return equity_;
  }

  double equity() const { return equity_; }
  double turnover() const { return turnover_; }
  std::int64_t trades() const { return trades_; }

 private:
  Legs closes(std::size_t bar) const { return {series_.y_close[bar], series_.x_close[bar]}; }

  Legs fill_prices(std::size_t bar) const {
    if (series_.y_open == nullptr) return closes(bar);
    const Legs open{series_.y_open[bar], series_.x_open[bar]};
    return {std::isnan(open.y) ? series_.y_close[bar] : open.y,
            std::isnan(open.x) ? series_.x_close[bar] : open.x};
  }

  double accrued(std::size_t bar) const {
    Ledger paid;
    paid.borrow = short_value(shares_, closes(bar - 1)) * borrow_;
    if (series_.y_dividend != nullptr) {
      paid.dividends = value(shares_, {series_.y_dividend[bar], series_.x_dividend[bar]});
    }
    return paid.costs();
  }

  void fill(Legs prices) {
    const Ledger paid = trade(shares_, prices, settings_.costs);
    turnover_ += gross(shares_, prices);
    if (open_) {
      cash_ += value(shares_, prices) - paid.costs();
      ++trades_;
    } else {
      cash_ -= value(shares_, prices) + paid.costs();
    }
    open_ = !open_;
    waiting_ = false;
  }

  void mark(std::size_t bar) { equity_ = open_ ? cash_ + value(shares_, closes(bar)) : cash_; }

  void call_margin(std::size_t bar) {
    const double margin = settings_.limits.maintenance_margin;
    if (margin <= 0.0 || equity_ >= margin * gross(shares_, closes(bar))) return;
    waiting_ = true;
    state_.side = 0;
  }

  void order(const Decision& decision, std::size_t bar) {
    if (decision.state.side == 0) {
      state_ = decision.state;
      waiting_ = true;
      return;
    }
    state_ = decision.state;
    state_.side = 0;    // unless it is accepted
    if (open_) return;  // a margin call waits for its fill
    const Legs prices = closes(bar);
    const Legs shares = size(decision.state.side, beta_[bar], prices, settings_.sizing);
    if (!affordable(gross(shares, prices))) return;
    shares_ = shares;
    state_.side = decision.state.side;
    waiting_ = true;
  }

  bool affordable(double exposure) const {
    const Limits& limits = settings_.limits;
    return exposure > 0.0 && exposure <= limits.leverage * equity_ &&
           exposure * limits.initial_margin <= equity_ && equity_ > 0.0 && limits.pairs > 0 &&
           limits.pairs_per_ticker > 0;
  }

  const Series& series_;
  const double *z_, *beta_;
  const Settings& settings_;
  const double interest_, borrow_;
  const bool accrues_;
  double cash_, equity_;
  Legs shares_;
  State state_;
  bool open_ = false;
  bool waiting_ = false;  // an order waits for its fill
  double turnover_ = 0.0;
  std::int64_t trades_ = 0;
};

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
  std::vector<double> returns;
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

void measure(const Curve& curve, double rate, std::vector<double>& returns, Block& block,
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
                 std::vector<double>(bars), 0.0, 0};
  }
  return blocks;
}

}  // namespace

FeatureSeries features(const double* y, const double* x, std::size_t bars,
                       const SignalSettings& settings) {
  FeatureSeries out(bars);
  Signal signal(settings);
  for (std::size_t i = 0; i < bars; ++i) {
    const Features now = signal.push(y[i], x[i]);
    out.beta[i] = now.beta;
    out.spread[i] = now.spread;
    out.z[i] = now.z;
  }
  return out;
}

Score simulate(const Series& series, const FeatureSeries& features, std::size_t trade,
               const Settings& settings, Curve& curve) {
  Account account(series, features, settings);
  for (std::size_t bar = 0; bar < trade; ++bar) account.idle(bar);
  curve.equity.resize(series.bars - trade + 1);
  curve.moves.clear();
  curve.equity.front() = account.equity();
  double* const equity = curve.equity.data() + 1;
  const auto moves = [&](std::size_t begin, std::size_t end) {
    if (end > begin) curve.moves.push_back({begin - trade + 1, end - trade + 1});
  };
  std::size_t moved = trade;  // the curve moves from this bar on
  for (std::size_t bar = trade; bar < series.bars; ++bar) {
    const std::size_t held = account.hold(bar, equity + (bar - trade));
    bar = account.next(held);
    if (bar > held) {
      std::fill(equity + (held - trade), equity + (bar - trade), account.equity());
      moves(moved, held);
      moved = bar;
    }
    if (bar < series.bars) equity[bar - trade] = account.step(bar);
  }
  moves(moved, series.bars);
  Score result;
  result.equity = curve.equity.back() = account.finish(series.bars - 1);
  result.turnover = account.turnover();
  result.trades = account.trades();
  return result;
}

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
    std::vector<double> returns(bars);
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
