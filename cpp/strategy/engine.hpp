// The event engine: bars in, fills and one cash account out.
//
// A decision is taken at a bar's close and fixes the shares; it fills at the next bar's open
// (its close, if there are no opens). The same engine runs a replay and a live feed, bar by
// bar; a batch is a loop over `step`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "strategy/account.hpp"
#include "strategy/pages.hpp"
#include "strategy/rule.hpp"
#include "strategy/signal.hpp"

namespace mlkit::strategy {

struct Limits {
  std::int64_t pairs = std::numeric_limits<std::int64_t>::max();
  std::int64_t pairs_per_ticker = std::numeric_limits<std::int64_t>::max();
  double leverage = std::numeric_limits<double>::infinity();  // gross exposure over equity
  double initial_margin = 0.0;      // equity over gross exposure, to enter
  double maintenance_margin = 0.0;  // the same, to stay
};

struct Settings {
  Rule rule;  // of pairs that bring none
  Costs costs;
  Sizing sizing;
  Limits limits;
  double cash_rate = 0.0;  // a year, on the cash balance
  double bars_per_year = 252.0;
  bool same_bar = false;  // fill at the close of the decision
  bool carry = false;     // positions outlive their window
  // Missing closes in a row that make a ticker delisted; 0: only `delist` does.
  std::int64_t delisted_after = 1;
};

// A pair and its window: it trades from the bar at which it is added, and its positions close
// at the close of bar stop - 1 unless they are carried.
struct Pair {
  std::size_t y = 0, x = 0;  // columns
  std::int64_t stop = std::numeric_limits<std::int64_t>::max();
  SignalSettings signal;
  Rule rule;
};

// One bar of all tickers; `open` and `dividend` may be null. A close that is not a number is
// missing: orders wait, nothing is decided, and the last close values the position. After
// `delisted_after` of them the ticker is gone: its positions close at the last price.
struct Bar {
  const double* open = nullptr;
  const double* close = nullptr;
  const double* dividend = nullptr;
  // Quotes: what sells and what buys fills at; missing ones fall back on `open`.
  const double* bid = nullptr;
  const double* ask = nullptr;
};

enum class Reason : int {
  reverted,
  stopped,
  timed_out,
  window_end,
  delisted,
  margin_call,
  data_end,
  flattened
};

// What somebody other than the strategy wants, as a risk limit does.
enum class Action : std::int64_t {
  block,    // entries are refused
  allow,    // entries are accepted again
  flatten,  // positions are closed, entries that wait are cancelled
  cancel,   // entries that wait are cancelled
};

// An action before the orders of a bar fill; a pair below 0 stands for all.
struct Intervention {
  std::int64_t bar = 0;
  std::int64_t pair = -1;
  Action action = Action::block;
};

struct Trade {
  std::int64_t pair = 0;
  int side = 0;
  Reason reason = Reason::data_end;
  std::int64_t decided = -1, entered = -1, closed = -1;  // bars
  double beta = 0.0, entry_z = 0.0;
  Legs shares, entry_price, exit_price;
  double turnover = 0.0;  // money traded, both legs, in and out
  Ledger ledger;
  double result() const {
    return shares.y * (exit_price.y - entry_price.y) + shares.x * (exit_price.x - entry_price.x);
  }
};

// The account at a close; the ledger and the interest are running totals.
struct Row {
  double cash = 0.0, positions = 0.0, equity = 0.0, gross = 0.0;
  Ledger ledger;
  double interest = 0.0;
};

struct Choice {
  std::int64_t bar;
  std::int64_t pair;
  Order order;
  int accepted;  // 0 or 1; no bool, since bytes of padding would have no value
  Features features;
};

// An order that waits for its fill.
struct Pending {
  std::int64_t pair = 0;
  std::int64_t decided = -1;         // bar of an entry
  int entry = 0;                     // 1: the shares are to be bought; 0: sold
  Reason reason = Reason::data_end;  // of an exit
  Legs shares;
};

// What a pair looks like after the last bar.
struct View {
  std::int64_t pair = 0;
  int side = 0, locked = 0;
  std::int64_t held = 0;
  Features features;
};

// Decides in place of the built-in rule: pair, features, side and bars held.
using StrategyCallback =
    std::function<Order(std::int64_t bar, std::int64_t pair, const Features&, const State&)>;

class Engine {
 public:
  Engine(std::size_t tickers, const Settings& settings,
         StrategyCallback strategy_callback = nullptr);

  // Add a pair that trades from now on; earlier closes, oldest first, warm its features up.
  std::int64_t add(const Pair& pair, const std::vector<Legs>& history);
  void step(const Bar& bar);
  // Close what is open at the last closes; the last row is rewritten.
  void finish();

  // End a pair's window with the next bar.
  void remove(std::int64_t pair);
  // The ticker trades no more: its positions close at their last prices in the next bar.
  void delist(std::size_t column);
  // Plan an intervention at a bar that is not taken yet; those of a bar act in their order.
  void intervene(const Intervention& planned);

  std::vector<Trade> positions() const;
  std::vector<Pending> pending() const;
  std::vector<View> views() const;
  // Forget the rows, trades and choices so far.
  void drain();
  // Forget the rows only, as a feed does, which reads `now`.
  void forget_rows() { rows_.clear(); }

  // The state as bytes, without the strategy_callback and without what `drain` forgets.
  std::string save() const;
  static Engine load(std::string_view bytes, StrategyCallback strategy_callback = nullptr);

  std::size_t tickers() const { return last_.size(); }
  const Settings& settings() const { return settings_; }
  std::int64_t bars() const { return bar_; }
  std::size_t pairs() const { return slots_.size(); }
  void reserve(std::size_t bars) { rows_.reserve(bars); }
  const Long<Row>& rows() const { return rows_; }
  const Row& now() const { return now_; }  // the account at the last close
  const std::vector<Trade>& trades() const { return trades_; }
  const std::vector<Choice>& choices() const { return choices_; }

 private:
  struct Slot {
    std::int64_t number = 0;
    Pair pair;
    Signal signal;
    State state{};
    Features features{};
    Trade trade{};          // the position that is open, or ordered
    bool open = false;      // shares are held
    bool entering = false;  // an entry waits for its fill
    bool leaving = false;   // an exit waits for its fill
    bool dead = false;
    bool counted = false;  // among the pairs that the limits count
    bool blocked = false;  // its entries are refused

    bool active() const { return open || entering; }
    void archive(Archive& archive);
  };

  void accrue(const Bar& bar);
  void act();
  void act(Slot& slot, Action action);
  void cancel_entry(Slot& slot);
  void fill(const Bar& bar);
  void close_ended();
  void mark();
  void call_margin();
  void decide(const Bar& bar);
  Decision ask(const Slot& slot) const;
  bool order_entry(Slot& slot, int side);
  Features take(Slot& slot, const Bar& bar);
  double log_of(const Bar& bar, std::size_t column);
  bool gone(std::size_t column) const;
  void settle(Slot& slot);
  void merge_held(std::size_t fresh);
  void release_idle();
  void archive(Archive& archive);
  bool accept(const Slot& slot, const Trade& order) const;
  void enter(Slot& slot, Legs prices);
  void leave(Slot& slot, Legs prices);
  void order_exit(Slot& slot, Reason reason);
  Legs last(const Slot& slot) const { return {last_[slot.pair.y], last_[slot.pair.x]}; }
  void forget_ended();

  Settings settings_;
  StrategyCallback strategy_callback_;
  std::int64_t bar_ = 0;
  std::int64_t next_number_ = 0;
  std::vector<double> last_;           // last known close
  std::vector<std::int64_t> missing_;  // closes that are missing since
  std::vector<std::uint8_t> delisted_;
  std::vector<double> logs_;  // of the closes of the bar in `logged_`
  std::vector<std::int64_t> logged_;
  std::vector<Slot> slots_;            // pairs that are fed, in order of arrival
  std::vector<std::size_t> held_;      // places of those with shares or an order, rising
  bool blocked_ = false;               // the entries of all pairs are refused
  std::vector<Intervention> planned_;  // by bar
  bool gaps_ = false;                  // a close is missing, or a ticker was delisted
  std::int64_t earliest_stop_ = std::numeric_limits<std::int64_t>::max();
  std::int64_t counted_ = 0;                // pairs with a position that is not being left
  std::vector<std::int64_t> counted_with_;  // the same, of each ticker
  Long<Row> rows_;
  std::vector<Trade> trades_;
  std::vector<Choice> choices_;
  Row now_;
  double ordered_ = 0.0;  // gross exposure of entries that wait
};

}  // namespace mlkit::strategy
