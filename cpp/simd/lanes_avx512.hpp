// The vector operations of the kernels on AVX-512: eight doubles, masks in mask registers.
#pragma once

#include <immintrin.h>

#include "simd/lanes.hpp"

namespace mlkit::simd::MLKIT_ISA {
namespace {

struct Avx512 : Lanes<8> {
  using Mask = __mmask8;

  MLKIT_INLINE __m512i integer(Word value) { return (__m512i)value; }

  MLKIT_INLINE Mask less(Real a, Real b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
  MLKIT_INLINE Mask reaches(Real a, Real b) { return _mm512_cmp_pd_mask(a, b, _CMP_GE_OQ); }
  MLKIT_INLINE Mask equal(Word a, Word b) {
    return _mm512_cmpeq_epi64_mask(integer(a), integer(b));
  }
  MLKIT_INLINE Mask both(Mask a, Mask b) { return static_cast<Mask>(a & b); }
  MLKIT_INLINE Mask either(Mask a, Mask b) { return static_cast<Mask>(a | b); }
  MLKIT_INLINE Mask negate(Mask a) { return static_cast<Mask>(~a); }
  MLKIT_INLINE Real select(Mask mask, Real yes, Real no) {
    return _mm512_mask_blend_pd(mask, no, yes);
  }
  MLKIT_INLINE Word select(Mask mask, Word yes, Word no) {
    return (Word)_mm512_mask_blend_epi64(mask, integer(no), integer(yes));
  }
  MLKIT_INLINE Mask nowhere() { return 0; }
  MLKIT_INLINE unsigned bits(Mask mask) { return mask; }
  MLKIT_INLINE Real minimum(Real a, Real b) { return _mm512_min_pd(a, b); }
  MLKIT_INLINE Real maximum(Real a, Real b) { return _mm512_max_pd(a, b); }
  MLKIT_INLINE Real square_root(Real value) { return _mm512_sqrt_pd(value); }
  template <int shift>
  MLKIT_INLINE Word rotate_left(Word value) {
    return (Word)_mm512_rol_epi64(integer(value), shift);
  }
  MLKIT_INLINE Real gather(const double* table, Word index) {
    return _mm512_i64gather_pd(integer(index), table, 8);
  }
  MLKIT_INLINE Word gather(const std::uint64_t* table, Word index) {
    return (Word)_mm512_i64gather_epi64(integer(index), table, 8);
  }
  MLKIT_INLINE void scatter(double* to, Word index, Real value, unsigned lanes) {
    _mm512_mask_i64scatter_pd(to, static_cast<Mask>(lanes), integer(index), value, 8);
  }
  MLKIT_INLINE int compress(std::uint64_t* to, Mask mask, Word value) {
    store(to, (Word)_mm512_maskz_compress_epi64(mask, integer(value)));
    return __builtin_popcount(mask);
  }
};

}  // namespace
}  // namespace mlkit::simd::MLKIT_ISA
