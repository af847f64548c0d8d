// One pair: the engine's account without its bookkeeping.
//
// A sweep scores thousands of configurations, each on all bars, and most bars change nothing. So
// the loop jumps from one bar at which something may be decided to the next (`idle`, `hold`), and
// takes only those by `step`. What it skips is computed by the same expressions in the same order
// as in the engine, so that the equity curve has the engine's bits: a sweep and a backtest of its
// best configuration agree exactly, and a test compares them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "strategy/sweep.hpp"

namespace mlkit::strategy {

namespace {

// The account of one pair, bar by bar, in the order of Engine::step.
class Account {
 public:
  Account(const Series& series, const FeatureSeries& features, const Settings& settings,
          const SeriesKernel& kernel)
      : series_(series),
        features_(features),
        z_(features.z.data()),
        settings_(settings),
        kernel_(kernel),
        interest_(settings.cash_rate / settings.bars_per_year),
        borrow_(settings.costs.borrow_rate / settings.bars_per_year),
        margin_(settings.limits.maintenance_margin > 0.0
                    ? settings.limits.maintenance_margin
                    : -std::numeric_limits<double>::infinity()),
        accrues_(borrow_ != 0.0 || series.y_dividend != nullptr),
        cash_(settings.sizing.capital),
        equity_(settings.sizing.capital) {}

  // A bar before the first decision only earns interest.
  void wait(std::size_t bar) {
    if (bar > 0 && interest_ != 0.0) cash_ += cash_ * interest_;
    equity_ = cash_;
  }

  // Pass over the bars at which an account that holds nothing does nothing; return the next one.
  // While the rule is locked after a stop, the z-score may unlock it at any bar: no bar is passed.
  std::size_t idle(std::size_t bar, double* equity) {
    if (open_ || waiting_ || state_.locked != 0) return bar;
    const std::size_t end = kernel_.first_beyond(z_, bar, series_.bars, settings_.rule.entry);
    if (interest_ == 0.0) {
      std::fill_n(equity, end - bar, equity_);
      return end;
    }
    for (; bar < end; ++bar) {
      wait(bar);
      *equity++ = equity_;
    }
    return end;
  }

  // Pass over the bars at which a position is only held; return the next one.
  std::size_t hold(std::size_t bar, double* equity) {
    if (!open_ || waiting_) return bar;
    const Rule& rule = settings_.rule;
    const std::size_t stop = time_stop(bar);
    const std::size_t acts =
        kernel_.first_outside(z_, bar, stop, double(state_.side), rule.exit, rule.stop);
    const std::size_t end = accrues_ || interest_ != 0.0 ? hold_accruing(bar, acts, equity)
                                                         : hold_plain(bar, acts, equity);
    state_.held += std::int64_t(end - bar);
    return end;
  }

  // The order is that of the engine with books, and of a real day: what the night brought (interest,
  // fees, dividends) is booked on yesterday's position, then yesterday's order is filled, and only
  // then the bar is valued and decided on. A margin call comes before the strategy's own decision,
  // which would otherwise see a position that the broker has already ordered closed.
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

  // Close what is open at the last bar; an entry that still waits for its fill is dropped.
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
  // The bar at which the position has been held for too long.
  std::size_t time_stop(std::size_t bar) const {
    const std::int64_t most = settings_.rule.max_bars, left = most - 1 - state_.held;
    if (most == 0) return series_.bars;
    return std::min(series_.bars, bar + std::size_t(std::max<std::int64_t>(left, 0)));
  }

  // Between two decisions only the account moves. Without interest, fees and dividends cash stands
  // still, and equity is one expression of the closes: a kernel computes it several bars at a time.
  std::size_t hold_plain(std::size_t bar, std::size_t end, double* equity) const {
    return bar + kernel_.hold(cash_, shares_.y, shares_.x, margin_, series_.y_close + bar,
                              series_.x_close + bar, end - bar, series_.bars - bar, equity);
  }

  std::size_t hold_accruing(std::size_t bar, std::size_t end, double* equity) {
    const Legs shares = shares_;
    double cash = cash_;
    // Cash depends on the bar before, so that this loop cannot be split over lanes. `cash` is kept
    // only for bars without a margin call; the bar of the call is taken again by `step`.
    for (; bar < end; ++bar) {
      double next = cash;
      if (interest_ != 0.0) next += next * interest_;
      if (accrues_) next -= accrued(bar);
      const double now = next + value(shares, closes(bar));
      if (now < margin_ * gross(shares, closes(bar))) break;
      cash = next;
      *equity++ = now;
    }
    cash_ = cash;
    return bar;
  }

  Legs closes(std::size_t bar) const { return {series_.y_close[bar], series_.x_close[bar]}; }

  Legs fill_prices(std::size_t bar) const {
    if (series_.y_open == nullptr) return closes(bar);
    const Legs open{series_.y_open[bar], series_.x_open[bar]};
    return {std::isnan(open.y) ? series_.y_close[bar] : open.y,
            std::isnan(open.x) ? series_.x_close[bar] : open.x};
  }

  // What a night costs: the borrow fee on yesterday's closes, which are what the shares were worth
  // when they were lent, and the dividends of the day.
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
    if (!(equity_ < margin_ * gross(shares_, closes(bar)))) return;
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
    const Legs shares = size(decision.state.side, features_.beta_at(bar), prices, settings_.sizing);
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
  const FeatureSeries& features_;
  const double* z_;
  const Settings& settings_;
  const SeriesKernel& kernel_;
  const double interest_, borrow_;
  const double margin_;  // below this share of the exposure the equity calls
  const bool accrues_;
  double cash_, equity_;
  Legs shares_;
  State state_;
  bool open_ = false;
  bool waiting_ = false;  // an order waits for its fill
  double turnover_ = 0.0;
  std::int64_t trades_ = 0;
};

}  // namespace

Score simulate(const SeriesKernel& kernel, const Series& series, const FeatureSeries& features,
               std::size_t trade, const Settings& settings, Long<double>& equity) {
  Account account(series, features, settings, kernel);
  for (std::size_t bar = 0; bar < trade; ++bar) account.wait(bar);
  equity.resize(series.bars - trade + 1);
  equity.front() = account.equity();
  double* const curve = equity.data() + 1;
  for (std::size_t bar = trade; bar < series.bars; ++bar) {
    bar = account.hold(bar, curve + (bar - trade));
    bar = account.idle(bar, curve + (bar - trade));
    if (bar < series.bars) curve[bar - trade] = account.step(bar);
  }
  Score result;
  result.equity = equity.back() = account.finish(series.bars - 1);
  result.turnover = account.turnover();
  result.trades = account.trades();
  return result;
}

}  // namespace mlkit::strategy
