// One pair: its features, and the engine's account without its bookkeeping.
#include <algorithm>
#include <cmath>

#include "strategy/sweep.hpp"

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

// The arithmetic of Signal, first all spreads and then all z-scores: a processor has several
// logarithms in work at a time when nothing waits for them.
void fixed_features(const double* y, const double* x, std::size_t bars,
                    const SignalSettings& settings, FeatureSeries& out) {
  const double alpha = settings.alpha, beta = settings.beta;
  for (std::size_t i = 0; i < bars; ++i) {
    out.beta[i] = beta;
    out.spread[i] = settings.log ? fixed_spread(std::log(y[i]), std::log(x[i]), alpha, beta)
                                 : fixed_spread(y[i], x[i], alpha, beta);
  }
  RollingMoments moments(settings.lookback);
  for (std::size_t i = 0; i < bars; ++i) {
    moments.push(out.spread[i]);
    out.z[i] = z_score(out.spread[i], moments);
  }
}

}  // namespace

FeatureSeries features(const double* y, const double* x, std::size_t bars,
                       const SignalSettings& settings) {
  FeatureSeries out(bars);
  if (settings.hedge == Hedge::fixed && settings.lookback > 0) {
    fixed_features(y, x, bars, settings, out);
    return out;
  }
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

}  // namespace mlkit::strategy
