// mlkit.pairs._pair_monitor: the pair monitor. Checks, releases the GIL, calls.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "monitor/monitor.hpp"

namespace py = pybind11;
using namespace mlkit::monitor;

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Pair = std::pair<std::size_t, std::size_t>;
using Row = std::vector<std::pair<Pair, std::array<double, figures>>>;

// A hedge ratio beyond it would leave no digits of the other ticker's logarithm.
constexpr double most_beta = 1e6;

void require(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument(message);
}

Figure checked(std::size_t figure) {
  require(figure < figures, "figure: there is no such one");
  return Figure(figure);
}

Row bound(const std::vector<Candidate>& candidates) {
  Row row;
  for (const auto& [y, x, values] : candidates) row.push_back({{y, x}, values});
  return row;
}

// The lock lets one thread read while another takes bars.
class BoundMonitor {
 public:
  explicit BoundMonitor(Monitor monitor) : monitor_(std::move(monitor)) {}

  static std::unique_ptr<BoundMonitor> make(std::size_t tickers, const Doubles& beta, double decay,
                                            std::int64_t min_bars, std::int64_t window) {
    require(tickers >= 2 && tickers <= most_tickers, "tickers: from 2 to 65,536");
    require(decay > 0.0 && decay <= 1.0, "decay: above 0, and at most 1");
    require(min_bars >= 2 && min_bars <= most_bars, "min_bars: from 2 to 1,000,000");
    require(window == 0 || (window >= min_bars && window <= most_bars && decay == 1.0),
            "window: from min_bars to 1,000,000, without decay");
    const auto n = py::ssize_t(tickers);
    const bool shared = beta.ndim() == 0;
    require(shared || (beta.ndim() == 2 && beta.shape(0) == n && beta.shape(1) == n),
            "beta: expected one value, or a row and a column for each ticker");
    require_betas(beta, shared, tickers);
    return std::make_unique<BoundMonitor>(
        Monitor(tickers, {decay, min_bars, window}, {beta.data(), shared}));
  }

  static std::unique_ptr<BoundMonitor> load(const py::bytes& bytes) {
    const auto view = std::string_view(bytes);
    const py::gil_scoped_release release;
    return std::make_unique<BoundMonitor>(Monitor::load(view));
  }

  void step(const Doubles& closes, std::size_t threads) {
    require(closes.ndim() == 1 && std::size_t(closes.size()) == monitor_.tickers(),
            "closes: expected a price for each ticker");
    const std::vector<double> row(closes.data(), closes.data() + closes.size());
    locked([&] { monitor_.step(row.data(), threads); });
  }

  py::array_t<double> all(std::size_t figure, std::size_t threads) {
    const Figure chosen = checked(figure);
    py::array_t<double> found{py::ssize_t(monitor_.pairs())};
    double* const out = found.mutable_data();
    locked([&] { monitor_.all(chosen, out, threads); });
    return found;
  }

  Row pairs(const std::vector<Pair>& wanted) {
    for (const auto& [y, x] : wanted)
      require(y < x && x < monitor_.tickers(), "pairs: expected numbers y < x of tickers");
    std::vector<Candidate> found;
    locked([&] {
      for (const auto& [y, x] : wanted) found.push_back(monitor_.pair(y, x));
    });
    return bound(found);
  }

  Row top(std::size_t by, std::size_t count,
          const std::vector<std::pair<std::size_t, std::pair<double, double>>>& bounds,
          std::size_t threads) {
    Query query{checked(by), std::min(count, monitor_.pairs()), {}, {}, {}};
    for (const auto& [figure, range] : bounds) {
      const Figure place = checked(figure);
      require(range.first <= range.second, "bounds: the lower one comes first");
      query.low[place] = range.first;
      query.high[place] = range.second;
      query.bounded[place] = true;
    }
    std::vector<Candidate> found;
    locked([&] { found = monitor_.top(query, threads); });
    return bound(found);
  }

  py::bytes save() {
    std::string bytes;
    locked([&] { bytes = monitor_.save(); });
    return py::bytes(bytes);
  }

  std::size_t tickers() const { return monitor_.tickers(); }
  double decay() const { return monitor_.settings().decay; }
  std::int64_t window() const { return monitor_.settings().window; }
  std::int64_t min_bars() const { return monitor_.settings().min_bars; }
  std::int64_t bars() {
    std::int64_t bars = 0;
    locked([&] { bars = monitor_.bars(); });
    return bars;
  }

 private:
  // Of the pairs y < x; the rest of a matrix may hold anything.
  static void require_betas(const Doubles& beta, bool shared, std::size_t tickers) {
    const double* const values = beta.data();
    const auto fine = [](double value) { return std::fabs(value) <= most_beta; };
    if (shared) return require(fine(*values), "beta: expected a number of at most 1e6");
    for (std::size_t y = 0; y < tickers; ++y) {
      for (std::size_t x = y + 1; x < tickers; ++x) {
        if (fine(values[y * tickers + x])) continue;
        require(false, "beta[" + std::to_string(y) + ", " + std::to_string(x) +
                           "]: expected a number of at most 1e6");
      }
    }
  }

  template <class Work>
  void locked(const Work& work) {
    const py::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    work();
  }

  Monitor monitor_;
  std::mutex mutex_;
};

}  // namespace

PYBIND11_MODULE(_pair_monitor, m) {
  using namespace py::literals;
  m.doc() = "The running figures of all pairs.";
  py::class_<BoundMonitor>(
      m, "Monitor", "Correlation (0), distance (1), z-score (2) and crossings (3) of all pairs.")
      .def(py::init(&BoundMonitor::make), "tickers"_a, "beta"_a, py::kw_only(), "decay"_a,
           "min_bars"_a, "window"_a = 0)
      .def("step", &BoundMonitor::step, "closes"_a, "threads"_a = 1,
           "Take a bar; ValueError if a close is no price, and nothing has changed.")
      .def("all", &BoundMonitor::all, "figure"_a, "threads"_a = 1,
           "Return a figure of the pairs (0, 1), (0, 2), ..., (1, 2), ..., shape (pairs,).")
      .def("pairs", &BoundMonitor::pairs, "pairs"_a, "Return the figures of some pairs y < x.")
      .def("top", &BoundMonitor::top, "by"_a, "count"_a, "bounds"_a, "threads"_a = 1,
           "Return the best pairs by a figure, of those whose figures are within all bounds.")
      .def("save", &BoundMonitor::save, "Return the state as versioned bytes.")
      .def_static("load", &BoundMonitor::load, "state"_a,
                  "Restore what `save` returned; ValueError if it is damaged.")
      .def_property_readonly("tickers", &BoundMonitor::tickers, "The number of tickers.")
      .def_property_readonly("decay", &BoundMonitor::decay, "Of the weights, per bar.")
      .def_property_readonly("window", &BoundMonitor::window,
                             "Bars that count; 0 if weights decay.")
      .def_property_readonly("min_bars", &BoundMonitor::min_bars, "Bars before there are figures.")
      .def_property_readonly("bars", &BoundMonitor::bars, "The number of bars taken.");
}
