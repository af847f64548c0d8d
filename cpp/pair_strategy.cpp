// mlkit.pairs._pair_strategy: the strategy step, the event engine and the sweep.
#include <pybind11/functional.h>
#include <pybind11/native_enum.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <atomic>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "strategy/engine.hpp"
#include "strategy/moments.hpp"
#include "strategy/sweep.hpp"

namespace py = pybind11;
using namespace mlkit::strategy;

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using MaybeDoubles = std::optional<Doubles>;

void require(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument(message);
}

// The first value that is a price but not a positive, finite one.
void require_prices(const Doubles& prices, const char* name, bool may_miss) {
  const double* data = prices.data();
  for (py::ssize_t i = 0; i < prices.size(); ++i) {
    const bool fine = (data[i] > 0.0 && std::isfinite(data[i])) || (may_miss && std::isnan(data[i]));
    if (fine) continue;
    throw std::invalid_argument(std::string(name) + "[" + std::to_string(i) + "] is " +
                                std::to_string(data[i]) +
                                ": a price must be positive and finite");
  }
}

const double* data_or_null(const MaybeDoubles& array) { return array ? array->data() : nullptr; }

void require_like(const MaybeDoubles& array, const Doubles& other, const char* name) {
  if (!array) return;
  bool same = array->ndim() == other.ndim();
  for (py::ssize_t i = 0; same && i < other.ndim(); ++i) same = array->shape(i) == other.shape(i);
  require(same, std::string(name) + ": its shape differs from that of the closes");
}

template <class T>
py::array_t<T> copied(const std::vector<T>& values) {
  return py::array_t<T>(py::ssize_t(values.size()), values.data());
}

void require_settings(const Settings& s) {
  require(s.rule.entry > s.rule.exit, "entry must be greater than exit");
  require(s.rule.stop > s.rule.entry, "stop must be greater than entry");
  require(s.rule.max_bars >= 0, "max_bars must not be negative");
  require(s.sizing.capital > 0.0, "capital must be positive");
  require(s.sizing.gross > 0.0, "gross must be positive");
  require(s.bars_per_year > 0.0, "bars_per_year must be positive");
}

Settings make_settings(const Rule& rule, const Costs& costs, const Sizing& sizing,
                       const Limits& limits, double cash_rate, double bars_per_year, bool same_bar,
                       bool carry) {
  const Settings settings{rule, costs, sizing, limits, cash_rate, bars_per_year, same_bar, carry};
  require_settings(settings);
  return settings;
}

SignalSettings make_signal(const std::string& hedge, bool log, double alpha, double beta,
                           std::size_t hedge_window, std::size_t lookback, double mean,
                           double deviation, std::array<double, 3> covariance,
                           std::array<double, 3> drift, double noise) {
  SignalSettings signal{Hedge::fixed, log,  alpha,     beta,
                        hedge_window, lookback, mean, deviation,
                        {covariance, drift, noise}};
  if (hedge == "rolling") {
    signal.hedge = Hedge::rolling;
    require(hedge_window >= 3, "hedge_window must be at least 3");
  } else if (hedge == "kalman") {
    signal.hedge = Hedge::kalman;
  } else {
    require(hedge == "fixed", "hedge is '" + hedge + "': expected fixed, rolling or kalman");
  }
  require(lookback != 1, "lookback must be at least 2");
  return signal;
}

void run(Engine& engine, std::size_t tickers, const MaybeDoubles& opens, const Doubles& closes,
         const MaybeDoubles& dividends) {
  const auto bars = std::size_t(closes.shape(0));
  engine.reserve(engine.rows().size() + bars);
  const double *open = data_or_null(opens), *close = closes.data(),
               *dividend = data_or_null(dividends);
  for (std::size_t bar = 0; bar < bars; ++bar) {
    const std::size_t at = bar * tickers;
    engine.step({open ? open + at : nullptr, close + at, dividend ? dividend + at : nullptr});
  }
}

// The engine and the number of tickers that it was made for.
struct BoundEngine {
  BoundEngine(std::size_t tickers_, const Settings& settings, std::optional<Decider> decider)
      : tickers(tickers_), scripted(decider.has_value()),
        engine(tickers_, settings, decider ? *decider : Decider{}) {}

  std::int64_t add(std::size_t y, std::size_t x, std::int64_t stop, const SignalSettings& signal,
                   const MaybeDoubles& history) {
    require(y < tickers && x < tickers && y != x, "y and x must be two different columns");
    std::vector<Legs> closes;
    if (history) {
      require(history->ndim() == 2 && history->shape(1) == 2, "history: expected columns y and x");
      require_prices(*history, "history", false);
      for (py::ssize_t i = 0; i < history->shape(0); ++i) {
        closes.push_back({history->at(i, 0), history->at(i, 1)});
      }
    }
    return engine.add({y, x, stop, signal}, closes);
  }

  // Bars, a row each.
  void take(const Doubles& closes, const MaybeDoubles& opens, const MaybeDoubles& dividends) {
    const py::ssize_t columns = closes.ndim() == 2 ? closes.shape(1) : -1;
    require(columns == py::ssize_t(tickers), "closes: expected a column for each ticker");
    require_like(opens, closes, "opens");
    require_like(dividends, closes, "dividends");
    require_prices(closes, "closes", true);
    if (opens) require_prices(*opens, "opens", true);
    if (scripted) {
      run(engine, tickers, opens, closes, dividends);
    } else {
      const py::gil_scoped_release release;
      run(engine, tickers, opens, closes, dividends);
    }
  }

  std::size_t tickers;
  bool scripted;
  Engine engine;
};

py::tuple features(const Doubles& y, const Doubles& x, const SignalSettings& settings) {
  require(y.ndim() == 1 && x.ndim() == 1 && y.size() == x.size(), "y and x must be of one length");
  require_prices(y, "y", false);
  require_prices(x, "x", false);
  py::array_t<double> beta(y.size()), spread(y.size()), z(y.size());
  double *beta_out = beta.mutable_data(), *spread_out = spread.mutable_data(),
         *z_out = z.mutable_data();
  const double *y_in = y.data(), *x_in = x.data();
  const auto count = y.size();
  {
    const py::gil_scoped_release release;
    Signal signal(settings);
    for (py::ssize_t i = 0; i < count; ++i) {
      const Features now = signal.push(y_in[i], x_in[i]);
      beta_out[i] = now.beta;
      spread_out[i] = now.spread;
      z_out[i] = now.z;
    }
  }
  return py::make_tuple(beta, spread, z);
}

py::tuple rolling_moments(const Doubles& values, std::size_t length) {
  require(length >= 2, "length must be at least 2");
  py::array_t<double> mean(values.size()), variance(values.size());
  RollingMoments moments(length);
  for (py::ssize_t i = 0; i < values.size(); ++i) {
    moments.push(values.data()[i]);
    const bool full = moments.full();
    mean.mutable_data()[i] = full ? moments.mean() : std::numeric_limits<double>::quiet_NaN();
    variance.mutable_data()[i] =
        full ? moments.variance() : std::numeric_limits<double>::quiet_NaN();
  }
  return py::make_tuple(mean, variance);
}

// Features (a row a lookback), rules and which row each uses; scores in the rules' order.
py::array_t<Score> sweep(const Doubles& closes, const MaybeDoubles& opens,
                         const MaybeDoubles& dividends, const Doubles& z, const Doubles& beta,
                         std::size_t trade, const std::vector<Rule>& rules,
                         const std::vector<std::size_t>& rows, const Settings& settings,
                         std::size_t threads, std::optional<py::array_t<double, py::array::c_style>> equity) {
  require(closes.ndim() == 2 && closes.shape(0) == 2, "closes: expected a row for y and for x");
  const auto bars = std::size_t(closes.shape(1));
  require_like(opens, closes, "opens");
  require_like(dividends, closes, "dividends");
  require_prices(closes, "closes", false);
  require(z.ndim() == 2 && std::size_t(z.shape(1)) == bars, "z: expected a column for each bar");
  require_like(beta, z, "beta");
  require(trade + 2 <= bars, "trade must leave at least two bars");
  require(rows.size() == rules.size(), "rows: expected one for each rule");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    require(rows[i] < std::size_t(z.shape(0)), "rows[" + std::to_string(i) + "] is out of range");
    Settings each = settings;
    each.rule = rules[i];
    require_settings(each);
  }
  const std::size_t scored = bars - trade + 1;  // and the close before them
  if (equity) {
    require(equity->ndim() == 2 && std::size_t(equity->shape(0)) == rules.size() &&
                std::size_t(equity->shape(1)) == scored,
            "equity: expected a row for each rule, a column for each traded bar and one before");
  }
  const double* c = closes.data();
  const double* o = data_or_null(opens);
  const double* d = data_or_null(dividends);
  const Series series{bars, o, o ? o + bars : nullptr, c, c + bars, d, d ? d + bars : nullptr};
  py::array_t<Score> scores(py::ssize_t(rules.size()));
  Score* out = scores.mutable_data();
  double* equity_out = equity ? equity->mutable_data() : nullptr;
  const double *z_in = z.data(), *beta_in = beta.data();
  {
    const py::gil_scoped_release release;
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t i = next++; i < rules.size(); i = next++) {
        Settings each = settings;
        each.rule = rules[i];
        const FeatureSeries feature{z_in + rows[i] * bars, beta_in + rows[i] * bars};
        out[i] = score(series, feature, trade, each,
                       equity_out ? equity_out + i * scored : nullptr);
      }
    };
    std::vector<std::jthread> others;
    for (std::size_t i = 1; i < threads; ++i) others.emplace_back(work);
    work();
  }
  return scores;
}

void register_dtypes() {
  PYBIND11_NUMPY_DTYPE(Legs, y, x);
  PYBIND11_NUMPY_DTYPE(Ledger, commission, slippage, half_spread, borrow, dividends);
  PYBIND11_NUMPY_DTYPE(Features, beta, spread, z);
  PYBIND11_NUMPY_DTYPE(Trade, pair, side, reason, decided, entered, closed, beta, entry_z, shares,
                       entry_price, exit_price, turnover, ledger);
  PYBIND11_NUMPY_DTYPE(Row, cash, positions, equity, gross, ledger, interest);
  PYBIND11_NUMPY_DTYPE(Choice, bar, pair, order, accepted, features);
  PYBIND11_NUMPY_DTYPE(Score, equity, sharpe, drawdown, turnover, trades);
}

void register_settings(py::module_& m) {
  using namespace py::literals;
  const Rule rule;
  const Costs costs;
  const Sizing sizing;
  const Limits limits;
  const Settings settings;
  const SignalSettings signal;
  py::class_<Rule>(m, "Rule", "Thresholds of the built-in rule, in deviations of the spread.")
      .def(py::init([](double entry, double exit, double stop, std::int64_t max_bars) {
             return Rule{entry, exit, stop, max_bars};
           }),
           py::kw_only(), "entry"_a = rule.entry, "exit"_a = rule.exit, "stop"_a = rule.stop,
           "max_bars"_a = rule.max_bars);
  py::class_<Costs>(m, "Costs", "Costs of each leg of a fill, and the yearly fee on shorts.")
      .def(py::init([](double per_share, double per_trade, double commission_bps,
                       double slippage_bps, double half_spread_bps, double borrow_rate) {
             return Costs{per_share,    per_trade,       commission_bps,
                          slippage_bps, half_spread_bps, borrow_rate};
           }),
           py::kw_only(), "per_share"_a = costs.per_share, "per_trade"_a = costs.per_trade,
           "commission_bps"_a = costs.commission_bps, "slippage_bps"_a = costs.slippage_bps,
           "half_spread_bps"_a = costs.half_spread_bps, "borrow_rate"_a = costs.borrow_rate);
  py::class_<Sizing>(m, "Sizing", "Capital, and the money in both legs of a pair.")
      .def(py::init([](double capital, double gross, bool log, bool whole_shares) {
             return Sizing{capital, gross, log, whole_shares};
           }),
           py::kw_only(), "capital"_a = sizing.capital, "gross"_a = sizing.gross,
           "log"_a = sizing.log, "whole_shares"_a = sizing.whole_shares);
  py::class_<Limits>(m, "Limits", "Caps on pairs, on a ticker's pairs and on leverage.")
      .def(py::init([](std::int64_t pairs, std::int64_t per_ticker, double leverage,
                       double initial_margin, double maintenance_margin) {
             return Limits{pairs, per_ticker, leverage, initial_margin, maintenance_margin};
           }),
           py::kw_only(), "pairs"_a = limits.pairs, "pairs_per_ticker"_a = limits.pairs_per_ticker,
           "leverage"_a = limits.leverage, "initial_margin"_a = limits.initial_margin,
           "maintenance_margin"_a = limits.maintenance_margin);
  py::class_<Settings>(m, "Settings", "All that an engine has to know besides its pairs.")
      .def(py::init(&make_settings), py::kw_only(), "rule"_a = rule, "costs"_a = costs,
           "sizing"_a = sizing, "limits"_a = limits, "cash_rate"_a = settings.cash_rate,
           "bars_per_year"_a = settings.bars_per_year, "same_bar"_a = settings.same_bar,
           "carry"_a = settings.carry);
  py::class_<SignalSettings>(m, "Signal", "How a pair's spread and its z-score are computed.")
      .def(py::init(&make_signal), py::kw_only(), "hedge"_a = "fixed", "log"_a = signal.log,
           "alpha"_a = signal.alpha, "beta"_a = signal.beta,
           "hedge_window"_a = signal.hedge_window, "lookback"_a = signal.lookback,
           "mean"_a = signal.mean, "deviation"_a = signal.deviation,
           "covariance"_a = signal.kalman.covariance, "drift"_a = signal.kalman.drift,
           "noise"_a = signal.kalman.noise)
      .def_property_readonly("warms_up", [](const SignalSettings& self) {
        return self.hedge != Hedge::kalman && (self.lookback > 0 || self.hedge == Hedge::rolling);
      });
}

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
  py::class_<Features>(m, "Features", "What the engine computed for a pair at a close.")
      .def_readonly("beta", &Features::beta)
      .def_readonly("spread", &Features::spread)
      .def_readonly("z", &Features::z);
  py::class_<State>(m, "State", "A pair's position as its strategy sees it.")
      .def(py::init([](int side, int locked, std::int64_t held) {
             return State{side, locked, held};
           }),
           "side"_a = 0, "locked"_a = 0, "held"_a = 0)
      .def_readonly("side", &State::side)
      .def_readonly("locked", &State::locked)
      .def_readonly("held", &State::held);
  py::class_<BoundEngine>(m, "Engine", "The event engine: bars in, fills and an account out.")
      .def(py::init<std::size_t, const Settings&, std::optional<Decider>>(), "tickers"_a,
           "settings"_a, "decider"_a = py::none())
      .def("add", &BoundEngine::add, py::kw_only(), "y"_a, "x"_a,
           "stop"_a = std::numeric_limits<std::int64_t>::max(), "signal"_a,
           "history"_a = py::none(), "Add a pair that trades from now on; return its number.")
      .def("take", &BoundEngine::take, "closes"_a, "opens"_a = py::none(),
           "dividends"_a = py::none(), "Take bars, a row each.")
      .def("finish", [](BoundEngine& self) { self.engine.finish(); },
           "Close what is open at the last closes.")
      .def("rows", [](const BoundEngine& self) { return copied(self.engine.rows()); },
           "The account at each close.")
      .def("trades", [](const BoundEngine& self) { return copied(self.engine.trades()); },
           "The closed trades, in the order of closing.")
      .def("choices", [](const BoundEngine& self) { return copied(self.engine.choices()); },
           "The orders that the strategy asked for, and whether they were accepted.");
}

}  // namespace

PYBIND11_MODULE(_pair_strategy, m) {
  using namespace py::literals;
  m.doc() = "The strategy step, the event engine and the sweep of pair trading.";
  register_dtypes();
  register_settings(m);
  register_engine(m);
  m.def(
      "step",
      [](const State& state, double z, const Rule& rule) {
        const Decision decision = step(state, z, rule);
        return py::make_tuple(decision.state, decision.order);
      },
      "state"_a, "z"_a, "rule"_a, "Apply the built-in rule to one bar: the new state, an order.");
  m.def("features", &features, "y"_a, "x"_a, "signal"_a,
        "Compute hedge ratio, spread and z-score at each close.");
  m.def("rolling_moments", &rolling_moments, "values"_a, "length"_a,
        "Compute the mean and the sample variance of a sliding window.");
  m.def("sweep", &sweep, py::kw_only(), "closes"_a, "opens"_a, "dividends"_a, "z"_a, "beta"_a,
        "trade"_a, "rules"_a, "rows"_a, "settings"_a, "threads"_a = 1, "equity"_a = py::none(),
        "Score many rules on one pair.");
}
