// mlkit.bandit._regression: check sizes, release the GIL, sum up.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>

#include "regression/moments.hpp"

namespace py = pybind11;

namespace {

using Doubles = py::array_t<double, py::array::c_style>;
using Groups = py::array_t<std::int64_t, py::array::c_style>;

std::span<const double> column(const Doubles& values, std::size_t rows) {
  if (values.ndim() != 1 || static_cast<std::size_t>(values.size()) != rows)
    throw std::invalid_argument("moments: sizes do not fit");
  return {values.data(), rows};
}

py::object moments(const Doubles& features, const Doubles& rewards,
                   const std::optional<Doubles>& weights, const Groups& groups,
                   const Doubles& means, double largest, std::pair<double, double> limits) {
  if (features.ndim() != 2 || means.ndim() != 2 || features.shape(1) != means.shape(1) ||
      groups.ndim() != 1 || groups.size() != features.shape(0) || means.shape(0) < 1)
    throw std::invalid_argument("moments: sizes do not fit");
  const auto rows = static_cast<std::size_t>(features.shape(0));
  const auto count = static_cast<std::size_t>(means.shape(0));
  if (rows >= std::size_t{1} << 32) throw std::invalid_argument("moments: too many rows");
  const mlkit::regression::Rows all{features.data(),
                                    static_cast<std::size_t>(features.shape(1)),
                                    column(rewards, rows),
                                    weights ? column(*weights, rows) : std::span<const double>(),
                                    {groups.data(), rows}};
  Doubles gram({means.shape(0), means.shape(1), means.shape(1)});
  Doubles surprise({means.shape(0), means.shape(1)});
  double* const products = gram.mutable_data();
  double* const sums = surprise.mutable_data();
  bool is_inside = false;
  {
    const py::gil_scoped_release released;
    is_inside =
        mlkit::regression::moments(all, count, means.data(), largest, limits, products, sums);
  }
  return is_inside ? py::object(py::make_tuple(gram, surprise)) : py::object(py::none());
}

}  // namespace

PYBIND11_MODULE(_regression, m) {
  m.doc() = "Sums of ridge regressions; mlkit.bandit.policies.linear checks and calls it.";
  m.def("moments", &moments, py::arg("features").noconvert(), py::arg("rewards").noconvert(),
        py::arg("weights").noconvert(), py::arg("groups").noconvert(), py::arg("means").noconvert(),
        py::arg("largest"), py::arg("limits"),
        "Sum w x x' and w x (r - x'mean) of each group, shapes (groups, dimension, dimension) and\n"
        "(groups, dimension); None if a feature is not within [-largest, largest], a reward not\n"
        "within the limits, or a group not that of a mean.");
}
