// Bindings of the direct answers: from the bytes of a request to those of its answer.
#include <algorithm>
#include <array>
#include <memory>

#include "serving/decision_signer.hpp"
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

// Where predictions are counted: numbers in memory that the caller lends.
class Counted {
 public:
  struct Places {
    std::size_t candidates, unknown_contexts, unknown_arms, decisions;
  };

  Counted(const py::buffer& values, const std::array<std::size_t, 4>& places)
      : buffer_(values.request(true)), places_{places[0], places[1], places[2], places[3]} {
    if (buffer_.ndim != 1 || !buffer_.item_type_is_equivalent_to<double>() ||
        buffer_.strides[0] != sizeof(double))
      reject("counters", "expected one dimension of doubles");
    if (*std::max_element(places.begin(), places.end()) >= static_cast<std::size_t>(buffer_.size))
      reject("places", "one is outside of the counters");
  }

  void add(std::size_t candidates, const Unknown& unknown) {
    auto* values = static_cast<double*>(buffer_.ptr);
    values[places_.candidates] += static_cast<double>(candidates);
    values[places_.unknown_contexts] += static_cast<double>(unknown.contexts);
    values[places_.unknown_arms] += static_cast<double>(unknown.arms);
    values[places_.decisions] += 1;
  }

 private:
  py::buffer_info buffer_;
  Places places_;
};

// Keeps its memory from one request to the next; calls hold the interpreter's lock.
class DirectPredictor {
 public:
  DirectPredictor(std::shared_ptr<const PosteriorTable> table,
                  std::shared_ptr<ThompsonSampler> sampler, std::shared_ptr<DecisionSigner> signer,
                  Counted counted, const DirectBounds& bounds)
      : table_(std::move(table)),
        sampler_(std::move(sampler)),
        signer_(std::move(signer)),
        counted_(std::move(counted)),
        bounds_(bounds) {}

  py::object predict(const py::bytes& body, double at, std::optional<std::uint64_t> seed) {
    is_answered_ = false;
    body_ = body;
    const std::string_view text(body);
    if (!read_direct(text, bounds_, request_)) return py::none();
    if (!request_.is_ascii && !is_utf8(text)) return py::none();
    const std::size_t count = request_.candidates.size();
    a_.resize(count);
    b_.resize(count);
    unknown_ = table_->fetch(request_.context, request_.candidates, a_.data(), b_.data(),
                             present_weight(*table_));
    if (!request_.seed) request_.seed = seed;
    const auto best = sampler_->top_k(a_, b_, request_.k, request_.seed);
    shown_.clear();
    append_shown(shown_, request_.candidates, best);
    answer_ = before_id;
    signer_->append(answer_, shown_, request_.context, at);
    id_end_ = answer_.size();
    answer_.append(after_id);
    append_answer(answer_, request_.candidates, best, unknown_);
    is_answered_ = true;
    return bytes_of(answer_);
  }

  void count() {
    check_answered();
    counted_.add(request_.candidates.size(), unknown_);
  }

  py::tuple last() const {
    check_answered();
    std::string candidates;
    append_candidates(candidates, request_.candidates);
    const py::object context =
        request_.context ? py::object(bytes_of(*request_.context)) : py::object(py::none());
    const std::string_view answer(answer_);
    const auto id_size = id_end_ - before_id.size();
    return py::make_tuple(bytes_of(answer.substr(before_id.size(), id_size)), context,
                          bytes_of(answer.substr(id_end_ + after_id.size())), request_.k,
                          request_.seed, bytes_of(candidates));
  }

 private:
  static constexpr std::string_view before_id = R"({"decision_id":")", after_id = R"(",)";

  void check_answered() const {
    if (!is_answered_) throw std::logic_error("the last request was not answered");
  }

  std::shared_ptr<const PosteriorTable> table_;
  std::shared_ptr<ThompsonSampler> sampler_;
  std::shared_ptr<DecisionSigner> signer_;
  Counted counted_;
  DirectBounds bounds_;
  DirectRequest request_;
  Unknown unknown_;
  std::vector<double> a_, b_;
  std::string shown_, answer_;
  std::size_t id_end_ = 0;
  py::bytes body_;  // what the request points into
  bool is_answered_ = false;
};

std::unique_ptr<DirectPredictor> make(std::shared_ptr<PosteriorTable> table,
                                      std::shared_ptr<ThompsonSampler> sampler,
                                      std::shared_ptr<DecisionSigner> signer,
                                      const py::buffer& counters,
                                      const std::array<std::size_t, 4>& places,
                                      std::size_t max_candidates, std::size_t max_k,
                                      std::size_t default_k) {
  const DirectBounds bounds{max_candidates, std::min(max_k, most_shown), default_k};
  if (default_k < 1) reject("default_k", "must be at least 1");
  return std::make_unique<DirectPredictor>(std::move(table), std::move(sampler), std::move(signer),
                                           Counted(counters, places), bounds);
}

std::shared_ptr<DecisionSigner> make_signer(const py::bytes& key, std::uint64_t nonce) {
  const std::string_view bytes(key);
  if (bytes.empty() || bytes.size() > KeyedBlake2b::most_key_bytes)
    reject("key", "must have 1 to 64 bytes");
  return std::make_shared<DecisionSigner>(bytes, nonce);
}

py::bytes sign(DecisionSigner& signer, const py::bytes& shown,
               const std::optional<py::bytes>& context, double at, unsigned kind) {
  std::string id;
  const auto named = context ? std::optional(std::string_view(*context)) : std::nullopt;
  signer.append(id, std::string_view(shown), named, at, kind);
  return bytes_of(id);
}

}  // namespace

void register_direct(py::module_& m) {
  py::class_<DecisionSigner, std::shared_ptr<DecisionSigner>>(m, "DecisionSigner",
                                                              "Makes signed decision ids.")
      .def(py::init(&make_signer), py::arg("key"), py::arg("nonce"),
           "Make ids.\n\n"
           "Args:\n"
           "    key: The secret, 1 to 64 bytes.\n"
           "    nonce: What nonces count from.")
      .def("sign", &sign, py::arg("shown"), py::arg("context"), py::arg("at"), py::arg("kind") = 0u,
           "Make the id of a new decision, as base64 for URLs.\n\n"
           "Args:\n"
           "    shown: The number of arms, their fingerprints, and the features if any.\n"
           "    context: The context (UTF-8), or None.\n"
           "    at: When it was decided, in seconds since 1970.\n"
           "    kind: Flags of the id, beside those of the version and of a context.");
  py::class_<DirectPredictor>(
      m, "DirectPredictor",
      "Thompson sampling from the bytes of usual requests to those of their answers.\n\n"
      "It is used by one thread.")
      .def(py::init(&make), py::arg("table"), py::arg("sampler"), py::arg("signer"),
           py::arg("counters"), py::arg("places"), py::kw_only(), py::arg("max_candidates"),
           py::arg("max_k"), py::arg("default_k"),
           "Answer from a table.\n\n"
           "Args:\n"
           "    table: The posteriors.\n"
           "    sampler: Draws from them.\n"
           "    signer: Makes the decision ids.\n"
           "    counters: Doubles that `count` adds to.\n"
           "    places: Where in them it counts candidates, those without a posterior for the\n"
           "        context, those without one of the arm, and decisions.\n"
           "    max_candidates: Candidates that a request may name.\n"
           "    max_k: Arms that a request may ask for.\n"
           "    default_k: Arms that are returned if it does not say.")
      .def("predict", &DirectPredictor::predict, py::arg("body"), py::arg("at"),
           py::arg("seed") = py::none(),
           "Answer a request.\n\n"
           "Args:\n"
           "    body: The JSON of the request.\n"
           "    at: The time, in seconds since 1970.\n"
           "    seed: Decides what is random in a request without a seed of its own; None:\n"
           "        chance.\n\n"
           "Returns:\n"
           "    The answer's JSON; None if the request is not a usual one, or wrong: the general\n"
           "    decoder finds out.")
      .def("count", &DirectPredictor::count, "Count the last request, which was answered.")
      .def("last", &DirectPredictor::last,
           "Return what is logged of the last request, which was answered.\n\n"
           "Returns:\n"
           "    The decision id, the context (UTF-8, or None), the answer's JSON from \"arms\"\n"
           "    on, k, the seed and the candidates (JSON).");
}

}  // namespace mlkit::serving
