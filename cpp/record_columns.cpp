// mlkit.pairs._record_columns: records of topics as columns, and back.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "records/bars.hpp"
#include "records/decode.hpp"
#include "records/encode.hpp"

namespace py = pybind11;
using namespace mlkit::records;

namespace {

template <class Value>
using Array = py::array_t<Value, py::array::c_style>;

std::string_view view_of(const py::handle& bytes) {
  if (!PyBytes_Check(bytes.ptr())) throw py::type_error("expected bytes");
  return {PyBytes_AS_STRING(bytes.ptr()), std::size_t(PyBytes_GET_SIZE(bytes.ptr()))};
}

template <class Value>
Array<Value> array_of(const std::vector<Value>& values) {
  return Array<Value>(py::ssize_t(values.size()), values.data());
}

// Tickers come again and again: each is one object.
py::list texts_of(const std::vector<std::string_view>& texts) {
  const py::object missing = py::float_(std::nan(""));
  std::unordered_map<std::string_view, py::object> known;
  py::list found(texts.size());
  for (std::size_t n = 0; n < texts.size(); ++n) {
    if (texts[n].data() == nullptr) {
      found[n] = missing;
      continue;
    }
    py::object& each = known[texts[n]];
    if (!each) each = py::str(texts[n]);
    found[n] = each;
  }
  return found;
}

py::object values_of(const Column& column) {
  if (column.is_text) return texts_of(column.texts);
  if (column.is_whole) return array_of(column.integers);
  return array_of(column.reals);
}

py::object decode(const py::list& values, const std::string& key,
                  const std::optional<py::list>& keys) {
  Decoder decoder(key);
  for (const py::handle each : values)
    if (!decoder.take(view_of(each))) return py::none();
  for (std::size_t n = 0; keys && n < keys->size(); ++n)
    if (view_of((*keys)[n]) != decoder.keys().at(n)) return py::none();
  py::list columns;
  columns.append(py::make_tuple("time", array_of(decoder.times())));
  columns.append(py::make_tuple(key, texts_of(decoder.keys())));
  for (const Column& each : decoder.finish())
    columns.append(py::make_tuple(each.name, values_of(each)));
  return columns;
}

// False if there is something else in the list than text that UTF-8 can hold, None and NaN.
bool read_texts(const py::list& list, std::vector<std::string_view>& texts) {
  for (const py::handle each : list) {
    std::string_view text;
    if (PyUnicode_CheckExact(each.ptr())) {
      Py_ssize_t size = 0;
      const char* const data = PyUnicode_AsUTF8AndSize(each.ptr(), &size);
      if (data == nullptr) {
        PyErr_Clear();
        return false;
      }
      text = {data, std::size_t(size)};
    } else if (!each.is_none() &&
               !(PyFloat_CheckExact(each.ptr()) &&
                 PyFloat_AS_DOUBLE(each.ptr()) != PyFloat_AS_DOUBLE(each.ptr()))) {
      return false;
    }
    texts.push_back(text);
  }
  return true;
}

template <class Value>
const Value* data_of(const py::object& values, std::size_t rows) {
  if (!py::isinstance<Array<Value>>(values)) throw py::type_error("expected another array");
  const auto array = py::reinterpret_borrow<Array<Value>>(values);
  if (array.ndim() != 1 || std::size_t(array.size()) != rows)
    throw py::value_error("expected as many values as rows");
  return array.data();
}

bool read_field(const std::string& name, const py::object& values, std::size_t rows, Field& field) {
  append_text(field.head, name);
  field.head += ':';
  if (py::isinstance<py::list>(values)) {
    field.kind = Kind::text;
    const auto list = py::reinterpret_borrow<py::list>(values);
    if (list.size() != rows) throw py::value_error("expected as many values as rows");
    return read_texts(list, field.texts);
  }
  if (py::isinstance<Array<double>>(values)) {
    field.reals = data_of<double>(values, rows);
  } else if (py::isinstance<Array<bool>>(values)) {
    field.kind = Kind::boolean;
    field.booleans = reinterpret_cast<const std::uint8_t*>(data_of<bool>(values, rows));
  } else {
    field.kind = name == "time" ? Kind::time : Kind::integer;
    field.integers = data_of<std::int64_t>(values, rows);
  }
  return true;
}

// Returns the keys as bytes, each one object; none if one is missing or empty.
py::object keys_of(const std::vector<std::string_view>& texts) {
  std::unordered_map<std::string_view, py::object> known;
  py::list found(texts.size());
  for (std::size_t n = 0; n < texts.size(); ++n) {
    if (texts[n].empty()) return py::none();
    py::object& each = known[texts[n]];
    if (!each) each = py::bytes(texts[n].data(), texts[n].size());
    found[n] = each;
  }
  return found;
}

py::object encode(const py::list& columns, const std::string& key, std::size_t rows) {
  std::vector<Field> fields;
  py::object keys = py::none();
  for (const py::handle each : columns) {
    const auto [name, values] = each.cast<std::pair<std::string, py::object>>();
    if (!read_field(name, values, rows, fields.emplace_back())) return py::none();
    if (name == key && fields.back().kind == Kind::text) keys = keys_of(fields.back().texts);
  }
  if (keys.is_none()) return py::none();
  py::list found(rows);
  std::string record;
  for (std::size_t row = 0; row < rows; ++row) {
    record.clear();
    append_record(record, fields, row);
    found[row] = py::bytes(record);
  }
  return py::make_tuple(found, keys);
}

using Integers = Array<std::int64_t>;

void require(bool holds, const char* message) {
  if (!holds) throw py::value_error(message);
}

const std::int64_t* integers_of(const Integers& values, std::size_t rows) {
  require(values.ndim() == 1 && std::size_t(values.size()) == rows,
          "expected as many integers as rows");
  return values.data();
}

Ticks ticks_of(const Integers& tickers, const Integers& times, const Integers& starts,
               const std::vector<std::optional<Array<double>>>& columns, std::size_t known) {
  const auto count = std::size_t(tickers.size());
  Ticks ticks{count,
              integers_of(tickers, count),
              integers_of(times, count),
              integers_of(starts, count),
              {}};
  for (std::size_t n = 0; n < count; ++n)
    require(std::size_t(ticks.tickers[n]) < known, "tickers: one has no bar");
  require(columns.size() == prices, "expected eight columns");
  for (std::size_t each = 0; each < prices; ++each) {
    if (!columns[each]) continue;
    require(std::size_t(columns[each]->size()) == count, "expected as many values as rows");
    ticks.values[each] = columns[each]->data();
  }
  return ticks;
}

py::tuple take_ticks(Array<OpenBar> bars, const Integers& tickers, const Integers& times,
                     const Integers& starts,
                     const std::vector<std::optional<Array<double>>>& columns, Integers counts) {
  require(counts.size() == py::ssize_t(rules), "expected a count for each rule");
  const Ticks ticks = ticks_of(tickers, times, starts, columns, std::size_t(bars.size()));
  std::array<std::int64_t, rules> counted{};
  const std::vector<ClosedBar> closed = take(ticks, bars.mutable_data(), counted);
  for (std::size_t each = 0; each < rules; ++each) counts.mutable_at(each) += counted[each];
  const auto rows = py::ssize_t(closed.size());
  Integers which(rows), start(rows), before(rows);
  Array<double> close_before(rows), values({rows, py::ssize_t(prices)});
  for (py::ssize_t n = 0; n < rows; ++n) {
    const ClosedBar& each = closed[std::size_t(n)];
    which.mutable_at(n) = each.ticker;
    start.mutable_at(n) = each.start;
    before.mutable_at(n) = each.start_before;
    close_before.mutable_at(n) = each.close_before;
    std::copy(each.values.begin(), each.values.end(), values.mutable_data(n, 0));
  }
  return py::make_tuple(which, start, before, close_before, values);
}

}  // namespace

PYBIND11_MODULE(_record_columns, m) {
  using namespace py::literals;
  m.doc() = "Records of topics as columns, and back; bars of ticks.";
  PYBIND11_NUMPY_DTYPE(OpenBar, start, first, last, closed, close_before, values);
  m.attr("OPEN_BAR") = py::dtype::of<OpenBar>();
  m.def("take_ticks", &take_ticks, "bars"_a.noconvert(), "tickers"_a, "times"_a, "starts"_a,
        "columns"_a, "counts"_a.noconvert(),
        "Take ticks in their order; return ticker, start, the bar before (start and close) and "
        "prices of the bars that they close.");
  m.def("decode", &decode, "values"_a, "key"_a, "keys"_a,
        "Return names and columns of plain records, time (ns) and key first; None for others.");
  m.def("encode", &encode, "columns"_a, "key"_a, "rows"_a,
        "Return records of columns, and their keys; None if a value is not plain.");
}
