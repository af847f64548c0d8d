// mlkit.pairs._pair_strategy: the strategy step, the event engine and the sweep.
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "strategy/bindings.hpp"
#include "strategy/sweep.hpp"

namespace mlkit::strategy {

void require(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument(message);
}

void require_prices(const double* prices, std::size_t count, const char* name, bool log,
                    Missing missing) {
  using Range = std::numeric_limits<double>;
  const double least = log ? Range::min() : Range::lowest();
  const bool may_miss = missing == Missing::allowed;
  const auto fine = [=](double price) {
    return bool(int(price >= least) & int(price <= Range::max())) ||
           (may_miss && std::isnan(price));
  };
  // All are looked at before any is named: without a way out the loop takes several at a time.
  bool all = true;
  for (std::size_t i = 0; i < count; ++i) all &= fine(prices[i]);
  if (all) return;
  for (std::size_t i = 0; i < count; ++i) {
    if (fine(prices[i])) continue;
    throw std::invalid_argument(std::string(name) + "[" + std::to_string(i) + "] is " +
                                std::to_string(prices[i]) + ": a price must be " +
                                (log ? "positive and finite" : "finite"));
  }
}

void require_like(const MaybeDoubles& array, const Doubles& other, const char* name) {
  if (!array) return;
  bool same = array->ndim() == other.ndim();
  for (py::ssize_t i = 0; same && i < other.ndim(); ++i) same = array->shape(i) == other.shape(i);
  require(same, std::string(name) + ": its shape differs from that of the closes");
}

void require_rule(const Rule& rule) {
  require(rule.entry > rule.exit, "entry must be greater than exit");
  require(rule.stop > rule.entry, "stop must be greater than entry");
  require(rule.max_bars >= 0, "max_bars must not be negative");
}

}  // namespace mlkit::strategy

namespace py = pybind11;
using namespace mlkit::strategy;

namespace {

Settings make_settings(const Rule& rule, const Costs& costs, const Sizing& sizing,
                       const Limits& limits, double cash_rate, double bars_per_year, bool same_bar,
                       bool carry, std::int64_t delisted_after) {
  const Settings settings{rule,          costs,    sizing, limits,        cash_rate,
                          bars_per_year, same_bar, carry,  delisted_after};
  require(delisted_after >= 0, "delisted_after must not be negative");
  require_rule(rule);
  require(sizing.capital > 0.0, "capital must be positive");
  require(sizing.gross > 0.0, "gross must be positive");
  require(bars_per_year > 0.0, "bars_per_year must be positive");
  return settings;
}

SignalSettings make_signal(const std::string& hedge, bool log, double alpha, double beta,
                           std::size_t hedge_window, std::size_t lookback, double mean,
                           double deviation, std::array<double, 3> covariance,
                           std::array<double, 3> drift, double noise) {
  SignalSettings signal{Hedge::fixed, log,          alpha,
                        beta,         hedge_window, lookback,
                        mean,         deviation,    {covariance, drift, noise}};
  if (hedge == "rolling") {
    signal.hedge = Hedge::rolling;
    require(hedge_window >= 3, "hedge_window must be at least 3");
  } else if (hedge == "kalman") {
    signal.hedge = Hedge::kalman;
  } else {
    require(hedge == "fixed", "hedge is '" + hedge + "': expected fixed, rolling or kalman");
  }
  require(lookback != 1, "lookback must be at least 2");
  require(lookback <= longest_window && hedge_window <= longest_window,
          "lookback and hedge_window must be below 2^31");
  return signal;
}

// Signals travel to other processes as their arguments, so that what arrives is checked.
py::tuple state_of(const SignalSettings& signal) {
  const char* const hedge = signal.hedge == Hedge::rolling  ? "rolling"
                            : signal.hedge == Hedge::kalman ? "kalman"
                                                            : "fixed";
  return py::make_tuple(hedge, signal.log, signal.alpha, signal.beta, signal.hedge_window,
                        signal.lookback, signal.mean, signal.deviation, signal.kalman.covariance,
                        signal.kalman.drift, signal.kalman.noise);
}

SignalSettings signal_of(const py::tuple& state) {
  require(state.size() == 11, "not the state of a signal");
  using Three = std::array<double, 3>;
  return make_signal(state[0].cast<std::string>(), state[1].cast<bool>(), state[2].cast<double>(),
                     state[3].cast<double>(), state[4].cast<std::size_t>(),
                     state[5].cast<std::size_t>(), state[6].cast<double>(), state[7].cast<double>(),
                     state[8].cast<Three>(), state[9].cast<Three>(), state[10].cast<double>());
}

void register_dtypes() {
  PYBIND11_NUMPY_DTYPE(Legs, y, x);
  PYBIND11_NUMPY_DTYPE(Ledger, commission, slippage, half_spread, borrow, dividends);
  PYBIND11_NUMPY_DTYPE(Features, beta, spread, z);
  PYBIND11_NUMPY_DTYPE(Trade, pair, side, reason, decided, entered, closed, beta, entry_z, shares,
                       entry_price, exit_price, turnover, ledger);
  PYBIND11_NUMPY_DTYPE(Row, cash, positions, equity, gross, ledger, interest);
  PYBIND11_NUMPY_DTYPE(Choice, bar, pair, order, accepted, features);
  PYBIND11_NUMPY_DTYPE(Pending, pair, decided, entry, reason, shares);
  PYBIND11_NUMPY_DTYPE(View, pair, side, locked, held, features);
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
           "carry"_a = settings.carry, "delisted_after"_a = settings.delisted_after)
      .def(
          "with_delisted_after",
          [](Settings self, std::int64_t bars) {
            require(bars >= 0, "delisted_after must not be negative");
            self.delisted_after = bars;
            return self;
          },
          "bars"_a, "Return the same settings with another number of missing closes.");
  py::class_<SignalSettings>(m, "Signal", "How a pair's spread and its z-score are computed.")
      .def(py::init(&make_signal), py::kw_only(), "hedge"_a = "fixed", "log"_a = signal.log,
           "alpha"_a = signal.alpha, "beta"_a = signal.beta, "hedge_window"_a = signal.hedge_window,
           "lookback"_a = signal.lookback, "mean"_a = signal.mean, "deviation"_a = signal.deviation,
           "covariance"_a = signal.kalman.covariance, "drift"_a = signal.kalman.drift,
           "noise"_a = signal.kalman.noise)
      .def(
          "with_lookback",
          [](SignalSettings self, std::size_t lookback) {
            require(self.lookback > 0 && lookback >= 2 && lookback <= longest_window,
                    "only a lookback z-score has a lookback");
            self.lookback = lookback;
            return self;
          },
          "lookback"_a, "Return the same signal over another number of bars.")
      .def(py::pickle(&state_of, &signal_of))
      .def_readonly("lookback", &SignalSettings::lookback)
      .def_property_readonly("warms_up", [](const SignalSettings& self) {
        return self.hedge != Hedge::kalman && (self.lookback > 0 || self.hedge == Hedge::rolling);
      });
}

}  // namespace

PYBIND11_MODULE(_pair_strategy, m) {
  m.doc() = "The strategy step, the event engine and the sweep of pair trading.";
  register_dtypes();
  register_settings(m);
  register_engine(m);
  register_sweep(m);
}
