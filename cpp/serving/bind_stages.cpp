// Bindings of the predict stages: Fetched and ThompsonSampler.
#include "serving/fetched.hpp"
#include "serving/thompson.hpp"

namespace mlkit::serving {
namespace {

Fetched fetched_from_arrays(const py::sequence& candidates, const Numbers& a, const Numbers& b,
                            std::size_t unknown_contexts, std::size_t unknown_arms) {
  py::tuple names(candidates);
  for (std::size_t i = 0; i < names.size(); ++i)
    if (!PyUnicode_Check(names[i].ptr())) throw py::type_error(at("candidates", i) + ": no str");
  const auto as = parameters(a, "a", names.size()), bs = parameters(b, "b", names.size());
  return {std::move(names),
          {as.begin(), as.end()},
          {bs.begin(), bs.end()},
          {unknown_contexts, unknown_arms}};
}

py::array_t<double> view(std::span<const double> values, const py::object& owner) {
  py::array_t<double> array(static_cast<py::ssize_t>(values.size()), values.data(), owner);
  array.attr("flags").attr("writeable") = false;
  return array;
}

std::pair<py::list, py::list> top_k(ThompsonSampler& sampler, const Fetched& fetched, py::ssize_t k,
                                    const std::optional<py::int_>& seed) {
  if (k < 1) reject("k", "must be at least 1");
  const auto own = seed_of(seed);
  std::vector<Scored> best;
  {
    const py::gil_scoped_release release;
    best = sampler.top_k(fetched.a(), fetched.b(), static_cast<std::size_t>(k), own);
  }
  py::list names(best.size()), draws(best.size());
  for (std::size_t i = 0; i < best.size(); ++i) {
    PyList_SET_ITEM(names.ptr(), static_cast<Py_ssize_t>(i),
                    fetched.candidate(best[i].candidate).release().ptr());
    PyList_SET_ITEM(draws.ptr(), static_cast<Py_ssize_t>(i), PyFloat_FromDouble(best[i].draw));
  }
  return {std::move(names), std::move(draws)};
}

}  // namespace

void register_stages(py::module_& m) {
  py::class_<Fetched>(m, "Fetched", "The posteriors of the candidates of one request.")
      .def(py::init(&fetched_from_arrays), py::arg("candidates"), py::arg("a"), py::arg("b"),
           py::arg("unknown_contexts") = 0, py::arg("unknown_arms") = 0,
           "Take the posteriors that a store has fetched.\n\n"
           "Args:\n"
           "    candidates: Ids of n arms; one that appears twice is two candidates.\n"
           "    a: Shape (n,), from 1e-300 to 1e15.\n"
           "    b: Shape (n,), from 1e-300 to 1e15.\n"
           "    unknown_contexts: Candidates without a posterior for the context.\n"
           "    unknown_arms: Candidates without a posterior of the arm: theirs is the prior.\n\n"
           "Raises:\n"
           "    ValueError: A parameter is out of range, or the lengths differ.")
      .def("__len__", &Fetched::size)
      .def_property_readonly("candidates", &Fetched::candidates,
                             "The ids of the candidates, in their order.")
      .def_property_readonly(
          "a", [](const py::object& self) { return view(self.cast<const Fetched&>().a(), self); },
          "First parameters, shape (n,), read-only.")
      .def_property_readonly(
          "b", [](const py::object& self) { return view(self.cast<const Fetched&>().b(), self); },
          "Second parameters, shape (n,), read-only.")
      .def_property_readonly(
          "unknown_contexts", [](const Fetched& self) { return self.unknown().contexts; },
          "Candidates that have no posterior for the context; 0 without a context.")
      .def_property_readonly(
          "unknown_arms", [](const Fetched& self) { return self.unknown().arms; },
          "Candidates that have no posterior of the arm either: theirs is the prior.");

  py::class_<ThompsonSampler, std::shared_ptr<ThompsonSampler>>(
      m, "ThompsonSampler",
      "Thompson sampling from a stream of its own.\n\n"
      "A copy in a forked process repeats the stream: make it after forking.")
      .def(py::init([](const std::optional<py::int_>& seed) {
             return std::make_shared<ThompsonSampler>(seed_of(seed));
           }),
           py::arg("seed") = py::none(),
           "Start a stream, from the system's entropy without a seed (0 to 2**64 - 1).")
      .def("top_k", &top_k, py::arg("fetched"), py::arg("k"), py::arg("seed") = py::none(),
           "Draw from each candidate's posterior and select the k largest draws.\n\n"
           "Args:\n"
           "    fetched: The candidates; one that appears twice is drawn twice.\n"
           "    k: At least 1; above the number of candidates it selects all.\n"
           "    seed: 0 to 2**64 - 1: the answer then depends on it and on the candidates\n"
           "        only, and the sampler's own stream does not move.\n\n"
           "Returns:\n"
           "    Ids and draws, best first; equal draws in the order of the candidates.\n\n"
           "Raises:\n"
           "    ValueError: k is below 1, or the seed is out of range.");
}

}  // namespace mlkit::serving
