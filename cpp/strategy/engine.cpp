#include "strategy/engine.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace mlkit::strategy {

namespace {

Reason reason(Order exit) {
  switch (exit) {
    case Order::stop: return Reason::stopped;
    case Order::time_stop: return Reason::timed_out;
    default: return Reason::reverted;
  }
}

}  // namespace

Engine::Engine(std::size_t tickers, const Settings& settings, Decider decider)
    : settings_(settings),
      decider_(std::move(decider)),
      last_(tickers, std::numeric_limits<double>::quiet_NaN()) {
  now_.cash = now_.equity = settings.sizing.capital;
}

std::int64_t Engine::add(const Pair& pair, const std::vector<Legs>& history) {
  Slot slot{pair, Signal(pair.signal)};
  for (const Legs& closes : history) slot.signal.push(closes.y, closes.x);
  slots_.push_back(std::move(slot));
  live_.push_back(slots_.size() - 1);
  return std::int64_t(slots_.size()) - 1;
}

void Engine::step(const Bar& bar) {
  accrue(bar);
  for (std::size_t i = 0; i < last_.size(); ++i) {
    if (!std::isnan(bar.close[i])) last_[i] = bar.close[i];
  }
  fill(bar);
  close_ended(bar);
  mark();
  call_margin();
  decide(bar);
  forget_ended();
  rows_.push_back(now_);
  ++bar_;
}

// Interest and borrow fees for the time since the last close, then this bar's dividends.
void Engine::accrue(const Bar& bar) {
  if (bar_ > 0) {
    const double interest = now_.cash * (settings_.cash_rate / settings_.bars_per_year);
    now_.interest += interest;
    now_.cash += interest;
  }
  for (std::size_t index : live_) {
    Slot& slot = slots_[index];
    if (!slot.open) continue;
    Ledger paid;
    paid.borrow = short_value(slot.trade.shares, last(slot)) *
                  (settings_.costs.borrow_rate / settings_.bars_per_year);
    if (bar.dividend != nullptr) {
      const Legs dividends{bar.dividend[slot.pair.y], bar.dividend[slot.pair.x]};
      paid.dividends = value(slot.trade.shares, dividends);
    }
    now_.cash -= paid.costs();
    now_.ledger.add(paid);
    slot.trade.ledger.add(paid);
  }
}

void Engine::fill(const Bar& bar) {
  const double* prices = bar.open != nullptr ? bar.open : bar.close;
  const auto price = [&](std::size_t column) {
    return std::isnan(prices[column]) ? bar.close[column] : prices[column];
  };
  for (std::size_t index : live_) {
    Slot& slot = slots_[index];
    if (!slot.entering && !slot.leaving) continue;
    const Legs at{price(slot.pair.y), price(slot.pair.x)};
    if (std::isnan(at.y) || std::isnan(at.x)) continue;  // gone: see close_ended
    if (slot.entering) {
      enter(slot, at);
    } else {
      leave(slot, at);
    }
  }
  ordered_ = 0.0;
}

void Engine::enter(Slot& slot, Legs prices) {
  slot.entering = false;
  slot.open = true;
  slot.trade.entered = bar_;
  slot.trade.entry_price = prices;
  const Ledger paid = trade(slot.trade.shares, prices, settings_.costs);
  slot.trade.turnover = gross(slot.trade.shares, prices);
  slot.trade.ledger.add(paid);
  now_.ledger.add(paid);
  now_.cash -= value(slot.trade.shares, prices) + paid.costs();
}

void Engine::leave(Slot& slot, Legs prices) {
  slot.leaving = slot.open = false;
  slot.trade.closed = bar_;
  slot.trade.exit_price = prices;
  const Ledger paid = trade(slot.trade.shares, prices, settings_.costs);
  slot.trade.turnover += gross(slot.trade.shares, prices);
  slot.trade.ledger.add(paid);
  now_.ledger.add(paid);
  now_.cash += value(slot.trade.shares, prices) - paid.costs();
  trades_.push_back(slot.trade);
}

// The end of a window is known in advance, so its positions close at that bar's close. A
// delisted ticker is noticed when its close is missing, and closes at the last one.
void Engine::close_ended(const Bar& bar) {
  for (std::size_t index : live_) {
    Slot& slot = slots_[index];
    const bool gone = std::isnan(bar.close[slot.pair.y]) || std::isnan(bar.close[slot.pair.x]);
    const bool ended = !settings_.carry && bar_ == slot.pair.stop - 1;
    if (gone) slot.dead = true;
    if (!slot.dead && !ended) continue;
    if (slot.open) {
      slot.trade.reason = slot.dead ? Reason::delisted : Reason::window_end;
      leave(slot, last(slot));
    }
    slot.entering = slot.leaving = false;
    slot.state.side = 0;
  }
}

void Engine::mark() {
  now_.positions = now_.gross = 0.0;
  for (std::size_t index : live_) {
    const Slot& slot = slots_[index];
    if (!slot.open) continue;
    now_.positions += value(slot.trade.shares, last(slot));
    now_.gross += gross(slot.trade.shares, last(slot));
  }
  now_.equity = now_.cash + now_.positions;
}

// Close the youngest positions until the equity carries the rest.
void Engine::call_margin() {
  const double margin = settings_.limits.maintenance_margin;
  double exposure = now_.gross;
  while (exposure > 0.0 && now_.equity < margin * exposure) {
    Slot* youngest = nullptr;
    for (std::size_t index : live_) {
      Slot& slot = slots_[index];
      const bool candidate = slot.open && !slot.leaving;
      if (candidate && (!youngest || slot.trade.entered >= youngest->trade.entered)) {
        youngest = &slot;
      }
    }
    if (youngest == nullptr) return;
    exposure -= gross(youngest->trade.shares, last(*youngest));
    order_exit(*youngest, Reason::margin_call);
    youngest->state.side = 0;
  }
}

void Engine::order_exit(Slot& slot, Reason reason) {
  slot.trade.reason = reason;
  slot.leaving = true;
}

void Engine::decide(const Bar& bar) {
  for (std::size_t index : live_) {
    Slot& slot = slots_[index];
    if (slot.dead) continue;
    slot.features = slot.signal.push(bar.close[slot.pair.y], bar.close[slot.pair.x]);
    const bool over = bar_ >= slot.pair.stop - (settings_.carry ? 0 : 1);
    if (over && slot.state.side == 0) continue;
    const auto pair = std::int64_t(index);
    const auto [state, order] = ask(slot, pair);
    slot.state = state;
    if (order == Order::none) continue;
    bool accepted = true;
    if (state.side == 0) {
      order_exit(slot, reason(order));
    } else {
      accepted = order_entry(slot, pair, state.side);
      if (!accepted) slot.state.side = 0;  // the lock stays: a missed entry is not chased
    }
    choices_.push_back({bar_, pair, order, accepted, slot.features});
  }
  if (settings_.same_bar) {
    fill({nullptr, bar.close, nullptr});
    mark();
  }
}

Decision Engine::ask(const Slot& slot, std::int64_t index) const {
  if (!decider_) return mlkit::strategy::step(slot.state, slot.features.z, slot.pair.rule);
  State state = slot.state;
  if (state.side != 0) ++state.held;
  const Order order = decider_(bar_, index, slot.features, state);
  if (order == Order::none) return {state, order};
  const bool entry = order == Order::enter_long || order == Order::enter_short;
  if (entry != (state.side == 0)) {
    throw std::invalid_argument(entry ? "the strategy enters a pair that has a position"
                                      : "the strategy leaves a pair that has no position");
  }
  const int side = !entry ? 0 : order == Order::enter_long ? 1 : -1;
  return {{side, 0, 0}, order};
}

bool Engine::order_entry(Slot& slot, std::int64_t index, int side) {
  Trade order;
  order.pair = index;
  order.side = side;
  order.decided = bar_;
  order.beta = slot.features.beta;
  order.entry_z = slot.features.z;
  order.shares = size(side, order.beta, last(slot), settings_.sizing);
  if (!accept(slot, order)) return false;
  slot.trade = order;
  slot.entering = true;
  ordered_ += gross(order.shares, last(slot));
  return true;
}

bool Engine::accept(const Slot& slot, const Trade& order) const {
  if (order.shares.y == 0.0 || slot.open || slot.entering) return false;
  const Limits& limits = settings_.limits;
  std::int64_t pairs = 0, with_y = 0, with_x = 0;
  for (std::size_t index : live_) {
    const Slot& other = slots_[index];
    if (!(other.open && !other.leaving) && !other.entering) continue;
    ++pairs;
    with_y += other.pair.y == slot.pair.y || other.pair.x == slot.pair.y;
    with_x += other.pair.y == slot.pair.x || other.pair.x == slot.pair.x;
  }
  if (pairs >= limits.pairs || std::max(with_y, with_x) >= limits.pairs_per_ticker) return false;
  const double exposure = now_.gross + ordered_ + gross(order.shares, last(slot));
  return exposure <= limits.leverage * now_.equity &&
         exposure * limits.initial_margin <= now_.equity && now_.equity > 0.0;
}

void Engine::forget_ended() {
  std::erase_if(live_, [&](std::size_t index) {
    const Slot& slot = slots_[index];
    const bool idle = !slot.open && !slot.entering;
    return idle && (slot.dead || bar_ + 1 >= slot.pair.stop);
  });
}

void Engine::finish() {
  if (rows_.empty()) return;
  --bar_;
  for (std::size_t index : live_) {
    Slot& slot = slots_[index];
    slot.entering = false;
    if (!slot.open) continue;
    slot.trade.reason = Reason::data_end;
    leave(slot, last(slot));
  }
  mark();
  rows_.back() = now_;
  ++bar_;
}

}  // namespace mlkit::strategy
