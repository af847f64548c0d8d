// The vector operations of the kernels, in plain C++ for any width.
//
// `Lanes<W>` computes on W doubles with the compilers' vector extension (GCC and Clang): the
// operators + - * / and the shifts and bit operations work on these types as on scalars.
// lanes_avx2.hpp and lanes_avx512.hpp override what an instruction set does better; every
// operation gives the same bits in all of them.
#pragma once

#include <cstdint>

#ifndef MLKIT_ISA  // outside of the kernels
#define MLKIT_ISA baseline
#endif

#define MLKIT_INLINE [[gnu::always_inline]] static inline

namespace mlkit::simd::MLKIT_ISA {
namespace {

// Spelt out for each width: GCC does not see that a vector of dependent size is a vector.
template <int W>
struct VectorTypes;
template <>
struct VectorTypes<2> {
  typedef double Real __attribute__((vector_size(16)));
  typedef std::uint64_t Word __attribute__((vector_size(16)));
  typedef std::int64_t Mask __attribute__((vector_size(16)));
};
template <>
struct VectorTypes<4> {
  typedef double Real __attribute__((vector_size(32)));
  typedef std::uint64_t Word __attribute__((vector_size(32)));
  typedef std::int64_t Mask __attribute__((vector_size(32)));
};
template <>
struct VectorTypes<8> {
  typedef double Real __attribute__((vector_size(64)));
  typedef std::uint64_t Word __attribute__((vector_size(64)));
  typedef std::int64_t Mask __attribute__((vector_size(64)));
};

template <int W>
struct Lanes {
  static constexpr int width = W;
  using Real = typename VectorTypes<W>::Real;
  using Word = typename VectorTypes<W>::Word;
  using Mask = typename VectorTypes<W>::Mask;  // all bits of a lane, or none

  template <class To, class From>
  MLKIT_INLINE To copy(const From& from) {
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
  }
  MLKIT_INLINE Real as_real(Word bits) { return copy<Real>(bits); }
  MLKIT_INLINE Word as_word(Real value) { return copy<Word>(value); }
  MLKIT_INLINE Real real(double value) { return Real{} + value; }
  MLKIT_INLINE Word word(std::uint64_t value) { return Word{} + value; }

  MLKIT_INLINE Real load(const double* from) {
    Real to;
    __builtin_memcpy(&to, from, sizeof to);
    return to;
  }
  MLKIT_INLINE Word load(const std::uint64_t* from) {
    Word to;
    __builtin_memcpy(&to, from, sizeof to);
    return to;
  }
  MLKIT_INLINE void store(double* to, Real value) { __builtin_memcpy(to, &value, sizeof value); }
  MLKIT_INLINE void store(std::uint64_t* to, Word value) {
    __builtin_memcpy(to, &value, sizeof value);
  }

  MLKIT_INLINE Mask less(Real a, Real b) { return copy<Mask>(a < b); }
  MLKIT_INLINE Mask reaches(Real a, Real b) { return copy<Mask>(a >= b); }
  MLKIT_INLINE Mask equal(Word a, Word b) { return copy<Mask>(a == b); }
  MLKIT_INLINE Mask both(Mask a, Mask b) { return a & b; }
  MLKIT_INLINE Mask either(Mask a, Mask b) { return a | b; }
  MLKIT_INLINE Mask negate(Mask a) { return ~a; }
  MLKIT_INLINE Real select(Mask mask, Real yes, Real no) {
    return as_real(select(mask, as_word(yes), as_word(no)));
  }
  MLKIT_INLINE Word select(Mask mask, Word yes, Word no) {
    const Word chosen = copy<Word>(mask);
    return (yes & chosen) | (no & ~chosen);
  }
  MLKIT_INLINE Mask nowhere() { return Mask{}; }
  MLKIT_INLINE unsigned bits(Mask mask) {
    unsigned set = 0;
    for (int lane = 0; lane < W; ++lane) set |= (mask[lane] & 1u) << lane;
    return set;
  }

  MLKIT_INLINE Real magnitude(Real value) {
    return as_real(as_word(value) & 0x7fffffffffffffffULL);
  }
  MLKIT_INLINE Real minimum(Real a, Real b) { return select(less(a, b), a, b); }
  MLKIT_INLINE Real maximum(Real a, Real b) { return select(less(b, a), a, b); }
  MLKIT_INLINE Real square_root(Real value) {
    Real root;
    for (int lane = 0; lane < W; ++lane) root[lane] = __builtin_sqrt(value[lane]);
    return root;
  }
  template <int shift>
  MLKIT_INLINE Word rotate_left(Word value) {
    return (value << shift) | (value >> (64 - shift));
  }

  MLKIT_INLINE Real gather(const double* table, Word index) {
    Real found;
    for (int lane = 0; lane < W; ++lane) found[lane] = table[index[lane]];
    return found;
  }
  MLKIT_INLINE Word gather(const std::uint64_t* table, Word index) {
    Word found;
    for (int lane = 0; lane < W; ++lane) found[lane] = table[index[lane]];
    return found;
  }
  MLKIT_INLINE void scatter(double* to, Word index, Real value, unsigned lanes) {
    for (; lanes != 0; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      to[index[lane]] = value[lane];
    }
  }
  // Store the chosen lanes side by side; up to W words at `to` may be overwritten.
  MLKIT_INLINE int compress(std::uint64_t* to, Mask mask, Word value) {
    int count = 0;
    for (int lane = 0; lane < W; ++lane) {
      to[count] = value[lane];
      count += mask[lane] & 1;
    }
    return count;
  }
  MLKIT_INLINE Word count_from(std::uint64_t first) {
    constexpr std::uint64_t numbers[] = {0, 1, 2, 3, 4, 5, 6, 7};
    return load(numbers) + first;
  }
};

}  // namespace
}  // namespace mlkit::simd::MLKIT_ISA
