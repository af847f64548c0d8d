// mlkit.pairs._pair_kernels: the pair-trading kernels. Checks, releases the GIL, calls.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "pairs/screen.hpp"

namespace py = pybind11;
using namespace mlkit::pairs;

namespace {

using Doubles = py::array_t<double, py::array::c_style>;
using Numbers = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;
using Progress = std::optional<py::typing::Callable<void(int, int)>>;

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

void check_series(const Doubles& series) {
  if (series.ndim() != 2) refuse("series: expected two dimensions");
  const auto length = series.shape(1);
  if (length > std::numeric_limits<int>::max() / 64) refuse("series: too long");
  for (py::ssize_t i = 0; i < series.size(); ++i)
    if (!std::isfinite(series.data()[i]))
      refuse("series[" + std::to_string(i / length) + ", " + std::to_string(i % length) +
             "] is not finite");
}

// Runs `work(watch)` without the GIL; `progress` may raise, which ends it.
template <class Work>
void watched(const Progress& progress, const Work& work) {
  bool failed = false;
  const Watch watch = [&](std::size_t done, std::size_t total) {
    py::gil_scoped_acquire gil;
    try {
      if (failed) return false;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (progress) (*progress)(done, total);
    } catch (py::error_already_set& error) {
      error.restore();
      failed = true;
    }
    return !failed;
  };
  {
    py::gil_scoped_release release;
    work(watch);
  }
  if (failed) throw py::error_already_set();
}

// Space for the statistics of `pairs` pairs.
struct Results {
  explicit Results(py::ssize_t pairs)
      : t({pairs, py::ssize_t{2}}), lag({pairs, py::ssize_t{2}}), cross(pairs) {
    std::fill_n(t.mutable_data(), t.size(), std::numeric_limits<double>::quiet_NaN());
    std::fill_n(lag.mutable_data(), lag.size(), 0);
    std::fill_n(cross.mutable_data(), cross.size(), 0.0);
  }
  Statistics out() { return {t.mutable_data(), lag.mutable_data(), cross.mutable_data()}; }
  py::tuple tuple() const { return py::make_tuple(t, lag, cross); }

  Doubles t;
  py::array_t<int> lag;
  Doubles cross;
};

class BoundPanel {
 public:
  explicit BoundPanel(const Doubles& series) : table_(checked(series)) {}

  Doubles squares() const {
    return Doubles(py::ssize_t(table_.squares().size()), table_.squares().data());
  }

  py::tuple band(const Numbers& first, std::size_t begin, std::size_t end, int lags, bool choose,
                 std::size_t threads, const Progress& progress) {
    check_lags(lags);
    table_.interleave();
    const Columns columns(*this, first, begin, end);
    Results results(columns.pairs);
    const Statistics out = results.out();
    watched(progress, [&](const Watch& watch) {
      table_.band(columns.band, {lags, choose}, threads, out, watch);
    });
    return results.tuple();
  }

  py::tuple pairs(const Numbers& first, const Numbers& second, int lags, bool choose,
                  std::size_t threads, const Progress& progress) const {
    if (first.ndim() != 1 || second.ndim() != 1 || first.size() != second.size())
      refuse("first and second: expected one dimension and the same length");
    check_numbers(first, "first");
    check_numbers(second, "second");
    return listed(first, second, false, {lags, choose}, threads, progress);
  }

  py::tuple alone(int lags, bool choose, std::size_t threads) const {
    Numbers all(py::ssize_t(table_.count()));
    for (py::ssize_t i = 0; i < all.size(); ++i) all.mutable_data()[i] = i;
    return listed(all, all, true, {lags, choose}, threads, std::nullopt);
  }

  Doubles distances(const Numbers& first, std::size_t begin, std::size_t end, std::size_t threads,
                    const Progress& progress) {
    table_.interleave();
    const Columns columns(*this, first, begin, end);
    Doubles found(columns.pairs);
    double* out = found.mutable_data();
    watched(progress,
            [&](const Watch& watch) { table_.distances(columns.band, threads, out, watch); });
    return found;
  }

 private:
  // A band whose columns were checked.
  struct Columns {
    Columns(const BoundPanel& panel, const Numbers& first, std::size_t begin, std::size_t end) {
      const std::size_t count = panel.table_.count();
      if (first.ndim() != 1 || std::size_t(first.size()) != count)
        refuse("first: expected one value for each series");
      if (begin > end || end > count) refuse("begin and end: out of range");
      for (std::size_t j = begin; j < end; ++j) {
        const std::int64_t low = first.data()[j];
        if (low < 0 || std::size_t(low) > j)
          refuse("first[" + std::to_string(j) + "] is out of range");
        offsets.push_back(std::size_t(pairs));
        pairs += py::ssize_t(j) - low;
      }
      band = {first.data(), offsets.data(), begin, end};
    }
    py::ssize_t pairs = 0;
    std::vector<std::size_t> offsets;
    Band band{};
  };

  static Table checked(const Doubles& series) {
    check_series(series);
    return Table(series.data(), std::size_t(series.shape(0)), std::size_t(series.shape(1)));
  }

  void check_lags(int lags) const {
    if (lags < 0) refuse("lags: " + std::to_string(lags) + " is negative");
    const auto length = std::int64_t(table_.length());
    if (length - 2 * std::int64_t(lags) < 3)
      refuse("series: " + std::to_string(length) + " points do not fit " + std::to_string(lags) +
             " lags");
  }

  void check_numbers(const Numbers& numbers, const char* name) const {
    for (py::ssize_t i = 0; i < numbers.size(); ++i) {
      const std::int64_t number = numbers.data()[i];
      if (number < 0 || std::size_t(number) >= table_.count())
        refuse(std::string(name) + "[" + std::to_string(i) + "] is out of range");
    }
  }

  py::tuple listed(const Numbers& first, const Numbers& second, bool alone, Lags lags,
                   std::size_t threads, const Progress& progress) const {
    check_lags(lags.most);
    Results results(first.size());
    const Statistics out = results.out();
    const List list{first.data(), second.data(), std::size_t(first.size()), alone};
    watched(progress, [&](const Watch& watch) { table_.list(list, lags, threads, out, watch); });
    return results.tuple();
  }

  Table table_;
};

}  // namespace

PYBIND11_MODULE(_pair_kernels, m) {
  using namespace py::literals;
  m.doc() = "Pair-trading kernels.";
  py::class_<BoundPanel>(m, "Panel",
                         "Detrended series, shape (n, length), whose pairs are tested in portions.")
      .def(py::init<const Doubles&>(), "series"_a.noconvert())
      .def_property_readonly("squares", &BoundPanel::squares, "Sums of squares, shape (n,).")
      .def("band", &BoundPanel::band, "first"_a, "begin"_a, "end"_a, py::kw_only(), "lags"_a,
           "choose"_a, "threads"_a = 1, "progress"_a = py::none(),
           "Test the pairs (i, j), first[j] <= i < j, of columns j from begin to end - 1.\n\n"
           "Returns:\n"
           "    Column by column: Engle-Granger statistics of i on j and of j on i, shape\n"
           "    (pairs, 2), the lags likewise, and inner products, shape (pairs,).\n\n"
           "Raises:\n"
           "    ValueError: A number is out of range, or the series are too short.")
      .def("pairs", &BoundPanel::pairs, "first"_a, "second"_a, py::kw_only(), "lags"_a, "choose"_a,
           "threads"_a = 1, "progress"_a = py::none(),
           "Test the pairs that two arrays of numbers list; returns what `band` does.")
      .def("alone", &BoundPanel::alone, py::kw_only(), "lags"_a, "choose"_a, "threads"_a = 1,
           "Test each series for a unit root; returns what `band` does, both ways alike.")
      .def("distances", &BoundPanel::distances, "first"_a, "begin"_a, "end"_a, py::kw_only(),
           "threads"_a = 1, "progress"_a = py::none(),
           "Sum the squared differences of the pairs of a band, shape (pairs,).");
}
