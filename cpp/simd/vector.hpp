// The vector that a kernel computes on: the widest one of its instruction set.
#pragma once

#if defined(MLKIT_ISA_avx512)
#include "simd/lanes_avx512.hpp"
#elif defined(MLKIT_ISA_avx2)
#include "simd/lanes_avx2.hpp"
#else
#include "simd/lanes.hpp"
#endif

namespace mlkit::simd::MLKIT_ISA {
namespace {

#if defined(MLKIT_ISA_avx512)
using Vector = Avx512;
#elif defined(MLKIT_ISA_avx2)
using Vector = Avx2;
#elif defined(MLKIT_ISA_wide)  // built by the tests: the lanes of AVX-512 on any machine
using Vector = Lanes<8>;
#else
using Vector = Lanes<2>;
#endif

}  // namespace
}  // namespace mlkit::simd::MLKIT_ISA
