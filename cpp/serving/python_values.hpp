// Values of Python for the bindings of the posterior table: arguments are checked here, once,
// and the kernels trust them.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serving/posterior_table.hpp"

namespace mlkit::serving {

namespace py = pybind11;

using Numbers = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Ids = std::vector<std::string_view>;

[[noreturn]] inline void reject(const std::string& place, const std::string& what) {
  throw std::invalid_argument(place + ": " + what);
}

inline std::string at(const char* name, std::size_t index) {
  return std::string(name) + "[" + std::to_string(index) + "]";
}

inline void check_length(std::size_t bytes, const char* name, std::optional<std::size_t> index) {
  if (bytes == 0 || bytes > max_id_bytes)
    reject(index ? at(name, *index) : name,
           "an id has 1 to 256 bytes of UTF-8, this one has " + std::to_string(bytes));
}

// The UTF-8 of a str, which the str keeps.
inline std::string_view id_of(PyObject* text, const char* name,
                              std::optional<std::size_t> index = std::nullopt) {
  const auto place = [&] { return index ? at(name, *index) : std::string(name); };
  if (!PyUnicode_Check(text))
    throw py::type_error(place() + ": expected a str, not " + Py_TYPE(text)->tp_name);
  Py_ssize_t length = 0;
  const char* utf8 = PyUnicode_AsUTF8AndSize(text, &length);
  if (!utf8) {
    if (!PyErr_ExceptionMatches(PyExc_UnicodeError)) throw py::error_already_set();
    PyErr_Clear();
    reject(place(), "a lone surrogate has no UTF-8");
  }
  check_length(static_cast<std::size_t>(length), name, index);
  return {utf8, static_cast<std::size_t>(length)};
}

inline std::optional<std::string_view> id_of(const std::optional<py::str>& text, const char* name) {
  if (!text) return std::nullopt;
  return id_of(text->ptr(), name);
}

inline Ids ids_of(const py::tuple& texts, const char* name) {
  Ids ids(texts.size());
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = id_of(PyTuple_GET_ITEM(texts.ptr(), static_cast<Py_ssize_t>(i)), name, i);
  return ids;
}

inline std::uint64_t unsigned_of(const py::int_& number, const char* name) {
  const std::uint64_t value = PyLong_AsUnsignedLongLong(number.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    reject(name, "must be from 0 to 2**64 - 1");
  }
  return value;
}

inline std::optional<std::uint64_t> seed_of(const std::optional<py::int_>& seed) {
  if (!seed) return std::nullopt;
  return unsigned_of(*seed, "seed");
}

inline std::span<const double> column(const Numbers& values, const char* name, std::size_t rows) {
  if (values.ndim() != 1 || static_cast<std::size_t>(values.size()) != rows)
    reject(name, "expected one dimension of " + std::to_string(rows) + " values");
  return {values.data(), rows};
}

inline std::span<const double> parameters(const Numbers& values, const char* name,
                                          std::size_t rows) {
  const auto numbers = column(values, name, rows);
  const auto bad = std::find_if_not(numbers.begin(), numbers.end(), valid_parameter);
  if (bad != numbers.end())
    reject(at(name, static_cast<std::size_t>(bad - numbers.begin())),
           "must be from 1e-300 to 1e15, not " + std::string(py::str(py::float_(*bad))));
  return numbers;
}

inline bool valid_pulls(double pulls) { return pulls >= 0 && pulls <= 1e15; }

inline std::span<const double> counts(const Numbers& values, std::size_t rows) {
  const auto numbers = column(values, "pulls", rows);
  const auto bad = std::find_if_not(numbers.begin(), numbers.end(), valid_pulls);
  if (bad != numbers.end())
    reject(at("pulls", static_cast<std::size_t>(bad - numbers.begin())), "must be from 0 to 1e15");
  return numbers;
}

inline Posterior posterior_of(double a, double b, double pulls) {
  if (!valid_parameter(a)) reject("a", "must be from 1e-300 to 1e15");
  if (!valid_parameter(b)) reject("b", "must be from 1e-300 to 1e15");
  if (!valid_pulls(pulls)) reject("pulls", "must be from 0 to 1e15");
  return {a, b, pulls};
}

// Ids as the buffers of an Arrow string array: int32 or int64 offsets, and bytes.
class StringBuffers {
 public:
  StringBuffers(const std::pair<py::array, py::array>& buffers, const char* name)
      : offsets_(Offsets::ensure(buffers.first)), data_(Data::ensure(buffers.second)), name_(name) {
    if (!offsets_ || !data_ || offsets_.ndim() != 1 || data_.ndim() != 1 || offsets_.size() == 0)
      reject(name, "expected the offsets and the data of an Arrow string array");
  }

  std::size_t rows() const { return static_cast<std::size_t>(offsets_.size() - 1); }

  Ids ids() const {
    const auto offsets = std::span(offsets_.data(), rows() + 1);
    const std::int64_t size = data_.size();
    Ids ids(rows());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::int64_t start = offsets[i], stop = offsets[i + 1];
      if (start < 0 || stop < start || stop > size)
        reject(at(name_, i), "its offsets are outside of the data");
      check_length(static_cast<std::size_t>(stop - start), name_, i);
      ids[i] = {reinterpret_cast<const char*>(data_.data()) + start,
                static_cast<std::size_t>(stop - start)};
    }
    return ids;
  }

 private:
  using Offsets = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;
  using Data = py::array_t<std::uint8_t, py::array::c_style>;
  Offsets offsets_;
  Data data_;
  const char* name_;
};

inline py::str text_of(std::string_view id) {
  PyObject* text = PyUnicode_DecodeUTF8(id.data(), static_cast<Py_ssize_t>(id.size()), "replace");
  if (!text) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

template <class T>
py::array_t<T> array_of(std::vector<T>&& values) {
  auto* kept = new std::vector<T>(std::move(values));
  const py::capsule owner(kept, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return py::array_t<T>(static_cast<py::ssize_t>(kept->size()), kept->data(), owner);
}

class IdColumn {
 public:
  void add(std::string_view id) {
    data_.insert(data_.end(), id.begin(), id.end());
    offsets_.push_back(static_cast<std::int64_t>(data_.size()));
  }
  std::pair<py::array_t<std::int64_t>, py::array_t<std::uint8_t>> buffers() {
    return {array_of(std::move(offsets_)), array_of(std::move(data_))};
  }

 private:
  std::vector<std::int64_t> offsets_{0};
  std::vector<std::uint8_t> data_;
};

struct PosteriorColumns {
  std::vector<double> a, b, pulls;
  void add(const Posterior& posterior) {
    a.push_back(posterior.a);
    b.push_back(posterior.b);
    pulls.push_back(posterior.pulls);
  }
};

inline py::dict dict_of(const Sizes& sizes) {
  py::dict dict;
  dict["arms"] = sizes.arms;
  dict["contexts"] = sizes.contexts;
  dict["posteriors"] = sizes.posteriors;
  dict["id_bytes"] = sizes.id_bytes;
  return dict;
}

// The weight of a table's evidence now.
inline double present_weight(const PosteriorTable& table) {
  if (!table.forgets()) return 1;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return table.weight(std::chrono::duration<double>(now).count());
}

// Add the classes to the module.
void register_table(py::module_& m);
void register_stages(py::module_& m);
void register_direct(py::module_& m);

}  // namespace mlkit::serving
