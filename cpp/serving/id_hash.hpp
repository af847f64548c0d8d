// Keyed hash of ids and of (context, arm) pairs.
//
// Clients choose ids, so the hash has random keys of its own in each table: without them
// nobody can prepare ids that collide. The words of an id are combined by NH (Black, Halevi,
// Krawczyk, Krovetz, Rogaway: "UMAC", CRYPTO 1999, section 4), whose collision probability
// for ids of one length is 2^-64 whatever the ids are; a keyed multiplication then folds the
// sum and the length into 64 bits.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace mlkit::serving {

inline constexpr std::size_t max_id_bytes = 256;

inline std::uint64_t word_at(const char* text) {
  std::uint64_t value;
  std::memcpy(&value, text, sizeof value);
  return value;
}

// Whether n bytes are the same; without a call for the usual lengths, as memcmp would be.
inline bool same_bytes(const char* x, const char* y, std::size_t n) {
  const auto differ = [&](std::size_t at) { return word_at(x + at) ^ word_at(y + at); };
  if (n < 8 || n > 32) return std::memcmp(x, y, n) == 0;
  if (n <= 16) return (differ(0) | differ(n - 8)) == 0;
  return (differ(0) | differ(8) | differ(n - 16) | differ(n - 8)) == 0;
}

class IdHash {
 public:
  static constexpr std::size_t key_count = max_id_bytes / 8 + 3;

  explicit IdHash(const std::uint64_t* keys) { std::memcpy(keys_, keys, sizeof keys_); }

  // Hash an id of at most max_id_bytes.
  std::uint64_t operator()(std::string_view id) const {
    const char* text = id.data();
    std::size_t left = id.size();
    const std::uint64_t* key = keys_;
    Wide sum = 0;
    for (; left > 16; left -= 16, text += 16, key += 2)
      sum += multiply(word_at(text) + key[0], word_at(text + 8) + key[1]);
    const auto [first, second] = last_words(text, left);
    sum += multiply(first + key[0], second + key[1]);
    return fold(static_cast<std::uint64_t>(sum), static_cast<std::uint64_t>(sum >> 64), id.size());
  }

  // Hash the numbers of a context and an arm.
  std::uint64_t operator()(std::uint32_t context, std::uint32_t arm) const {
    return fold(std::uint64_t{context} << 32 | arm, std::uint64_t{arm} << 32 | context, 8);
  }

 private:
  __extension__ typedef unsigned __int128 Wide;
  static_assert(std::endian::native == std::endian::little);

  static Wide multiply(std::uint64_t x, std::uint64_t y) { return static_cast<Wide>(x) * y; }

  static std::uint64_t half_word(const char* text) {
    std::uint32_t value;
    std::memcpy(&value, text, sizeof value);
    return value;
  }

  // The last 0 to 16 bytes as two words that overlap where there are fewer than 16.
  static std::pair<std::uint64_t, std::uint64_t> last_words(const char* text, std::size_t n) {
    if (n >= 8) return {word_at(text), word_at(text + n - 8)};
    if (n >= 4) return {half_word(text), half_word(text + n - 4)};
    if (n == 0) return {0, 0};
    const auto byte = [text](std::size_t i) -> std::uint64_t {
      return static_cast<unsigned char>(text[i]);
    };
    return {byte(0) | byte(n / 2) << 8 | byte(n - 1) << 16, 0};
  }

  std::uint64_t fold(std::uint64_t low, std::uint64_t high, std::uint64_t length) const {
    const std::uint64_t* key = keys_ + key_count - 3;
    const Wide product = multiply(low ^ key[0], (high + length * 0x9e3779b97f4a7c15u) ^ key[1]);
    const auto folded = static_cast<std::uint64_t>(product ^ (product >> 64));
    const Wide mixed = multiply(folded ^ key[2], 0xd1342543de82ef95u);
    return static_cast<std::uint64_t>(mixed ^ (mixed >> 64));
  }

  std::uint64_t keys_[key_count];
};

}  // namespace mlkit::serving
