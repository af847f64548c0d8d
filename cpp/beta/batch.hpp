// Batches of draws from strided arrays, in threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "beta/sampler.hpp"

namespace mlkit::beta {

// An array of doubles or floats that lies anywhere: strides in bytes, 0 for a broadcast axis.
struct Operand {
  const char* data = nullptr;
  bool single = false;  // float32
  std::vector<std::ptrdiff_t> shape;
  std::vector<std::ptrdiff_t> strides;

  std::size_t size() const;

  // The elements as they lie in memory, or nullptr if they are not contiguous doubles.
  const double* contiguous() const;

  // Copy elements [begin, begin + count), in C order.
  void copy(std::size_t begin, std::size_t count, double* to) const;
};

// The flat index of the first element that is no parameter, or the size.
std::size_t first_invalid(const Operand& values);

// Draw like beta::sample; `threads` share the work, and change nothing but the time.
void sample(Key key, std::uint64_t offset, const Operand& a, const Operand& b, double* out,
            std::size_t count, std::size_t threads);

}  // namespace mlkit::beta
