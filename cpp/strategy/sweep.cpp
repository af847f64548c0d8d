#include "strategy/sweep.hpp"

#include <algorithm>
#include <cmath>

namespace mlkit::strategy {

namespace {

// The account of one pair, bar by bar, in the order of Engine::step.
class Account {
 public:
  Account(const Series& series, const FeatureSeries& features, const Settings& settings)
      : series_(series),
        features_(features),
        settings_(settings),
        interest_(settings.cash_rate / settings.bars_per_year),
        borrow_(settings.costs.borrow_rate / settings.bars_per_year),
        accrues_(borrow_ != 0.0 || series.y_dividend != nullptr),
        cash_(settings.sizing.capital),
        equity_(settings.sizing.capital) {}

  // The bar before the first decision only earns interest.
  void idle(std::size_t bar) {
    if (bar > 0 && interest_ != 0.0) cash_ += cash_ * interest_;
    equity_ = cash_;
  }

  double step(std::size_t bar) {
    if (bar > 0 && interest_ != 0.0) cash_ += cash_ * interest_;
    if (open_ && accrues_) accrue(bar);
    if (waiting_) fill(fill_prices(bar));
    mark(bar);
    if (open_) call_margin(bar);
    const Decision decision = mlkit::strategy::step(state_, features_.z[bar], settings_.rule);
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
    const Legs shares = size(decision.state.side, features_.beta[bar], prices, settings_.sizing);
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

// Mean and deviation of the returns, and the drawdown.
class Tally {
 public:
  explicit Tally(double equity) : previous_(equity), peak_(equity) {}

  void take(double equity) {
    const double change = equity / previous_ - 1.0;
    sum_ += change;
    squares_ += change * change;
    ++count_;
    previous_ = equity;
    peak_ = std::max(peak_, equity);
    drawdown_ = std::max(drawdown_, 1.0 - equity / peak_);
  }

  double drawdown() const { return drawdown_; }
  double sharpe() const {
    const double n = double(count_);
    const double variance = (squares_ - sum_ * sum_ / n) / (n - 1.0);
    return variance > 0.0 ? sum_ / n / std::sqrt(variance) : 0.0;
  }

 private:
  double previous_, peak_;
  double sum_ = 0.0, squares_ = 0.0, drawdown_ = 0.0;
  std::size_t count_ = 0;
};

}  // namespace

Score score(const Series& series, const FeatureSeries& features, std::size_t trade,
            const Settings& settings, double* equity) {
  Account account(series, features, settings);
  for (std::size_t bar = 0; bar < trade; ++bar) account.idle(bar);
  Tally tally(account.equity());
  if (equity != nullptr) *equity++ = account.equity();
  Score result;
  for (std::size_t bar = trade; bar < series.bars; ++bar) {
    result.equity = account.step(bar);
    if (bar + 1 == series.bars) result.equity = account.finish(bar);
    if (equity != nullptr) *equity++ = result.equity;
    tally.take(result.equity);
  }
  result.sharpe = tally.sharpe();
  result.drawdown = tally.drawdown();
  result.turnover = account.turnover();
  result.trades = account.trades();
  return result;
}

}  // namespace mlkit::strategy
