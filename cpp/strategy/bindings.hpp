// What the bindings of the strategy share: arrays, and the checks of what comes in.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "strategy/engine.hpp"

namespace mlkit::strategy {

namespace py = pybind11;

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using MaybeDoubles = std::optional<Doubles>;

// Bars of a window at most; more would be a mistake, and sizes in bytes could wrap.
inline constexpr std::size_t longest_window = std::size_t{1} << 31;

// Raise ValueError unless it holds.
void require(bool holds, const std::string& message);
enum class Missing : bool { refused, allowed };

// Name the first value that is not a finite price, and positive if logarithms are taken; NaN may
// stand for a missing one.
void require_prices(const double* prices, std::size_t count, const char* name, bool log,
                    Missing missing);
inline void require_prices(const Doubles& prices, const char* name, bool log, Missing missing) {
  require_prices(prices.data(), std::size_t(prices.size()), name, log, missing);
}
void require_like(const MaybeDoubles& array, const Doubles& other, const char* name);
void require_rule(const Rule& rule);

inline const double* data_or_null(const MaybeDoubles& array) {
  return array ? array->data() : nullptr;
}

void register_engine(py::module_& m);
void register_sweep(py::module_& m);

}  // namespace mlkit::strategy
