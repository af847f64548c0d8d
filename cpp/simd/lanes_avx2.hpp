// The vector operations of the kernels on AVX2: four doubles.
#pragma once

#include <immintrin.h>

#include "simd/lanes.hpp"

namespace mlkit::simd::MLKIT_ISA {
namespace {

// Row m moves the 64-bit lanes that are set in m to the front, as pairs of 32-bit lanes.
struct Packing {
  alignas(32) std::uint32_t rows[16][8];
  constexpr Packing() : rows{} {
    for (unsigned mask = 0; mask < 16; ++mask) {
      unsigned count = 0;
      for (unsigned lane = 0; lane < 4; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        rows[mask][2 * count] = 2 * lane;
        rows[mask][2 * count + 1] = 2 * lane + 1;
        ++count;
      }
    }
  }
};
constexpr Packing packing{};

struct Avx2 : Lanes<4> {
  MLKIT_INLINE __m256i integer(Word value) { return (__m256i)value; }

  MLKIT_INLINE Mask less(Real a, Real b) { return (Mask)_mm256_cmp_pd(a, b, _CMP_LT_OQ); }
  MLKIT_INLINE Mask reaches(Real a, Real b) { return (Mask)_mm256_cmp_pd(a, b, _CMP_GE_OQ); }
  MLKIT_INLINE Real select(Mask mask, Real yes, Real no) {
    return _mm256_blendv_pd(no, yes, (__m256d)mask);
  }
  MLKIT_INLINE Word select(Mask mask, Word yes, Word no) {
    return (Word)_mm256_blendv_epi8(integer(no), integer(yes), (__m256i)mask);
  }
  MLKIT_INLINE unsigned bits(Mask mask) { return _mm256_movemask_pd((__m256d)mask); }
  MLKIT_INLINE Real minimum(Real a, Real b) { return _mm256_min_pd(a, b); }
  MLKIT_INLINE Real maximum(Real a, Real b) { return _mm256_max_pd(a, b); }
  MLKIT_INLINE Real square_root(Real value) { return _mm256_sqrt_pd(value); }
  // Four loads: measured faster than the gather instruction (Zen 3: 7.9 against 8.5 ns per draw).
  template <class Number>
  MLKIT_INLINE __m256d pick(const Number* table, Word index) {
    const auto* from = reinterpret_cast<const double*>(table);
    const __m128d low = _mm_loadh_pd(_mm_load_sd(from + index[0]), from + index[1]);
    const __m128d high = _mm_loadh_pd(_mm_load_sd(from + index[2]), from + index[3]);
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(low), high, 1);
  }
  MLKIT_INLINE Real gather(const double* table, Word index) { return pick(table, index); }
  MLKIT_INLINE Word gather(const std::uint64_t* table, Word index) {
    return (Word)_mm256_castpd_si256(pick(table, index));
  }
  MLKIT_INLINE int compress(std::uint64_t* to, Mask mask, Word value) {
    const unsigned set = bits(mask);
    const __m256i row = _mm256_load_si256(reinterpret_cast<const __m256i*>(packing.rows[set]));
    store(to, (Word)_mm256_permutevar8x32_epi32(integer(value), row));
    return __builtin_popcount(set);
  }
};

}  // namespace
}  // namespace mlkit::simd::MLKIT_ISA
