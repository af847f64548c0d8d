// The event engine in Python.
#include <pybind11/functional.h>
#include <pybind11/native_enum.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "strategy/bindings.hpp"

namespace mlkit::strategy {

namespace {

// As bytes: NumPy would copy records field by field.
template <class Values>
auto copied(const Values& values) {
  py::array_t<typename Values::value_type> array(py::ssize_t(values.size()));
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

// Pairs from which on a bar takes longer than releasing Python's lock and getting it back.
constexpr std::size_t worth_releasing = 1000;

// The bars that a replay goes through.
struct Bars {
  std::size_t count, tickers;
  const double *close, *open, *dividend, *bid, *ask;

  Bar at(std::size_t bar) const {
    const auto row = [&](const double* values) {
      return values ? values + bar * tickers : nullptr;
    };
    return {row(open), row(close), row(dividend), row(bid), row(ask)};
  }
};

// A pair that joins at a bar of a replay, warmed up on the bars before it.
struct Planned {
  std::size_t start = 0, warm_up_bars = 0;
  Pair pair;
  bool own_rule = false;
};

// Feed the bars to the engine; the plan is sorted by its starts.
void replay(Engine& engine, const Bars& bars, const std::vector<Planned>& plan, const Rule& usual) {
  engine.reserve(engine.rows().size() + bars.count);
  auto next = plan.begin();
  std::vector<Legs> history;
  for (std::size_t bar = 0; bar < bars.count; ++bar) {
    for (; next != plan.end() && next->start == bar; ++next) {
      Pair pair = next->pair;
      if (!next->own_rule) pair.rule = usual;
      history.clear();
      for (std::size_t i = bar - next->warm_up_bars; i < bar; ++i) {
        const double* close = bars.at(i).close;
        const Legs closes{close[pair.y], close[pair.x]};
        if (!std::isnan(closes.y + closes.x)) history.push_back(closes);  // else a missing bar
      }
      engine.add(pair, history);
    }
    engine.step(bars.at(bar));
  }
}

// The engine and the number of tickers that it was made for.
struct BoundEngine {
  BoundEngine(std::size_t tickers_, const Settings& settings,
              std::optional<StrategyCallback> strategy_callback)
      : tickers(tickers_),
        scripted(strategy_callback.has_value()),
        engine(tickers_, settings, strategy_callback ? *strategy_callback : StrategyCallback{}),
        usual(settings.rule) {}

  std::int64_t add(std::size_t y, std::size_t x, std::int64_t stop, const SignalSettings& signal,
                   const std::optional<Rule>& rule, const MaybeDoubles& history) {
    require(y < tickers && x < tickers && y != x, "y and x must be two different columns");
    std::vector<Legs> closes;
    if (history) {
      require(history->ndim() == 2 && history->shape(1) == 2, "history: expected columns y and x");
      require_prices(*history, "history", log(), Missing::refused);
      for (py::ssize_t i = 0; i < history->shape(0); ++i) {
        closes.push_back({history->at(i, 0), history->at(i, 1)});
      }
    }
    if (rule) require_rule(*rule);
    return engine.add({y, x, stop, signal, rule.value_or(usual)}, closes);
  }

  // Bars, a row each, and the pairs that join at some of them.
  void take(const Doubles& closes, const MaybeDoubles& opens, const MaybeDoubles& dividends,
            const std::vector<Planned>& plan, const MaybeDoubles& bids, const MaybeDoubles& asks) {
    const py::ssize_t columns = closes.ndim() == 2 ? closes.shape(1) : -1;
    require(columns == py::ssize_t(tickers), "closes: expected a column for each ticker");
    require_like(opens, closes, "opens");
    require_like(dividends, closes, "dividends");
    require_prices(closes, "closes", log(), Missing::allowed);
    if (opens) require_prices(*opens, "opens", log(), Missing::allowed);
    require_like(bids, closes, "bids");
    require_like(asks, closes, "asks");
    if (bids) require_prices(*bids, "bids", log(), Missing::allowed);
    if (asks) require_prices(*asks, "asks", log(), Missing::allowed);
    const Bars bars{std::size_t(closes.shape(0)),
                    tickers,
                    closes.data(),
                    data_or_null(opens),
                    data_or_null(dividends),
                    data_or_null(bids),
                    data_or_null(asks)};
    require_plan(plan, bars.count);
    if (scripted) {
      replay(engine, bars, plan, usual);
    } else {
      const py::gil_scoped_release release;
      replay(engine, bars, plan, usual);
    }
  }

  // One bar, a value for each ticker, straight from the caller's memory: for a feed, whose bars
  // are so short that conversions would be most of the work. Returns the trades and choices that
  // wait for `drain`.
  std::size_t take_bar(py::handle closes, py::handle opens, py::handle dividends, py::handle bids,
                       py::handle asks) {
    try {
      const Bar bar{priced(opens, "opens"), priced(closes, "closes"), cells(dividends, "dividends"),
                    priced(bids, "bids"), priced(asks, "asks")};
      if (bar.close == nullptr) refuse("closes", "expected an array");
      if (engine.pairs() < worth_releasing || scripted) {
        engine.step(bar);
      } else {
        const py::gil_scoped_release release;
        engine.step(bar);
      }
    } catch (const std::invalid_argument& error) {
      raise_bad_data("bar " + std::to_string(engine.bars()) + ": " + error.what());
    }
    engine.forget_rows();
    return engine.trades().size() + engine.choices().size();
  }

  // The bound method is called without a function in Python around it, which could do this.
  [[noreturn]] static void raise_bad_data(const std::string& message) {
    const py::object type = py::module_::import("mlkit.errors").attr("BadData");
    PyErr_SetObject(type.ptr(), py::str(message).ptr());
    throw py::error_already_set();
  }

  // The values of an array of doubles with one for each ticker; null for None.
  const double* cells(py::handle given, const char* name) const {
    if (given.is_none()) return nullptr;
    if (!py::isinstance<py::array>(given)) refuse(name, "expected an array of doubles");
    const auto* array = py::detail::array_proxy(given.ptr());
    if (array->descr != doubles.ptr() && !Doubles::check_(given)) {
      refuse(name, "expected an array of doubles");
    }
    const bool in_a_row = (array->flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_) != 0;
    if (!in_a_row || array->nd != 1 || array->dimensions[0] != py::ssize_t(tickers)) {
      refuse(name, "expected a value for each ticker, in a row");
    }
    return reinterpret_cast<const double*>(array->data);
  }

  // Apart from the checks, which then build no message.
  [[noreturn]] static void refuse(const char* name, const char* why) {
    throw std::invalid_argument(std::string(name) + ": " + why);
  }

  const double* priced(py::handle given, const char* name) const {
    const double* found = cells(given, name);
    if (found != nullptr) require_prices(found, tickers, name, log(), Missing::allowed);
    return found;
  }

  bool log() const { return engine.settings().sizing.log; }

  void require_plan(const std::vector<Planned>& plan, std::size_t bars) const {
    std::size_t before = 0;
    for (std::size_t i = 0; i < plan.size(); ++i) {
      const auto& [start, warm_up_bars, pair, own_rule] = plan[i];
      const std::string place = "plan[" + std::to_string(i) + "]: ";
      require(pair.y < tickers && pair.x < tickers && pair.y != pair.x,
              place + "y and x must be two different columns");
      require(start >= before && start < bars && warm_up_bars <= start,
              place + "its start is out of order or out of range");
      before = start;
    }
  }

  static BoundEngine load(const py::bytes& bytes,
                          std::optional<StrategyCallback> strategy_callback) {
    const bool scripted = strategy_callback.has_value();
    return {Engine::load(std::string_view(bytes),
                         strategy_callback ? *strategy_callback : StrategyCallback{}),
            scripted};
  }

  BoundEngine(Engine loaded, bool scripted_)
      : tickers(loaded.tickers()),
        scripted(scripted_),
        engine(std::move(loaded)),
        usual(engine.settings().rule) {}

  py::tuple drain() {
    py::array_t<Row> account(1);
    *account.mutable_data() = engine.now();
    py::tuple found = py::make_tuple(account, copied(engine.trades()), copied(engine.choices()));
    engine.drain();
    return found;
  }

  void delist(std::size_t column) {
    require(column < tickers, "delist: there is no such column");
    engine.delist(column);
  }

  std::size_t tickers;
  bool scripted;
  Engine engine;
  Rule usual;  // of pairs that bring none
  py::dtype doubles = py::dtype::of<double>();
};

}  // namespace

void register_engine(py::module_& m) {
  using namespace py::literals;
  py::native_enum<Order>(m, "Order", "enum.IntEnum", "What a strategy asks for at a close.")
      .value("NONE", Order::none)
      .value("ENTER_LONG", Order::enter_long)
      .value("ENTER_SHORT", Order::enter_short)
      .value("EXIT", Order::exit)
      .value("STOP", Order::stop)
      .value("TIME_STOP", Order::time_stop)
      .finalize();
  py::native_enum<Action>(m, "Action", "enum.IntEnum", "What is done to orders from outside.")
      .value("BLOCK", Action::block)
      .value("ALLOW", Action::allow)
      .value("FLATTEN", Action::flatten)
      .value("CANCEL", Action::cancel)
      .finalize();
  py::class_<Features>(m, "Features", "What the engine computed for a pair at a close.")
      .def_readonly("beta", &Features::beta)
      .def_readonly("spread", &Features::spread)
      .def_readonly("z", &Features::z);
  py::class_<State>(m, "State", "A pair's position as its strategy sees it.")
      .def(py::init(
               [](int side, int locked, std::int64_t held) { return State{side, locked, held}; }),
           "side"_a = 0, "locked"_a = 0, "held"_a = 0)
      .def_readonly("side", &State::side)
      .def_readonly("locked", &State::locked)
      .def_readonly("held", &State::held);
  py::class_<Planned>(m, "Planned", "A pair that joins a replay at a bar, warmed up before it.")
      .def(
          py::init([](std::size_t y, std::size_t x, std::size_t start, std::int64_t stop,
                      std::size_t warm_up_bars, const SignalSettings& signal,
                      const std::optional<Rule>& rule) {
            if (rule) require_rule(*rule);
            return Planned{
                start, warm_up_bars, {y, x, stop, signal, rule.value_or(Rule{})}, rule.has_value()};
          }),
          py::kw_only(), "y"_a, "x"_a, "start"_a,
          "stop"_a = std::numeric_limits<std::int64_t>::max(), "warm_up_bars"_a = 0, "signal"_a,
          "rule"_a = py::none());
  py::class_<BoundEngine>(m, "Engine", "The event engine: bars in, fills and an account out.")
      .def(py::init<std::size_t, const Settings&, std::optional<StrategyCallback>>(), "tickers"_a,
           "settings"_a, "strategy_callback"_a = py::none())
      .def("add", &BoundEngine::add, py::kw_only(), "y"_a, "x"_a,
           "stop"_a = std::numeric_limits<std::int64_t>::max(), "signal"_a, "rule"_a = py::none(),
           "history"_a = py::none(), "Add a pair that trades from now on; return its number.")
      .def("take", &BoundEngine::take, "closes"_a, "opens"_a = py::none(),
           "dividends"_a = py::none(), "plan"_a = std::vector<Planned>{}, "bids"_a = py::none(),
           "asks"_a = py::none(),
           "Take bars, a row each; planned pairs join at their bar of these.")
      .def("take_bar", &BoundEngine::take_bar, "closes"_a, "opens"_a = py::none(),
           "dividends"_a = py::none(), "bids"_a = py::none(), "asks"_a = py::none(),
           "Take one bar, a value for each ticker, without copies; return what waits for drain.")
      .def_property_readonly(
          "account",
          [](py::object self) {
            const Row& now = self.cast<const BoundEngine&>().engine.now();
            py::array_t<Row> view({py::ssize_t(1)}, &now, self);
            view.attr("setflags")("write"_a = false);
            return view;
          },
          "The account at the last close, one record: the engine's memory, not a copy.")
      .def(
          "finish", [](BoundEngine& self) { self.engine.finish(); },
          "Close what is open at the last closes.")
      .def(
          "rows", [](const BoundEngine& self) { return copied(self.engine.rows()); },
          "The account at each close.")
      .def(
          "trades", [](const BoundEngine& self) { return copied(self.engine.trades()); },
          "The closed trades, in the order of closing.")
      .def(
          "choices", [](const BoundEngine& self) { return copied(self.engine.choices()); },
          "The orders that the strategy asked for, and whether they were accepted.")
      .def(
          "remove", [](BoundEngine& self, std::int64_t pair) { self.engine.remove(pair); },
          "pair"_a, "End a pair's window with the next bar.")
      .def("delist", &BoundEngine::delist, "column"_a,
           "Close a ticker's positions at their last prices in the next bar; it trades no more.")
      .def(
          "intervene",
          [](BoundEngine& self, std::int64_t bar, Action action, std::int64_t pair) {
            self.engine.intervene({bar, pair, action});
          },
          "bar"_a, "action"_a, "pair"_a = -1,
          "Plan an action before the fills of a bar; no pair stands for all.")
      .def(
          "positions", [](const BoundEngine& self) { return copied(self.engine.positions()); },
          "The open trades, by pair.")
      .def(
          "pending", [](const BoundEngine& self) { return copied(self.engine.pending()); },
          "The orders that wait for their fills, by pair.")
      .def(
          "views", [](const BoundEngine& self) { return copied(self.engine.views()); },
          "Side, lock, bars held and features of each pair.")
      .def("drain", &BoundEngine::drain,
           "Return the account now, one record, and all trades and choices, and forget them.")
      .def(
          "save", [](const BoundEngine& self) { return py::bytes(self.engine.save()); },
          "Return the state as versioned bytes, without what `drain` forgets.")
      .def_static("load", &BoundEngine::load, "bytes"_a, "strategy_callback"_a = py::none(),
                  "Restore an engine from `save`; raises ValueError for damaged bytes.")
      .def_property_readonly(
          "bars", [](const BoundEngine& self) { return self.engine.bars(); }, "Bars taken so far.")
      .def_property_readonly(
          "pairs", [](const BoundEngine& self) { return self.engine.pairs(); },
          "The number of pairs that trade.")
      .def_readonly("tickers", &BoundEngine::tickers);
  m.def(
      "step",
      [](const State& state, double z, const Rule& rule) {
        const Decision decision = step(state, z, rule);
        return py::make_tuple(decision.state, decision.order);
      },
      "state"_a, "z"_a, "rule"_a, "Apply the built-in rule to one bar: the new state, an order.");
}

}  // namespace mlkit::strategy
