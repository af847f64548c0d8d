// Keyed BLAKE2b with digests of 16 bytes (RFC 7693).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mlkit::serving {

class KeyedBlake2b {
 public:
  static constexpr std::size_t most_key_bytes = 64, digest_bytes = 16;
  using Digest = std::array<char, digest_bytes>;

  // The key has 1 to most_key_bytes bytes.
  explicit KeyedBlake2b(std::string_view key);

  Digest operator()(std::string_view message) const;

 private:
  static constexpr std::size_t block_bytes = 128;
  using State = std::array<std::uint64_t, 8>;
  using Block = std::array<char, block_bytes>;

  static Block padded(std::string_view bytes);
  static void compress(State& state, const char* block, std::uint64_t counted, bool is_last);

  Block key_;
  State initial_, keyed_;  // before and after the block of the key
};

}  // namespace mlkit::serving
