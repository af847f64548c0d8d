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

  double step(std::size_t bar) {
    if (bar > 0 && interest_ != 0.0) cash_ += cash_ * interest_;
    if (open_ && accrues_) accrue(bar);
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

  void accrue(std::size_t bar) {
    Ledger paid;
    paid.borrow = short_value(shares_, closes(bar - 1)) * borrow_;
    if (series_.y_dividend != nullptr) {
      paid.dividends = value(shares_, {series_.y_dividend[bar], series_.x_dividend[bar]});
    }
    cash_ -= paid.costs();
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

// A sum in four parts, which is faster and more accurate than in one.
template <class Term>
double total(std::size_t count, const Term& term) {
  std::array<double, 4> parts{};
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (std::size_t k = 0; k < 4; ++k) parts[k] += term(i + k);
  }
  for (; i < count; ++i) parts[0] += term(i);
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

double greatest_drawdown(const double* equity, std::size_t count) {
  double peak = equity[0], worst = 0.0;
  for (std::size_t i = 1; i < count; ++i) {
    peak = std::max(peak, equity[i]);
    worst = std::max(worst, 1.0 - equity[i] / peak);
  }
  return worst;
}

// Configurations that one thread takes at a time, and the sum of their returns, each brought
// to mean 0 and length 1. The blocks do not depend on the threads, so neither does the sum.
struct Block {
  std::size_t begin = 0, end = 0;
  std::vector<double> returns;
  std::size_t varying = 0;
};

// Turn an equity curve into the returns' deviations from their mean; give the Sharpe ratio and
// the sum of squares.
std::array<double, 2> deviations(const double* equity, std::size_t count, double rate,
                                 double* returns) {
  for (std::size_t i = 0; i < count; ++i) returns[i] = equity[i + 1] / equity[i] - 1.0 - rate;
  const double mean = total(count, [&](std::size_t i) { return returns[i]; }) / double(count);
  for (std::size_t i = 0; i < count; ++i) returns[i] -= mean;
  const double squares = total(count, [&](std::size_t i) { return returns[i] * returns[i]; });
  const double deviation = std::sqrt(squares / double(count - 1));
  return {deviation > 0.0 ? mean / deviation : 0.0, squares};
}

// The mean correlation between different rows of length 1, from their sum.
double mean_correlation(const std::vector<Block>& blocks) {
  std::vector<double> sum(blocks.front().returns.size());
  double rows = 0.0;
  for (const Block& block : blocks) {
    rows += double(block.varying);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += block.returns[i];
  }
  if (rows < 2.0) return 1.0;
  const double square = total(sum.size(), [&](std::size_t i) { return sum[i] * sum[i]; });
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
                 std::vector<double>(bars)};
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
               const Settings& settings, double* equity) {
  Account account(series, features, settings);
  for (std::size_t bar = 0; bar < trade; ++bar) account.idle(bar);
  *equity++ = account.equity();
  for (std::size_t bar = trade; bar < series.bars;) {
    const std::size_t next = account.next(bar);
    equity = std::fill_n(equity, next - bar, account.equity());
    if (next < series.bars) *equity++ = account.step(next);
    bar = next + 1;
  }
  Score result;
  result.equity = equity[-1] = account.finish(series.bars - 1);
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
    std::vector<double> equity(bars + 1), returns(bars);
    Settings each = settings;
    for (std::size_t i = block.begin; i < block.end; ++i) {
      each.rule = configurations[i].rule;
      scores[i] = simulate(series, known[configurations[i].signal], trade, each, equity.data());
      scores[i].drawdown = greatest_drawdown(equity.data(), equity.size());
      const auto [sharpe, squares] = deviations(equity.data(), bars, rate, returns.data());
      scores[i].sharpe = sharpe;
      if (!(squares > 0.0)) continue;
      ++block.varying;
      const double scale = 1.0 / std::sqrt(squares);
      for (std::size_t k = 0; k < bars; ++k) block.returns[k] += returns[k] * scale;
    }
  });
  return mean_correlation(blocks);
}

}  // namespace mlkit::strategy
