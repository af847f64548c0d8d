#include "serving/blake2b.hpp"

#include <bit>
#include <cstring>

#include "serving/id_hash.hpp"

namespace mlkit::serving {
namespace {

// The initialization vector, section 2.6.
constexpr std::array<std::uint64_t, 8> start = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

// The message schedule, section 2.7; round 10 begins again.
constexpr std::uint8_t schedule[10][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                           {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
                                           {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
                                           {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
                                           {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
                                           {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
                                           {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
                                           {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
                                           {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
                                           {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};
constexpr int rounds = 12;

// The mixing function G, section 3.1.
[[gnu::always_inline]] inline void mix(std::uint64_t& a, std::uint64_t& b, std::uint64_t& c,
                                       std::uint64_t& d, std::uint64_t x, std::uint64_t y) {
  a += b + x;
  d = std::rotr(d ^ a, 32);
  c += d;
  b = std::rotr(b ^ c, 24);
  a += b + y;
  d = std::rotr(d ^ a, 16);
  c += d;
  b = std::rotr(b ^ c, 63);
}

}  // namespace

KeyedBlake2b::KeyedBlake2b(std::string_view key) : key_(padded(key)), initial_(start) {
  // The parameter block: digest and key lengths, fanout 1 and depth 1.
  initial_[0] ^= 0x01010000 ^ key.size() << 8 ^ digest_bytes;
  keyed_ = initial_;
  compress(keyed_, key_.data(), block_bytes, false);
}

KeyedBlake2b::Block KeyedBlake2b::padded(std::string_view bytes) {
  Block block{};
  std::memcpy(block.data(), bytes.data(), bytes.size());
  return block;
}

KeyedBlake2b::Digest KeyedBlake2b::operator()(std::string_view message) const {
  State state = keyed_;
  std::uint64_t counted = block_bytes;
  if (message.empty()) {
    state = initial_;
    compress(state, key_.data(), counted, true);
  }
  while (!message.empty()) {
    const bool is_last = message.size() <= block_bytes;
    const std::string_view some = message.substr(0, block_bytes);
    counted += some.size();
    compress(state, is_last ? padded(some).data() : some.data(), counted, is_last);
    message.remove_prefix(some.size());
  }
  Digest digest;
  std::memcpy(digest.data(), state.data(), digest.size());
  return digest;
}

void KeyedBlake2b::compress(State& state, const char* block, std::uint64_t counted, bool is_last) {
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t m[16], v[16];
  for (std::size_t i = 0; i < 16; ++i) m[i] = word_at(block + 8 * i);
  for (std::size_t i = 0; i < 8; ++i) {
    v[i] = state[i];
    v[i + 8] = start[i];
  }
  v[12] ^= counted;
  if (is_last) v[14] = ~v[14];
  for (int round = 0; round < rounds; ++round) {
    const std::uint8_t* s = schedule[round % 10];
    mix(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
    mix(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
    mix(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
    mix(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
    mix(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
    mix(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
    mix(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
    mix(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
  }
  for (std::size_t i = 0; i < 8; ++i) state[i] ^= v[i] ^ v[i + 8];
}

}  // namespace mlkit::serving
