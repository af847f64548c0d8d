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

#include "pairs/screen.hpp"

namespace py = pybind11;
using namespace mlkit::pairs;

namespace {

using Doubles = py::array_t<double, py::array::c_style>;
using Progress = py::typing::Callable<void(int, int)>;

void check_panel(const Doubles& series, const Doubles& cross, int lags) {
  if (series.ndim() != 2) throw std::invalid_argument("series: expected two dimensions");
  const auto count = series.shape(0), length = series.shape(1);
  if (cross.ndim() != 2 || cross.shape(0) != count || cross.shape(1) != count)
    throw std::invalid_argument("cross: expected shape (" + std::to_string(count) + ", " +
                                std::to_string(count) + ")");
  if (lags < 0) throw std::invalid_argument("lags: " + std::to_string(lags) + " is negative");
  if (length > std::numeric_limits<int>::max() || length - 2 * static_cast<py::ssize_t>(lags) < 3)
    throw std::invalid_argument("series: " + std::to_string(length) + " points do not fit " +
                                std::to_string(lags) + " lags");
  for (py::ssize_t i = 0; i < count * length; ++i)
    if (!std::isfinite(series.data()[i]))
      throw std::invalid_argument("series[" + std::to_string(i / length) + ", " +
                                  std::to_string(i % length) + "] is not finite");
}

py::tuple engle_granger(const Doubles& series, const Doubles& cross, int lags, bool choose,
                        std::size_t threads, const std::optional<Progress>& progress) {
  check_panel(series, cross, lags);
  const auto count = series.shape(0);
  Doubles t({count, count});
  py::array_t<int> lag({count, count});
  std::fill_n(t.mutable_data(), t.size(), std::numeric_limits<double>::quiet_NaN());
  std::fill_n(lag.mutable_data(), lag.size(), 0);
  const Statistics out{t.mutable_data(), lag.mutable_data()};
  bool failed = false;
  const Watch watch = [&](std::size_t done, std::size_t total) {
    py::gil_scoped_acquire gil;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (progress) (*progress)(done, total);
    } catch (py::error_already_set& error) {
      error.restore();
      failed = true;
    }
    return !failed;
  };
  {
    const double *x = series.data(), *products = cross.data();
    py::gil_scoped_release release;
    screen(x, products, static_cast<std::size_t>(count), static_cast<std::size_t>(series.shape(1)),
           {lags, choose}, threads, out, watch);
  }
  if (failed) throw py::error_already_set();
  return py::make_tuple(t, lag);
}

}  // namespace

PYBIND11_MODULE(_pair_kernels, m) {
  m.doc() = "Pair-trading kernels.";
  m.def("engle_granger", &engle_granger, py::arg("series").noconvert(),
        py::arg("cross").noconvert(), py::kw_only(), py::arg("lags"), py::arg("choose"),
        py::arg("threads") = 1, py::arg("progress") = py::none(),
        "Compute the Engle-Granger statistics of all pairs of series, in both directions.\n\n"
        "Args:\n"
        "    series: Detrended series, shape (n, length).\n"
        "    cross: Their inner products, shape (n, n).\n"
        "    lags: Lagged changes in the regression of the residuals.\n"
        "    choose: Take as many of them as Akaike's criterion prefers.\n"
        "    threads: Threads to use.\n"
        "    progress: Called now and then with the pairs done and in all.\n\n"
        "Returns:\n"
        "    The statistics and the lags, shape (n, n); [i, j] regresses series i on series j.\n\n"
        "Raises:\n"
        "    ValueError: A shape is wrong, a value is not finite (the first is named), or the\n"
        "        series are too short.");
}
