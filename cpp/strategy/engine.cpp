#include "strategy/engine.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace mlkit::strategy {

namespace {

Reason reason(Order exit) {
  switch (exit) {
    case Order::stop:
      return Reason::stopped;
    case Order::time_stop:
      return Reason::timed_out;
    default:
      return Reason::reverted;
  }
}

}  // namespace

Engine::Engine(std::size_t tickers, const Settings& settings, StrategyCallback strategy_callback)
    : settings_(settings),
      strategy_callback_(std::move(strategy_callback)),
      last_(tickers, std::numeric_limits<double>::quiet_NaN()),
      missing_(tickers),
      delisted_(tickers),
      logs_(tickers),
      logged_(tickers, -1),
      counted_with_(tickers) {
  now_.cash = now_.equity = settings.sizing.capital;
}

std::int64_t Engine::add(const Pair& pair, const std::vector<Legs>& history) {
  Slot slot{next_number_, pair, Signal(pair.signal)};
  for (const Legs& closes : history) slot.signal.push(closes.y, closes.x);
  slots_.push_back(std::move(slot));
  earliest_stop_ = std::min(earliest_stop_, pair.stop);
  return next_number_++;
}

void Engine::remove(std::int64_t pair) {
  for (Slot& slot : slots_) {
    if (slot.number != pair) continue;
    slot.pair.stop = std::min(slot.pair.stop, bar_ + 1);
    earliest_stop_ = std::min(earliest_stop_, slot.pair.stop);
    return;
  }
  throw std::invalid_argument("there is no pair " + std::to_string(pair));
}

void Engine::delist(std::size_t column) { delisted_.at(column) = 1; }

void Engine::intervene(const Intervention& planned) {
  if (planned.bar < bar_) throw std::invalid_argument("an intervention in a bar that was taken");
  const auto later = [](const Intervention& a, const Intervention& b) { return a.bar < b.bar; };
  planned_.insert(std::upper_bound(planned_.begin(), planned_.end(), planned, later), planned);
}

void Engine::act() {
  std::size_t done = 0;
  for (; done < planned_.size() && planned_[done].bar <= bar_; ++done) {
    const auto [bar, pair, action] = planned_[done];
    if (pair < 0 && (action == Action::block || action == Action::allow)) {
      blocked_ = action == Action::block;
      continue;
    }
    for (Slot& slot : slots_) {
      if (slot.number == pair || (pair < 0 && slot.active())) act(slot, action);
    }
  }
  planned_.erase(planned_.begin(), planned_.begin() + std::ptrdiff_t(done));
}

void Engine::act(Slot& slot, Action action) {
  switch (action) {
    case Action::block:
      slot.blocked = true;
      break;
    case Action::allow:
      slot.blocked = false;
      break;
    case Action::cancel:
      cancel_entry(slot);
      break;
    case Action::flatten:
      cancel_entry(slot);
      if (!slot.open) break;
      if (!slot.leaving) order_exit(slot, Reason::flattened);
      slot.state.side = 0;
      break;
  }
}

// The lock stays, as after a refused entry.
void Engine::cancel_entry(Slot& slot) {
  if (!slot.entering) return;
  slot.entering = false;
  slot.state.side = 0;
  settle(slot);
}

void Engine::step(const Bar& bar) {
  accrue(bar);
  if (!planned_.empty()) act();
  gaps_ = false;
  for (std::size_t i = 0; i < last_.size(); ++i) {
    const bool missing = std::isnan(bar.close[i]);
    missing_[i] = missing ? missing_[i] + 1 : 0;
    if (!missing) last_[i] = bar.close[i];
    gaps_ |= missing || delisted_[i] != 0;
  }
  fill(bar);
  close_ended();
  mark();
  call_margin();
  decide(bar);
  forget_ended();
  rows_.push_back(now_);
  ++bar_;
}

bool Engine::gone(std::size_t column) const {
  const std::int64_t most = settings_.delisted_after;
  return delisted_[column] != 0 || (most > 0 && missing_[column] >= most);
}

// Counts a pair for the limits, or no more.
void Engine::settle(Slot& slot) {
  const bool counts = (slot.open && !slot.leaving) || slot.entering;
  if (counts == slot.counted) return;
  const int change = counts ? 1 : -1;
  slot.counted = counts;
  counted_ += change;
  counted_with_[slot.pair.y] += change;
  counted_with_[slot.pair.x] += change;
}

// Brings the places from `fresh` on, which rise, into the order of the others.
void Engine::merge_held(std::size_t fresh) {
  std::inplace_merge(held_.begin(), held_.begin() + std::ptrdiff_t(fresh), held_.end());
  held_.erase(std::unique(held_.begin(), held_.end()), held_.end());
}

void Engine::release_idle() {
  std::erase_if(held_, [&](std::size_t place) { return !slots_[place].active(); });
}

// Interest and borrow fees for the time since the last close, then this bar's dividends.
void Engine::accrue(const Bar& bar) {
  if (bar_ > 0) {
    const double interest = now_.cash * (settings_.cash_rate / settings_.bars_per_year);
    now_.interest += interest;
    now_.cash += interest;
  }
  for (std::size_t place : held_) {
    Slot& slot = slots_[place];
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
  const auto quoted = [&](std::size_t column, double bought) {
    const double* quotes = bought > 0.0 ? bar.ask : bar.bid;
    const bool known = quotes != nullptr && !std::isnan(quotes[column]);
    return known ? quotes[column] : price(column);
  };
  ordered_ = 0.0;
  for (std::size_t place : held_) {
    Slot& slot = slots_[place];
    if (!slot.entering && !slot.leaving) continue;
    const double way = slot.entering ? 1.0 : -1.0;
    const Legs at{quoted(slot.pair.y, way * slot.trade.shares.y),
                  quoted(slot.pair.x, way * slot.trade.shares.x)};
    if (std::isnan(at.y) || std::isnan(at.x)) {  // it waits, or is gone: see close_ended
      if (slot.entering) ordered_ += gross(slot.trade.shares, last(slot));
      continue;
    }
    if (slot.entering) {
      enter(slot, at);
    } else {
      leave(slot, at);
    }
  }
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
  settle(slot);
}

// The end of a window is known in advance, so its positions close at that bar's close. A
// delisted ticker is noticed when its close is missing, and closes at the last one.
void Engine::close_ended() {
  if (!gaps_ && bar_ + 1 < earliest_stop_) return;
  for (Slot& slot : slots_) {
    const bool ended = !settings_.carry && bar_ == slot.pair.stop - 1;
    if (gaps_ && (gone(slot.pair.y) || gone(slot.pair.x))) slot.dead = true;
    if (!slot.dead && !ended) continue;
    if (slot.entering) ordered_ = std::max(0.0, ordered_ - gross(slot.trade.shares, last(slot)));
    if (slot.open) {
      slot.trade.reason = slot.dead ? Reason::delisted : Reason::window_end;
      leave(slot, last(slot));
    }
    slot.entering = slot.leaving = false;
    slot.state.side = 0;
    settle(slot);
  }
  release_idle();
}

void Engine::mark() {
  now_.positions = now_.gross = 0.0;
  for (std::size_t place : held_) {
    const Slot& slot = slots_[place];
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
    for (std::size_t place : held_) {
      Slot& slot = slots_[place];
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
  settle(slot);
}

void Engine::decide(const Bar& bar) {
  constexpr std::size_t ahead = 6;  // memory of later pairs is asked for early
  const std::size_t fresh = held_.size();
  for (std::size_t place = 0; place < slots_.size(); ++place) {
    if (place + ahead < slots_.size()) slots_[place + ahead].signal.prefetch();
    Slot& slot = slots_[place];
    if (slot.dead) continue;
    if (gaps_ && (missing_[slot.pair.y] > 0 || missing_[slot.pair.x] > 0)) continue;
    slot.features = take(slot, bar);
    const bool over = bar_ >= slot.pair.stop - (settings_.carry ? 0 : 1);
    if (over && slot.state.side == 0) continue;
    const auto [state, order] = ask(slot);
    slot.state = state;
    if (order == Order::none) continue;
    bool accepted = true;
    if (state.side == 0) {
      order_exit(slot, reason(order));
    } else {
      accepted = order_entry(slot, state.side);
      if (accepted) held_.push_back(place);
      else slot.state.side = 0;  // the lock stays: a missed entry is not chased
    }
    choices_.push_back({bar_, slot.number, order, accepted, slot.features});
  }
  merge_held(fresh);
  if (settings_.same_bar) {
    fill({nullptr, bar.close, nullptr, bar.bid, bar.ask});
    mark();
  }
}

// The pair's features at a close; each ticker's logarithm is taken once a bar.
Features Engine::take(Slot& slot, const Bar& bar) {
  const auto [y, x] = std::pair(slot.pair.y, slot.pair.x);
  if (!slot.signal.log()) return slot.signal.take(bar.close[y], bar.close[x]);
  return slot.signal.take(log_of(bar, y), log_of(bar, x));
}

double Engine::log_of(const Bar& bar, std::size_t column) {
  if (logged_[column] != bar_) {
    logs_[column] = logarithm(bar.close[column]);
    logged_[column] = bar_;
  }
  return logs_[column];
}

Decision Engine::ask(const Slot& slot) const {
  if (!strategy_callback_)
    return mlkit::strategy::step(slot.state, slot.features.z, slot.pair.rule);
  State state = slot.state;
  if (state.side != 0) ++state.held;
  const Order order = strategy_callback_(bar_, slot.number, slot.features, state);
  if (order == Order::none) return {state, order};
  const bool entry = order == Order::enter_long || order == Order::enter_short;
  if (entry != (state.side == 0)) {
    throw std::invalid_argument(entry ? "the strategy enters a pair that has a position"
                                      : "the strategy leaves a pair that has no position");
  }
  const int side = !entry ? 0 : order == Order::enter_long ? 1 : -1;
  return {{side, 0, 0}, order};
}

bool Engine::order_entry(Slot& slot, int side) {
  Trade order;
  order.pair = slot.number;
  order.side = side;
  order.decided = bar_;
  order.beta = slot.features.beta;
  order.entry_z = slot.features.z;
  order.shares = size(side, order.beta, last(slot), settings_.sizing);
  if (!accept(slot, order)) return false;
  slot.trade = order;
  slot.entering = true;
  settle(slot);
  ordered_ += gross(order.shares, last(slot));
  return true;
}

bool Engine::accept(const Slot& slot, const Trade& order) const {
  if (order.shares.y == 0.0 || slot.open || slot.entering) return false;
  if (blocked_ || slot.blocked) return false;
  const Limits& limits = settings_.limits;
  const std::int64_t busier = std::max(counted_with_[slot.pair.y], counted_with_[slot.pair.x]);
  if (counted_ >= limits.pairs || busier >= limits.pairs_per_ticker) return false;
  const double exposure = now_.gross + ordered_ + gross(order.shares, last(slot));
  return exposure <= limits.leverage * now_.equity &&
         exposure * limits.initial_margin <= now_.equity && now_.equity > 0.0;
}

void Engine::forget_ended() {
  release_idle();
  if (!gaps_ && bar_ + 1 < earliest_stop_) return;
  const auto ended = [&](const Slot& slot) {
    return !slot.active() && (slot.dead || bar_ + 1 >= slot.pair.stop);
  };
  if (std::erase_if(slots_, ended) > 0) {
    held_.clear();
    for (std::size_t place = 0; place < slots_.size(); ++place) {
      if (slots_[place].active()) held_.push_back(place);
    }
  }
  earliest_stop_ = std::numeric_limits<std::int64_t>::max();
  for (const Slot& slot : slots_) earliest_stop_ = std::min(earliest_stop_, slot.pair.stop);
}

void Engine::finish() {
  if (bar_ == 0) return;
  --bar_;
  for (std::size_t place : held_) {
    Slot& slot = slots_[place];
    slot.entering = false;
    settle(slot);
    if (!slot.open) continue;
    slot.trade.reason = Reason::data_end;
    leave(slot, last(slot));
  }
  release_idle();
  mark();
  if (rows_.empty()) rows_.emplace_back();
  rows_.back() = now_;
  ++bar_;
}

}  // namespace mlkit::strategy
