// Logarithm and exponential from + - * / alone, so that every instruction set gives the same
// bits (a libm's own results differ with the machine's FMA).
#pragma once

#include "simd/lanes.hpp"

namespace mlkit::simd::MLKIT_ISA {
namespace {

// ln 2 in two parts; the upper one times an exponent is exact.
constexpr double ln2_high = 6.93147180369123816490e-01;
constexpr double ln2_low = 1.90821492927058770002e-10;

// Added to an integer below 2^51 in magnitude, shows it in the low bits of the double.
constexpr double integer_shift = 0x1.8p52;

// The logarithm of positive normal numbers, to 1 ulp. Method and coefficients of fdlibm's
// e_log.c: x = 2^k (1 + f), s = f / (2 + f), log(1 + f) = f - (f^2/2 - s (f^2/2 + R(s^2))).
template <class V>
MLKIT_INLINE typename V::Real log(typename V::Real x) {
  using Real = typename V::Real;
  using Word = typename V::Word;
  constexpr std::uint64_t root_half = 0x3fe6a09e00000000ULL;  // about sqrt(1/2)
  const Word shifted = V::as_word(x) + (0x3ff0000000000000ULL - root_half);
  const Word exponent = (shifted >> 52) | 0x4330000000000000ULL;
  const Real k = V::as_real(exponent) - (0x1p52 + 1023.0);
  const Real f = V::as_real((shifted & 0x000fffffffffffffULL) + root_half) - 1.0;
  const Real s = f / (f + 2.0);
  const Real z = s * s;
  Real r = z * 1.479819860511658591e-01 + 1.531383769920937332e-01;
  r = r * z + 1.818357216161805012e-01;
  r = r * z + 2.222219843214978396e-01;
  r = r * z + 2.857142874366239149e-01;
  r = r * z + 3.999999999940941908e-01;
  r = r * z + 6.666666666666735130e-01;
  r = r * z;
  const Real half_square = f * f * 0.5;
  const Real tail = s * (half_square + r) + k * ln2_low;
  return k * ln2_high - ((half_square - tail) - f);
}

template <class V>
MLKIT_INLINE typename V::Real power_of_two(typename V::Real shifted_integer) {
  return V::as_real((V::as_word(shifted_integer) + 1023) << 52);
}

// The exponentials of numbers x <= 0, to 1 ulp; subnormal results and 0 included. Taylor's
// series after x = k ln 2 + r, |r| <= ln(2) / 2. Each is a chain of operations that wait for one
// another: those of several vectors fill the gaps.
template <class V, std::size_t count>
MLKIT_INLINE void exp_of_negative(typename V::Real (&x)[count]) {
  using Real = typename V::Real;
  constexpr double series[] = {2.08767569878681e-09,
                               2.505210838544172e-08,
                               2.7557319223985893e-07,
                               2.7557319223985893e-06,
                               2.48015873015873e-05,
                               1.984126984126984e-04,
                               1.388888888888889e-03,
                               8.333333333333333e-03,
                               4.1666666666666664e-02,
                               1.6666666666666666e-01,
                               0.5,
                               1.0,
                               1.0};
  Real k[count], r[count], sum[count];
  for (std::size_t i = 0; i < count; ++i) {
    x[i] = V::select(V::less(x[i], V::real(-746.0)), V::real(-746.0), x[i]);
    k[i] = (x[i] * 1.4426950408889634 + integer_shift) - integer_shift;
    r[i] = (x[i] - k[i] * ln2_high) - k[i] * ln2_low;
    sum[i] = V::real(1.6059043836821613e-10);
  }
  for (const double term : series)
    for (std::size_t i = 0; i < count; ++i) sum[i] = sum[i] * r[i] + term;
  // In two steps, since 2^k alone may be below the normal range.
  for (std::size_t i = 0; i < count; ++i) {
    const Real half = k[i] * 0.5 + integer_shift;
    const Real rest = (k[i] - (half - integer_shift)) + integer_shift;
    x[i] = sum[i] * power_of_two<V>(half) * power_of_two<V>(rest);
  }
}

template <class V>
MLKIT_INLINE typename V::Real exp_of_negative(typename V::Real x) {
  typename V::Real one[1] = {x};
  exp_of_negative<V>(one);
  return one[0];
}

}  // namespace
}  // namespace mlkit::simd::MLKIT_ISA
