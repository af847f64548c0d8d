// mlkit.bandit._propensity: check sizes, release the GIL, integrate.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>

#include "propensity/propensity.hpp"

namespace py = pybind11;

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Indices = py::array_t<std::uint32_t, py::array::c_style | py::array::forcecast>;

py::tuple top_k(const Doubles& a, const Doubles& b, const Indices& shown, std::size_t k,
                double width) {
  const auto count = static_cast<std::size_t>(a.size());
  if (b.size() != a.size() || k < 1 || k > count || !(width > 0))
    throw std::invalid_argument("top_k: sizes do not fit");
  const std::vector<std::uint32_t> places(shown.data(), shown.data() + shown.size());
  for (const auto place : places)
    if (place >= count) throw std::invalid_argument("top_k: no such arm");
  mlkit::propensity::Propensities found;
  {
    const py::gil_scoped_release released;
    found = mlkit::propensity::top_k(a.data(), b.data(), count, places, k, width);
  }
  py::array_t<double> ranks({places.size(), k});
  std::copy(found.ranks.begin(), found.ranks.end(), ranks.mutable_data());
  return py::make_tuple(ranks, found.slate, found.panels);
}

}  // namespace

PYBIND11_MODULE(_propensity, m) {
  m.doc() = "Propensities of Thompson sampling; mlkit.bandit.propensities checks and calls it.";
  m.attr("most_panels") = mlkit::propensity::most_panels;
  m.def("top_k", &top_k, py::arg("a"), py::arg("b"), py::arg("shown"), py::arg("k"),
        py::arg("width"),
        "Integrate: rank probabilities of shape (shown, k), that of the slate, and the panels.");
}
