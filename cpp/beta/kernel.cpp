// The sampler's kernel, compiled once for each instruction set.
#include "beta/kernel.hpp"

#include "beta/block.hpp"
#include "simd/vector.hpp"

namespace mlkit::beta::MLKIT_ISA {

void sample(Key key, std::uint64_t offset, const double* a, const double* b, double* out,
            std::size_t count) {
  for (std::size_t at = 0; at < count; at += block_size) {
    const std::size_t length = count - at < block_size ? count - at : block_size;
    Block<Vector>(key, offset + at).draw(a + at, b + at, out + at, length);
  }
}

// Doubles that are not negative are ordered as their bits are, and the sign bit of one of the
// two differences is set by anything else and by what is outside the range.
std::size_t valid_stretches(const double* values, std::size_t count) {
  using V = Vector;
  constexpr std::size_t stretch = 64;
  const auto low = V::as_word(V::real(smallest_parameter));
  const auto high = V::as_word(V::real(largest_parameter));
  std::size_t at = 0;
  for (; at + stretch <= count; at += stretch) {
    auto outside = V::word(0);
    for (std::size_t i = 0; i < stretch; i += V::width) {
      const auto bits = V::as_word(V::load(values + at + i));
      outside |= (bits - low) | (high - bits);
    }
    std::uint64_t words[V::width], any = 0;
    V::store(words, outside);
    for (const auto word : words) any |= word;
    if (any >> 63 != 0) break;
  }
  return at;
}

}  // namespace mlkit::beta::MLKIT_ISA
