// Decision ids: what feedback needs to know about a decision, signed. `decisions/decision.py` of
// the server says what is in one, and reads them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "serving/blake2b.hpp"

namespace mlkit::serving {

// Append the lower bytes of a number, the highest of them first.
void append_big_endian(std::string& out, std::uint64_t value, int bytes);

class DecisionSigner {
 public:
  // Nonces count from the one after `nonce`.
  DecisionSigner(std::string_view key, std::uint64_t nonce) : mac_(key), nonce_(nonce) {}

  // Append the id of a new decision, as base64 for URLs without padding.
  // `shown`: the number of arms, their fingerprints, and the features if there are any.
  // `at`: seconds since 1970. `kind`: flags beside those of the version and of a context.
  void append(std::string& out, std::string_view shown, std::optional<std::string_view> context,
              double at, unsigned kind = 0);

 private:
  KeyedBlake2b mac_;
  std::uint64_t nonce_;
  std::string raw_;  // keeps its memory
};

}  // namespace mlkit::serving
