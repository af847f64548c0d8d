// The usual bodies of POST /predict, read without making objects of Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlkit::serving {

// What a request asks for; the views point into its body, or where it has escapes into `unescaped`.
struct DirectRequest {
  std::optional<std::string_view> context;
  std::vector<std::string_view> candidates;
  std::uint64_t k = 0;
  std::optional<std::uint64_t> seed;
  bool is_ascii = true;
  std::string unescaped;
};

// What a request may ask for, and the k of one that names none.
struct DirectBounds {
  std::size_t max_candidates, max_k, default_k;
};

// Read a body. False: it is not a usual one, and the general decoder decides what it is. Usual is
// one object with the fields context, candidates, k and seed, each at most once and the candidates
// always, within the bounds, with strings that have no escapes but such as stand for characters
// that an answer need not escape, as clients write them that send ASCII only; the other fields may
// be there with the value that stands for their absence. Where `is_ascii` is false, the caller
// checks that the body is UTF-8.
bool read_direct(std::string_view body, const DirectBounds& bounds, DirectRequest& request);

}  // namespace mlkit::serving
