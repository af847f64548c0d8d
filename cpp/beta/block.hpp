// One block of Beta draws: a Beta(a, b) draw is X / (X + Y) with gamma draws X and Y of shapes a
// and b. A shape below 1 is raised by 1 and its draw multiplied by U^(1/shape), in logarithms,
// since the product underflows for small shapes (Johnk's and Ahrens and Dieter's boost).
#pragma once

#include "beta/gamma.hpp"
#include "beta/sampler.hpp"

namespace mlkit::beta::MLKIT_ISA {
namespace {

constexpr std::uint64_t boost_domain = 0x626f6f73744a6f62ULL;  // tells boost streams apart

// Streams a block: element i draws from stream i % 8, whatever the width of the vectors.
constexpr std::size_t streams = 8;

template <class V>
class Block {
 public:
  // The arrays are written before they are read: to zero 41 KB for each block would cost.
  // cppcheck-suppress uninitMemberVar
  Block(Key key, std::uint64_t first) : key_(key), first_(first) {}

  void draw(const double* a, const double* b, double* out, std::size_t count) {
    attempt(a, b, count);
    settle();
    retry();
    if (boosted_) boost(a, b, count);
    divide(out, count);
  }

 private:
  using Real = typename V::Real;
  using Word = typename V::Word;
  using Mask = typename V::Mask;
  static constexpr std::size_t width = V::width;

  // Gammas of a's at 0, of b's at block_size.
  alignas(64) double shape_[2 * block_size];
  alignas(64) double drawn_[2 * block_size];
  alignas(64) std::uint64_t normal_words_[2 * block_size];
  alignas(64) std::uint64_t uniform_words_[2 * block_size];
  alignas(64) std::uint64_t queue_[2 * block_size + 2 * streams];
  std::size_t queued_ = 0;
  bool boosted_ = false;
  Key key_;
  std::uint64_t first_;

  MLKIT_INLINE Real load(const double* values, std::size_t at, std::size_t count) {
    if (at + width <= count) return V::load(values + at);
    double padded[width];
    for (std::size_t lane = 0; lane < width; ++lane)
      padded[lane] = at + lane < count ? values[at + lane] : 1.0;
    return V::load(padded);
  }

  Sfc64<V> stream(std::uint64_t domain, std::size_t lane) const {
    const Word number = V::count_from(first_ / block_size * streams + lane);
    return Sfc64<V>::seeded(key_.words[0] ^ domain, key_.words[1], number);
  }

  // What the loop of first attempts keeps in registers.
  struct Progress {
    std::size_t queued;
    Mask boosted;
  };

  [[gnu::always_inline]] void draw_gamma(std::size_t at, Word slot, Real parameter,
                                         Word normal_word, Word uniform_word, Progress& progress) {
    const Mask small = V::less(parameter, V::real(1.0));
    const Real shape = V::select(small, parameter + 1.0, parameter);
    Real drawn;
    const Mask done = Gamma<V>::attempt(shape, normal_word, uniform_word, drawn);
    V::store(shape_ + at, shape);
    V::store(drawn_ + at, drawn);
    V::store(normal_words_ + at, normal_word);
    V::store(uniform_words_ + at, uniform_word);
    progress.queued += V::compress(queue_ + progress.queued, V::negate(done), slot);
    progress.boosted = V::either(progress.boosted, small);
  }

  void attempt(const double* a, const double* b, std::size_t count) {
    Progress progress{0, V::nowhere()};
    for (std::size_t lane = 0; lane < streams; lane += width) {
      Sfc64<V> words = stream(0, lane);
      Word slot = V::count_from(lane);
      for (std::size_t at = lane; at < count; at += streams, slot = slot + streams) {
        const Word normal_a = words.next(), normal_b = words.next(), uniforms = words.next();
        draw_gamma(at, slot, load(a, at, count), normal_a, uniforms, progress);
        draw_gamma(block_size + at, slot + block_size, load(b, at, count), normal_b, uniforms << 32,
                   progress);
      }
    }
    queued_ = progress.queued;
    boosted_ = V::bits(progress.boosted) != 0;
  }

  // Fill the queue's last vector with copies of its last entry, which then computes the same.
  void pad_queue() {
    for (std::size_t lane = 0; lane < width && queued_ != 0; ++lane)
      queue_[queued_ + lane] = queue_[queued_ - 1];
  }

  void settle() {
    pad_queue();
    std::size_t left = 0;
    for (std::size_t at = 0; at < queued_; at += width) {
      const Word slot = V::load(queue_ + at);
      Real drawn;
      const Mask done = Gamma<V>::settle(V::gather(shape_, slot), V::gather(normal_words_, slot),
                                         V::gather(uniform_words_, slot), drawn);
      V::scatter(drawn_, slot, drawn, V::bits(done));
      left += V::compress(queue_ + left, V::negate(done), slot);
    }
    queued_ = left;
  }

  void retry() {
    pad_queue();
    for (std::size_t at = 0; at < queued_; at += width) {
      const Word slot = V::load(queue_ + at);
      const Word number = ((slot & (block_size - 1)) + first_) * 2 + slot / block_size;
      const auto stream = Sfc64<V>::seeded(key_.words[0] ^ retry_domain, key_.words[1], number);
      const Real drawn = Gamma<V>::retry(V::gather(shape_, slot), V::gather(normal_words_, slot),
                                         V::gather(uniform_words_, slot), stream);
      V::scatter(drawn_, slot, drawn, (1u << width) - 1);
    }
  }

  // log(U^(1/parameter)) where the shape was raised, else 0.
  MLKIT_INLINE Real log_boost(Real parameter, Word word) {
    const Real value = log<V>(uniform<V>(word)) / parameter;
    return V::select(V::less(parameter, V::real(1.0)), value, V::real(0.0));
  }

  // Replace X and Y by values in [0, 1] that have their ratio and are not both 0.
  void boost(const double* a, const double* b, std::size_t count) {
    for (std::size_t lane = 0; lane < streams; lane += width) {
      Sfc64<V> words = stream(boost_domain, lane);
      for (std::size_t at = lane; at < count; at += streams) {
        const Real boost_a = log_boost(load(a, at, count), words.next());
        const Real boost_b = log_boost(load(b, at, count), words.next());
        const Mask changed =
            V::either(V::less(boost_a, V::real(0.0)), V::less(boost_b, V::real(0.0)));
        const Real x = V::load(drawn_ + at), y = V::load(drawn_ + block_size + at);
        const Real difference = log<V>(y / x) + (boost_b - boost_a);
        const Real lesser = exp_of_negative<V>(-V::magnitude(difference));
        const Mask y_greater = V::less(V::real(0.0), difference);
        const Real one = V::real(1.0);
        V::store(drawn_ + at, V::select(changed, V::select(y_greater, lesser, one), x));
        V::store(drawn_ + block_size + at,
                 V::select(changed, V::select(y_greater, one, lesser), y));
      }
    }
  }

  // X / (X + Y), by the lesser part: near 1 a quotient would carry the rounding of X + Y.
  void divide(double* out, std::size_t count) {
    for (std::size_t at = 0; at < count; at += width) {
      const Real x = V::load(drawn_ + at), y = V::load(drawn_ + block_size + at);
      const Real lesser = V::minimum(x, y) / (x + y);
      const Real ratio = V::select(V::less(y, x), 1.0 - lesser, lesser);
      if (at + width <= count) {
        V::store(out + at, ratio);
      } else {
        for (std::size_t lane = 0; at + lane < count; ++lane) out[at + lane] = ratio[lane];
      }
    }
  }
};

}  // namespace
}  // namespace mlkit::beta::MLKIT_ISA
