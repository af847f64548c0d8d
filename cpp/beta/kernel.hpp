// The kernels that sampler.cpp chooses from.
#pragma once

#include "beta/sampler.hpp"

// sample: see sampler.hpp. valid_stretches: how many leading values are in range, counted in
// whole stretches of 64; the first invalid value, if any, is in the next one or in the rest.
#define MLKIT_DECLARE_KERNEL(isa)                                                           \
  namespace isa {                                                                           \
  void sample(Key key, std::uint64_t offset, const double* a, const double* b, double* out, \
              std::size_t count);                                                           \
  std::size_t valid_stretches(const double* values, std::size_t count);                     \
  }

namespace mlkit::beta {

MLKIT_DECLARE_KERNEL(baseline)
#if defined(__x86_64__)
MLKIT_DECLARE_KERNEL(avx2)
MLKIT_DECLARE_KERNEL(avx512)
#endif

}  // namespace mlkit::beta
