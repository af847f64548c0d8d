// mlkit._simd: which instruction sets the native kernels can use here.
#include <pybind11/pybind11.h>

#include "simd/simd.hpp"

namespace py = pybind11;

PYBIND11_MODULE(_simd, m) {
  m.doc() = "Instruction sets of the native kernels.";
  m.def(
      "available",
      [] {
        py::list names;
        for (auto isa : mlkit::simd::available()) names.append(mlkit::simd::name(isa));
        return py::typing::List<py::str>(names);
      },
      "List the instruction sets that this machine can run, narrowest first.");
  m.def(
      "selected", [] { return mlkit::simd::name(mlkit::simd::selected()); },
      "Name the instruction set that the kernels use: the widest one, or MLKIT_SIMD's.\n\n"
      "Raises ValueError if MLKIT_SIMD names a set that this machine does not offer.");
}
