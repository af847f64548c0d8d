// mlkit.bandit._posterior_table: the posterior table and the predict stages for Python.
#include <pybind11/pybind11.h>
#include <cerrno>
#include <exception>
#include <filesystem>

#include "serving/python_values.hpp"

namespace py = pybind11;

namespace {

// OSError with the system's number and the path, which pybind11 does not do by itself.
void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const std::filesystem::filesystem_error& failure) {
    errno = failure.code().value();
    PyErr_SetFromErrnoWithFilename(PyExc_OSError, failure.path1().c_str());
  }
}

}  // namespace

PYBIND11_MODULE(_posterior_table, m) {
  m.doc() = "The posterior table in shared memory, and the predict stages on it.";
  py::register_exception<mlkit::serving::TableFull>(m, "TableFull", PyExc_RuntimeError).doc() =
      "A capacity of the table is used up; nothing was changed.";
  py::register_exception_translator(translate);
  mlkit::serving::register_table(m);
  mlkit::serving::register_stages(m);
  mlkit::serving::register_direct(m);
}
