// Draws from Beta distributions, reproducible on every machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlkit::beta {

// Names a stream of draws; any two words will do.
struct Key {
  std::uint64_t words[2];
};

// Spread a seed over a key; near seeds give unrelated keys.
Key key_from_seed(std::uint64_t seed);

// Draws are made in blocks; a call may start at a multiple of this in its stream.
inline constexpr std::size_t block_size = 512;

// The smallest and the largest parameter that the sampler takes.
inline constexpr double smallest_parameter = 1e-300;
inline constexpr double largest_parameter = 1e15;

// Draw out[i] from Beta(a[i], b[i]) for i < count, on the instruction set that is selected.
//
// out[i] depends on key, offset + i, a[i] and b[i], and on nothing else: neither on the
// instruction set nor on the rest of the call. `offset` is a multiple of block_size. The
// parameters are in range (see first_invalid). `out` may be `a` or `b` itself.
// Throws std::invalid_argument if MLKIT_SIMD names a set that is not available.
void sample(Key key, std::uint64_t offset, const double* a, const double* b, double* out,
            std::size_t count);

// The index of the first value that is no parameter (out of range or NaN), or `count`.
std::size_t first_invalid(const double* values, std::size_t count);

}  // namespace mlkit::beta
