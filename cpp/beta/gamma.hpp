// Draws from the gamma distribution with shape >= 1: Marsaglia and Tsang, "A Simple Method for
// Generating Gamma Variables" (2000), on normal draws from a ziggurat.
//
// With d = shape - 1/3, c = 1 / sqrt(9 d), x normal and v = (1 + c x)^3, the draw d v is
// accepted when log u < x^2/2 + d - d v + d log v. Nine of ten draws or more are settled
// without logarithms: by u < 1 - 0.1415 x^4 c^2 where t = c x > -1/2 (the logarithm of the
// acceptance is c^-2 (-t^4/12 + t^5/15 - t^6/18 + ...), which is above -0.1413 t^4 / c^2
// there), elsewhere by the paper's u < 1 - 0.0331 x^4.
//
// The other lanes are queued and finished side by side: `settle` looks at the logarithms with
// the same random bits, `retry` draws again from a stream that belongs to this one draw. So a
// draw depends on nothing but its own place in the stream and its own shape.
#pragma once

#include "random/sfc64.hpp"
#include "random/ziggurat_tables.hpp"
#include "simd/elementary.hpp"

namespace mlkit::beta::MLKIT_ISA {
namespace {

constexpr std::uint64_t retry_domain = 0x72657472794a6f62ULL;  // tells retry streams apart

template <class V>
struct Gamma {
  using Real = typename V::Real;
  using Word = typename V::Word;
  using Mask = typename V::Mask;

  // A normal from one word, right with probability 0.995, or known to be not yet right.
  struct Normal {
    Real x;
    Mask sure;
  };
  MLKIT_INLINE Normal quick_normal(Word word) {
    const Word layer = V::gather(random::ziggurat_layers, word & (random::ziggurat_size - 1));
    const Real t = signed_uniform<V>(word);
    return {t * V::as_real(layer), V::less(V::magnitude(t), V::as_real(layer << 32))};
  }

  // What a shape and a normal lead to.
  struct Candidate {
    Real d, v, square, squeeze;
    Mask positive;
  };
  MLKIT_INLINE Candidate candidate(Real shape, Real x) {
    const Real d = shape - 1.0 / 3.0;
    const Real t = x / V::square_root(d * 9.0);
    const Real w = t + 1.0;
    const Real square = x * x;
    const Mask near = V::less(V::real(-0.5), t);
    const Real slope = V::select(near, t * t * 0.1415, square * 0.0331);
    return {d, w * w * w, square, 1.0 - square * slope, V::less(V::real(0.0), w)};
  }

  // The upper 32 bits of a word give u = (bits + f) / 2^32; f, uniform on (0, 1), is drawn only
  // where u has to be known better than its least upper bound, which is this (or a bit above).
  MLKIT_INLINE Real upper_uniform(Word word) {
    return V::as_real((word >> 12) | 0x3ff0000000000000ULL) - (1.0 - 0x1p-32);
  }
  MLKIT_INLINE Real refined_uniform(Word word, Real fraction) {
    const Real bits = V::as_real((word >> 32) | 0x4330000000000000ULL) - 0x1p52;
    return (bits + fraction) * 0x1p-32;
  }

  // Return a draw, and whether it is final; where it is not, it has to be looked at again. The squeeze alone refuses
  // every candidate that is not positive: then c x <= -1, so x^4 >= 81 d^2 >= 36.
  MLKIT_INLINE Mask attempt(Real shape, Word normal_word, Word uniform_word, Real& drawn) {
    const Normal normal = quick_normal(normal_word);
    const Candidate made = candidate(shape, normal.x);
    drawn = made.d * made.v;
    return V::both(normal.sure, V::less(upper_uniform(uniform_word), made.squeeze));
  }

  MLKIT_INLINE Mask passes(const Candidate& made, Real u) {
    const Real v = V::select(made.positive, made.v, V::real(1.0));
    const Real bound = made.square * 0.5 + made.d * ((1.0 - v) + log<V>(v));
    const Mask accepted = V::either(V::less(u, made.squeeze), V::less(log<V>(u), bound));
    return V::both(made.positive, accepted);
  }

  // Like `attempt`, with the logarithms.
  MLKIT_INLINE Mask settle(Real shape, Word normal_word, Word uniform_word, Real& drawn) {
    const Normal normal = quick_normal(normal_word);
    const Candidate made = candidate(shape, normal.x);
    drawn = made.d * made.v;
    return V::both(normal.sure, passes(made, upper_uniform(uniform_word)));
  }

  // Marsaglia's tail of the normal beyond r, for the chosen lanes.
  MLKIT_INLINE Real tail(Sfc64<V>& stream, Mask pending, Real x) {
    const Real sign = x;
    while (V::bits(pending) != 0) {
      const Real beyond = log<V>(uniform<V>(stream.next_where(pending))) / -random::ziggurat_tail;
      const Real height = log<V>(uniform<V>(stream.next_where(pending))) * -2.0;
      x = V::select(pending, beyond + random::ziggurat_tail, x);
      pending = V::both(pending, V::negate(V::less(beyond * beyond, height)));
    }
    constexpr std::uint64_t sign_bit = 0x8000000000000000ULL;
    return V::as_real((V::as_word(x) & ~sign_bit) | (V::as_word(sign) & sign_bit));
  }

  // Finish normals that a word began, with the wedges and the tail; lanes that are not sure
  // then have to start again.
  [[gnu::noinline]] static void finish(Normal& normal, Word word, Real height, Sfc64<V>& stream,
                                       Mask pending) {
    const Word index = word & (random::ziggurat_size - 1);
    const Mask base = V::equal(index, V::word(0));
    const Mask core =
        V::less(V::magnitude(signed_uniform<V>(word)), V::real(random::ziggurat_base_ratio));
    const Real bottom = V::gather(random::ziggurat_heights, index);
    const Real top = V::gather(random::ziggurat_heights, index + 1);
    const Real density = exp_of_negative<V>(normal.x * normal.x * -0.5);
    const Mask wedge = V::less(bottom + height * (top - bottom), density);
    normal.sure = V::either(V::either(normal.sure, wedge), base);
    normal.x = tail(stream, V::both(pending, V::both(base, V::negate(core))), normal.x);
  }

  MLKIT_INLINE Normal full_normal(Word word, Sfc64<V>& stream, Mask pending) {
    Normal normal = quick_normal(word);
    const Real height = uniform<V>(stream.next());  // drawn always: the lanes stay in step
    if (V::bits(V::both(pending, V::negate(normal.sure))) != 0)
      finish(normal, word, height, stream, pending);
    return normal;
  }

  // Draw until every lane has been accepted, beginning with the words of the first attempt.
  MLKIT_INLINE Real retry(Real shape, Word normal_word, Word uniform_word, Sfc64<V> stream) {
    Real drawn = V::real(0.0);
    Mask pending = V::equal(V::word(0), V::word(0));
    while (V::bits(pending) != 0) {
      const Normal normal = full_normal(normal_word, stream, pending);
      const Candidate made = candidate(shape, normal.x);
      const Real u = refined_uniform(uniform_word, uniform<V>(stream.next()));
      const Mask accepted = V::both(V::both(pending, normal.sure), passes(made, u));
      drawn = V::select(accepted, made.d * made.v, drawn);
      pending = V::both(pending, V::negate(accepted));
      normal_word = stream.next();
      uniform_word = stream.next();
    }
    return drawn;
  }
};

}  // namespace
}  // namespace mlkit::beta::MLKIT_ISA
