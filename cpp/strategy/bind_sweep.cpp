// Features, rolling moments and the sweep in Python.
#include <limits>
#include <vector>

#include "strategy/bindings.hpp"
#include "strategy/moments.hpp"
#include "strategy/sweep.hpp"

namespace mlkit::strategy {

namespace {

template <class Values>
py::array_t<double> array(const Values& values) {
  return py::array_t<double>(py::ssize_t(values.size()), values.data());
}

py::tuple bound_features(const Doubles& y, const Doubles& x, const SignalSettings& signal) {
  require(y.ndim() == 1 && x.ndim() == 1 && y.size() == x.size(), "y and x must be of one length");
  require_prices(y, "y", signal.log, Missing::refused);
  require_prices(x, "x", signal.log, Missing::refused);
  FeatureSeries found;
  {
    const double *y_in = y.data(), *x_in = x.data();
    const auto bars = std::size_t(y.size());
    const py::gil_scoped_release release;
    found = features(y_in, x_in, bars, signal, true);
    if (found.beta.empty()) found.beta.assign(bars, found.fixed_beta);
    found.z.resize(bars);
  }
  return py::make_tuple(array(found.beta), array(found.spread), array(found.z));
}

py::tuple rolling_moments(const Doubles& values, std::size_t length) {
  require(length >= 2 && length <= longest_window, "length must be 2 or more, and below 2^31");
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> mean, variance;
  RollingMoments moments(length);
  for (py::ssize_t i = 0; i < values.size(); ++i) {
    moments.push(values.data()[i]);
    mean.push_back(moments.full() ? moments.mean() : nan);
    variance.push_back(moments.full() ? moments.variance() : nan);
  }
  return py::make_tuple(array(mean), array(variance));
}

// The arrays of a pair: a row for y and one for x.
struct BoundSeries {
  BoundSeries(const Doubles& closes_, const MaybeDoubles& opens_, const MaybeDoubles& dividends_,
              bool log)
      : closes(closes_), opens(opens_), dividends(dividends_) {
    require(closes.ndim() == 2 && closes.shape(0) == 2, "closes: expected a row for y and for x");
    require_like(opens, closes, "opens");
    require_like(dividends, closes, "dividends");
    require_prices(closes, "closes", log, Missing::refused);
    if (opens) require_prices(*opens, "opens", log, Missing::allowed);
  }

  Series series() const {
    const auto bars = std::size_t(closes.shape(1));
    const double *c = closes.data(), *o = data_or_null(opens), *d = data_or_null(dividends);
    return {bars, o, o ? o + bars : nullptr, c, c + bars, d, d ? d + bars : nullptr};
  }

  Doubles closes;
  MaybeDoubles opens, dividends;
};

void require_bars(std::size_t trade, const Series& series) {
  require(series.bars >= 2 && trade <= series.bars - 2, "trade must leave at least two bars");
}

// Rows of entry, exit, stop and the number of the signal.
std::vector<Configuration> read_grid(const Doubles& grid, std::size_t signals,
                                     std::int64_t max_bars) {
  require(grid.ndim() == 2 && grid.shape(1) == 4 && grid.shape(0) > 0,
          "grid: expected rows of entry, exit, stop and signal");
  std::vector<Configuration> found;
  found.reserve(std::size_t(grid.shape(0)));
  const auto rows = grid.unchecked<2>();
  for (py::ssize_t i = 0; i < rows.shape(0); ++i) {
    const double signal = rows(i, 3);
    if (!(signal >= 0.0 && signal < double(signals))) {
      throw std::invalid_argument("grid[" + std::to_string(i) + "]: its signal is out of range");
    }
    found.push_back({{rows(i, 0), rows(i, 1), rows(i, 2), max_bars}, std::size_t(signal)});
    require_rule(found.back().rule);
  }
  return found;
}

py::tuple bound_sweep(const Doubles& closes, const MaybeDoubles& opens,
                      const MaybeDoubles& dividends, std::size_t trade,
                      const std::vector<SignalSettings>& signals, const Doubles& grid,
                      const Settings& settings, std::size_t threads) {
  const BoundSeries bound(closes, opens, dividends, settings.sizing.log);
  const Series series = bound.series();
  require_bars(trade, series);
  const auto configurations = read_grid(grid, signals.size(), settings.rule.max_bars);
  py::array_t<Score> scores(py::ssize_t(configurations.size()));
  Score* out = scores.mutable_data();
  double correlation = 0.0;
  {
    const py::gil_scoped_release release;
    correlation = sweep(series, signals, trade, configurations, settings, threads, out);
  }
  return py::make_tuple(scores, correlation);
}

py::array_t<double> equity(const Doubles& closes, const MaybeDoubles& opens,
                           const MaybeDoubles& dividends, std::size_t trade,
                           const SignalSettings& signal, const Settings& settings) {
  const BoundSeries bound(closes, opens, dividends, settings.sizing.log);
  const Series series = bound.series();
  require_bars(trade, series);
  Long<double> curve;
  {
    const py::gil_scoped_release release;
    const auto found = features(series.y_close, series.x_close, series.bars, signal);
    simulate(series_kernel(), series, found, trade, settings, curve);
  }
  return array(curve);
}

}  // namespace

void register_sweep(py::module_& m) {
  using namespace py::literals;
  m.def("features", &bound_features, "y"_a, "x"_a, "signal"_a,
        "Compute hedge ratio, spread and z-score at each close.");
  m.def("rolling_moments", &rolling_moments, "values"_a, "length"_a,
        "Compute the mean and the sample variance of a sliding window.");
  m.def("sweep", &bound_sweep, py::kw_only(), "closes"_a, "opens"_a = py::none(),
        "dividends"_a = py::none(), "trade"_a, "signals"_a, "grid"_a, "settings"_a, "threads"_a = 1,
        "Score many rules on one pair; return the mean correlation as well.");
  m.def("equity", &equity, py::kw_only(), "closes"_a, "opens"_a = py::none(),
        "dividends"_a = py::none(), "trade"_a, "signal"_a, "settings"_a,
        "Return the equity of one rule on one pair from the close before bar `trade`.");
}

}  // namespace mlkit::strategy
