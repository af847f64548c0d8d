// A vector of doubles, one pair a lane, for the kernel that includes this header. Everything
// lives in the namespace of the instruction set (see kernels.cmake).
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mlkit::pairs::MLKIT_ISA {

#if defined(MLKIT_ISA_avx512)
inline constexpr int lanes = 8;
#elif defined(MLKIT_ISA_avx2)
inline constexpr int lanes = 4;
#else
inline constexpr int lanes = 2;
#endif

typedef double Vector __attribute__((vector_size(lanes * sizeof(double))));

// a * b + c, rounded once where the instruction set offers it.
static inline Vector fma(Vector a, Vector b, Vector c) {
#if defined(MLKIT_ISA_avx512)
  return reinterpret_cast<Vector>(_mm512_fmadd_pd(a, b, c));
#elif defined(MLKIT_ISA_avx2)
  return reinterpret_cast<Vector>(_mm256_fmadd_pd(a, b, c));
#else
  return a * b + c;
#endif
}

static inline Vector reciprocal_root(Vector a) {
  Vector root{};
  for (int lane = 0; lane < lanes; ++lane) root[lane] = 1.0 / __builtin_sqrt(a[lane]);
  return root;
}

}  // namespace mlkit::pairs::MLKIT_ISA
