// mlkit.bandit._beta_sampler: check, release the GIL, draw.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "beta/batch.hpp"

namespace py = pybind11;
using namespace mlkit::beta;

namespace {

// Describe an array of float64 or float32 without copying it.
Operand operand(const py::array& array) {
  Operand made;
  made.data = static_cast<const char*>(array.data());
  made.single = array.itemsize() == sizeof(float);
  made.shape.assign(array.shape(), array.shape() + array.ndim());
  made.strides.assign(array.strides(), array.strides() + array.ndim());
  return made;
}

std::size_t first_invalid_of(const py::array& array) {
  const Operand values = operand(array);
  const py::gil_scoped_release released;
  return first_invalid(values);
}

void fill(Key key, std::uint64_t offset, const py::array& a, const py::array& b,
          py::array_t<double>& out, std::size_t threads) {
  const Operand first = operand(a), second = operand(b);
  double* to = out.mutable_data();
  const auto count = static_cast<std::size_t>(out.size());
  const py::gil_scoped_release released;
  sample(key, offset, first, second, to, count, threads);
}

}  // namespace

PYBIND11_MODULE(_beta_sampler, m) {
  m.doc() = "Kernels of the Beta sampler; mlkit.bandit.sampler checks and calls them.";
  m.attr("BLOCK_SIZE") = block_size;
  m.attr("SMALLEST_PARAMETER") = smallest_parameter;
  m.attr("LARGEST_PARAMETER") = largest_parameter;
  py::class_<Key>(m, "Key", "The name of a stream of draws.")
      .def(py::init([](std::uint64_t first, std::uint64_t second) { return Key{{first, second}}; }),
           py::arg("first"), py::arg("second"))
      .def_static("from_seed", &key_from_seed, py::arg("seed"), "Spread a 64-bit seed over a key.");
  m.def("first_invalid", &first_invalid_of, py::arg("values"),
        "Find the flat index of the first value that is no parameter, or the size.\n\n"
        "The array is float64 or float32, of any strides.");
  m.def("fill", &fill, py::arg("key"), py::arg("offset"), py::arg("a"), py::arg("b"),
        py::arg("out").noconvert(), py::arg("threads"),
        "Fill `out` (contiguous) with draws; `a` and `b` are valid and have its shape.");
}
