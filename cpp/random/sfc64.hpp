// SFC64, Chris Doty-Humphrey's small fast counting generator (PractRand), one stream a lane.
//
// A state is never reached from a state with the same counter and other words, so streams that
// start with different (key, stream number) do not overlap within 2^64 words.
#pragma once

#include "simd/lanes.hpp"

namespace mlkit::beta::MLKIT_ISA {

using namespace mlkit::simd::MLKIT_ISA;

namespace {

template <class V>
struct Sfc64 {
  using Word = typename V::Word;
  Word a, b, c, counter;

  MLKIT_INLINE Sfc64 seeded(std::uint64_t key0, std::uint64_t key1, Word stream) {
    Sfc64 state{V::word(key0), V::word(key1), stream, V::word(1)};
    constexpr int mixing_rounds = 12;
    for (int round = 0; round < mixing_rounds; ++round) state.next();
    return state;
  }

  [[gnu::always_inline]] Word next() {
    const Word drawn = a + b + counter;
    counter = counter + 1;
    a = b ^ (b >> 11);
    b = c + (c << 3);
    c = V::template rotate_left<24>(c) + drawn;
    return drawn;
  }

  // Step only the chosen lanes; the others draw what they would draw next.
  [[gnu::always_inline]] Word next_where(typename V::Mask chosen) {
    const Sfc64 before = *this;
    const Word drawn = next();
    a = V::select(chosen, a, before.a);
    b = V::select(chosen, b, before.b);
    c = V::select(chosen, c, before.c);
    counter = V::select(chosen, counter, before.counter);
    return drawn;
  }
};

// Uniform on (0, 1): odd multiples of 2^-53.
template <class V>
MLKIT_INLINE typename V::Real uniform(typename V::Word word) {
  return V::as_real((word >> 12) | 0x3ff0000000000000ULL) - (1.0 - 0x1p-53);
}

// Uniform on [-1, 1): multiples of 2^-51. Leaves the word's lowest 12 bits unused.
template <class V>
MLKIT_INLINE typename V::Real signed_uniform(typename V::Word word) {
  return V::as_real((word >> 12) | 0x4000000000000000ULL) - 3.0;
}

}  // namespace
}  // namespace mlkit::beta::MLKIT_ISA
