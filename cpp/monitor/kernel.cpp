// The kernel of the pair monitor, compiled once for each instruction set.
#include "monitor/kernel.hpp"

#include "simd/elementary.hpp"
#include "simd/vector.hpp"

namespace mlkit::monitor::MLKIT_ISA {

using namespace mlkit::simd::MLKIT_ISA;

namespace {

using V = Vector;
using Real = V::Real;
using Mask = V::Mask;
constexpr std::size_t width = V::width;

// A deviation below this is rounding of the logarithms: the series does not vary.
constexpr double least_variance = 1e-24;

MLKIT_INLINE bool missing(double value) { return value != value; }
MLKIT_INLINE Mask present(Real value) { return V::reaches(value, value); }

MLKIT_INLINE void update(double* field, Mask where, Real value) {
  V::store(field, V::select(where, value, V::load(field)));
}

void prepare(const double* close, const double* base, std::size_t count, double* log_price,
             double* normalised, double* change) {
  const Real nan = V::real(__builtin_nan("")), one = V::real(1.0);
  for (std::size_t at = 0; at < count; at += width) {
    const Real price = V::load(close + at);
    const Mask known = present(price);
    const Real now = V::select(known, log<V>(V::select(known, price, one)), nan);
    V::store(change + at, now - V::load(log_price + at));
    V::store(normalised + at, price / V::load(base + at));
    V::store(log_price + at, now);
  }
}

// Spread, distance and crossings of `width` pairs.
MLKIT_INLINE void step_prices(Block& block, std::size_t at, double log_y, double normalised_y,
                              Real log_x, Real normalised_x, Real decay) {
  const Mask known = present(log_x);
  const Real one = V::real(1.0), zero = V::real(0.0);
  const Real weight = decay * V::load(block.bars + at) + one, share = one / weight;

  const Real now = log_y - V::load(block.beta + at) * log_x;
  const Real before = V::load(block.spread + at), gap = now - before;
  const Real mean = before + gap * share, deviation = now - mean;
  const Real square = decay * V::load(block.spread_square + at) + gap * deviation;

  const Real apart = normalised_y - normalised_x, distance_before = V::load(block.distance + at);
  const Real distant = distance_before + (apart * apart - distance_before) * share;

  const Real last = V::load(block.side + at);
  const Real below = V::select(V::less(deviation, zero), V::real(-1.0), last);
  const Real side = V::select(V::less(zero, deviation), one, below);
  const Real crossed = V::select(V::less(side * last, zero), one, zero);

  update(block.crossings + at, known, decay * V::load(block.crossings + at) + crossed);
  update(block.side + at, known, side);
  update(block.distance + at, known, distant);
  update(block.spread_square + at, known, square);
  update(block.spread + at, known, mean);
  update(block.bars + at, known, weight);
}

// Moments of the returns of `width` pairs.
MLKIT_INLINE void step_returns(Block& block, std::size_t at, double y, Real x, Real decay) {
  const Mask known = present(x);
  const Real one = V::real(1.0);
  const Real weight = decay * V::load(block.returns + at) + one, share = one / weight;
  const Real before_y = V::load(block.mean_y + at), before_x = V::load(block.mean_x + at);
  const Real gap_y = y - before_y, gap_x = x - before_x;
  const Real mean_y = before_y + gap_y * share, mean_x = before_x + gap_x * share;
  const Real off_y = y - mean_y, off_x = x - mean_x;
  update(block.square_y + at, known, decay * V::load(block.square_y + at) + gap_y * off_y);
  update(block.square_x + at, known, decay * V::load(block.square_x + at) + gap_x * off_x);
  update(block.product + at, known, decay * V::load(block.product + at) + gap_y * off_x);
  update(block.mean_y + at, known, mean_y);
  update(block.mean_x + at, known, mean_x);
  update(block.returns + at, known, weight);
}

void step(Block* blocks, const Bar& bar, std::size_t y, std::size_t begin, std::size_t end,
          double decay) {
  const double log_y = bar.log[y], normalised_y = bar.normalised[y], change_y = bar.change[y];
  if (missing(log_y)) return;
  const bool returned = !missing(change_y);
  const Real keep = V::real(decay);
  for (std::size_t column = begin; column < end; column += lanes, ++blocks) {
    for (std::size_t at = 0; at < lanes; at += width) {
      const std::size_t x = column + at;
      step_prices(*blocks, at, log_y, normalised_y, V::load(bar.log + x),
                  V::load(bar.normalised + x), keep);
      if (returned) step_returns(*blocks, at, change_y, V::load(bar.change + x), keep);
    }
  }
}

MLKIT_INLINE Real correlations(const Block& block, std::size_t at, Real least) {
  const Real nan = V::real(__builtin_nan("")), one = V::real(1.0);
  const Real weight = V::load(block.returns + at), floor = weight * least_variance;
  const Real square_y = V::load(block.square_y + at), square_x = V::load(block.square_x + at);
  const Mask vary = V::both(V::less(floor, square_y), V::less(floor, square_x));
  const Real scale = V::square_root(square_y) * V::square_root(square_x);
  const Real found = V::load(block.product + at) / scale;
  const Real bounded = V::maximum(-one, V::minimum(one, found));
  return V::select(V::both(vary, V::reaches(weight, least)), bounded, nan);
}

MLKIT_INLINE Real z_scores(const Block& block, std::size_t at, double log_y, Real log_x,
                           Real least) {
  const Real nan = V::real(__builtin_nan(""));
  const Real weight = V::load(block.bars + at), square = V::load(block.spread_square + at);
  const Real deviation = V::square_root(square / weight);
  const Real gap = log_y - V::load(block.beta + at) * log_x - V::load(block.spread + at);
  const Mask known = V::both(V::reaches(weight, least), present(gap));
  const Mask vary = V::less(weight * least_variance, square);
  return V::select(V::both(known, vary), gap / deviation, nan);
}

void evaluate(const Block* blocks, const double* log, std::size_t y, std::size_t begin,
              std::size_t end, double least, double* const* out) {
  const Real nan = V::real(__builtin_nan("")), enough = V::real(least);
  const double log_y = log[y];
  for (std::size_t column = begin; column < end; column += lanes, ++blocks) {
    for (std::size_t at = 0; at < lanes; at += width) {
      const std::size_t x = column + at;
      const Block& block = *blocks;
      const Mask known = V::reaches(V::load(block.bars + at), enough);
      V::store(out[correlation] + x, correlations(block, at, enough));
      V::store(out[distance] + x, V::select(known, V::load(block.distance + at), nan));
      V::store(out[zscore] + x, z_scores(block, at, log_y, V::load(log + x), enough));
      V::store(out[crossings] + x, V::select(known, V::load(block.crossings + at), nan));
    }
  }
}

}  // namespace

Kernel kernel() { return {prepare, step, evaluate}; }

}  // namespace mlkit::monitor::MLKIT_ISA
