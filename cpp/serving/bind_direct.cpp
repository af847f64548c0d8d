// Bindings of the direct answers: from the bytes of a request to those of its answer.
#include <memory>

#include "serving/direct_answer.hpp"
#include "serving/direct_request.hpp"
#include "serving/python_values.hpp"
#include "serving/thompson.hpp"

namespace mlkit::serving {
namespace {

constexpr std::size_t most_shown = 0xffff;  // as many as a decision id can carry

py::bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

bool is_utf8(std::string_view text) {
  PyObject* decoded =
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr);
  if (!decoded) PyErr_Clear();
  Py_XDECREF(decoded);
  return decoded != nullptr;
}

// Keeps its memory from one request to the next; calls hold the interpreter's lock.
class DirectPredictor {
 public:
  DirectPredictor(std::shared_ptr<const PosteriorTable> table,
                  std::shared_ptr<ThompsonSampler> sampler, const DirectBounds& bounds)
      : table_(std::move(table)), sampler_(std::move(sampler)), bounds_(bounds) {}

  py::object predict(const py::bytes& body, std::optional<std::uint64_t> seed) {
    const std::string_view text(body);
    if (!read_direct(text, bounds_, request_)) return py::none();
    if (!request_.is_ascii && !is_utf8(text)) return py::none();
    const std::size_t count = request_.candidates.size();
    a_.resize(count);
    b_.resize(count);
    const Unknown unknown = table_->fetch(request_.context, request_.candidates, a_.data(),
                                          b_.data(), present_weight(*table_));
    if (!request_.seed) request_.seed = seed;
    candidates_.clear();
    if (request_.seed && seed) append_candidates(candidates_, request_.candidates);
    const auto best = sampler_->top_k(a_, b_, request_.k, request_.seed);
    shown_.clear();
    append_shown(shown_, request_.candidates, best);
    rest_.clear();
    append_answer(rest_, request_.candidates, best, unknown);
    const py::object context =
        request_.context ? py::object(bytes_of(*request_.context)) : py::object(py::none());
    return py::make_tuple(context, bytes_of(shown_), bytes_of(rest_), count, unknown.contexts,
                          unknown.arms);
  }

  py::tuple last() const {
    return py::make_tuple(request_.k, request_.seed, bytes_of(candidates_));
  }

 private:
  std::shared_ptr<const PosteriorTable> table_;
  std::shared_ptr<ThompsonSampler> sampler_;
  DirectBounds bounds_;
  DirectRequest request_;
  std::vector<double> a_, b_;
  std::string shown_, rest_, candidates_;
};

std::unique_ptr<DirectPredictor> make(std::shared_ptr<PosteriorTable> table,
                                      std::shared_ptr<ThompsonSampler> sampler,
                                      std::size_t max_candidates, std::size_t max_k,
                                      std::size_t default_k) {
  const DirectBounds bounds{max_candidates, std::min(max_k, most_shown), default_k};
  if (default_k < 1) reject("default_k", "must be at least 1");
  return std::make_unique<DirectPredictor>(std::move(table), std::move(sampler), bounds);
}

}  // namespace

void register_direct(py::module_& m) {
  py::class_<DirectPredictor>(
      m, "DirectPredictor",
      "Thompson sampling from the bytes of usual requests to those of their answers.\n\n"
      "It is used by one thread.")
      .def(py::init(&make), py::arg("table"), py::arg("sampler"), py::kw_only(),
           py::arg("max_candidates"), py::arg("max_k"), py::arg("default_k"),
           "Answer from a table.\n\n"
           "Args:\n"
           "    table: The posteriors.\n"
           "    sampler: Draws from them.\n"
           "    max_candidates: Candidates that a request may name.\n"
           "    max_k: Arms that a request may ask for.\n"
           "    default_k: Arms that are returned if it does not say.")
      .def("predict", &DirectPredictor::predict, py::arg("body"), py::arg("seed") = py::none(),
           "Answer a request.\n\n"
           "Args:\n"
           "    body: The JSON of the request.\n"
           "    seed: Decides what is random in a request without a seed of its own, and asks for\n"
           "        what `last` returns; None: chance.\n\n"
           "Returns:\n"
           "    None if the request is not a usual one, or wrong: the general decoder finds out.\n"
           "    Otherwise the context (UTF-8, or None), what a decision id says of the arms\n"
           "    shown, the answer's JSON from \"arms\" on, and the numbers of candidates, of\n"
           "    those without a posterior for the context, and of those without one of the\n"
           "    arm.")
      .def(
          "last", &DirectPredictor::last,
          "Return k, the seed and the candidates (JSON) of the last request answered with a seed.");
}

}  // namespace mlkit::serving
