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
    const Real moved = now - V::load(log_price + at);
    V::store(change + at, V::select(present(moved), moved, nan));
    V::store(normalised + at, price / V::load(base + at));
    V::store(log_price + at, now);
  }
}

// A bar waits for memory more than it computes: blocks to come are asked for early. Beyond the last
// one this is a hint without effect.
constexpr std::size_t ahead = 8;
MLKIT_INLINE void prefetch(const Block* block) {
  const char* const first = reinterpret_cast<const char*>(block);
  for (std::size_t at = 0; at < sizeof(Block); at += 64) __builtin_prefetch(first + at, 1);
}

// What one bar shows of `width` pairs.
struct Prices {
  Mask known;
  Real spread, gap;  // gap: square of that of the normalised prices
};

MLKIT_INLINE Prices prices_of(const Block& block, std::size_t at, const Bar& bar, std::size_t y,
                              std::size_t x) {
  const Real log_x = V::load(bar.log + x);
  const Real apart = bar.normalised[y] - V::load(bar.normalised + x);
  return {present(log_x), bar.log[y] - V::load(block.beta + at) * log_x, apart * apart};
}

// Moves spread and distance on; returns how far the spread lies from its new mean.
MLKIT_INLINE Real step_prices(Block& block, std::size_t at, const Prices& now, Real decay) {
  const Real weight = decay * V::load(block.bars + at) + V::real(1.0), share = 1.0 / weight;
  const Real before = V::load(block.spread + at), gap = now.spread - before;
  const Real mean = before + gap * share, deviation = now.spread - mean;
  const Real square = decay * V::load(block.spread_square + at) + gap * deviation;
  const Real distance_before = V::load(block.distance + at);
  const Real distant = distance_before + (now.gap - distance_before) * share;
  update(block.distance + at, now.known, distant);
  update(block.spread_square + at, now.known, square);
  update(block.spread + at, now.known, mean);
  update(block.bars + at, now.known, weight);
  return deviation;
}

// Counts the pairs whose spread has changed sides, and returns them as bits.
MLKIT_INLINE unsigned step_sides(Block& block, std::size_t at, Mask known, Real deviation,
                                 Real decay) {
  const Real one = V::real(1.0), zero = V::real(0.0);
  const Real last = V::load(block.side + at);
  const Real below = V::select(V::less(deviation, zero), V::real(-1.0), last);
  const Real side = V::select(V::less(zero, deviation), one, below);
  const Mask crossed = V::both(known, V::less(side * last, zero));
  const Real count = decay * V::load(block.crossings + at) + V::select(crossed, one, zero);
  update(block.crossings + at, known, count);
  update(block.side + at, known, side);
  return V::bits(crossed);
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
          double decay, std::uint8_t* crossed) {
  const bool known = !missing(bar.log[y]), returned = !missing(bar.change[y]);
  const Real keep = V::real(decay);
  for (std::size_t column = begin; column < end; column += lanes, ++blocks) {
    prefetch(blocks + ahead);
    unsigned changed = 0;
    for (std::size_t at = 0; known && at < lanes; at += width) {
      const std::size_t x = column + at;
      const Prices now = prices_of(*blocks, at, bar, y, x);
      const Real deviation = step_prices(*blocks, at, now, keep);
      changed |= step_sides(*blocks, at, now.known, deviation, keep) << at;
      if (returned) step_returns(*blocks, at, bar.change[y], V::load(bar.change + x), keep);
    }
    if (crossed != nullptr) *crossed++ = static_cast<std::uint8_t>(changed);
  }
}

// Whether what left was so much of a sum that its digits went with it.
MLKIT_INLINE Mask loses_digits(Real before, Real after) { return V::less(after, before * 1e-4); }

// The inverse of `step_prices`, but for pairs that lose digits: those are returned.
MLKIT_INLINE Mask leave_prices(Block& block, std::size_t at, const Prices& old) {
  const Real weight = V::load(block.bars + at) - 1.0, share = 1.0 / weight;
  const Real before = V::load(block.spread + at), gap = old.spread - before;
  const Real mean = before - gap * share, square_before = V::load(block.spread_square + at);
  const Real square = square_before - gap * (old.spread - mean);
  const Real distance_before = V::load(block.distance + at);
  const Real distant = distance_before - (old.gap - distance_before) * share;
  update(block.distance + at, old.known, distant);
  update(block.spread_square + at, old.known, square);
  update(block.spread + at, old.known, mean);
  update(block.bars + at, old.known, weight);
  const Mask lost =
      V::either(loses_digits(square_before, square), loses_digits(distance_before, distant));
  return V::both(old.known, V::either(lost, V::less(weight, V::real(1.0))));
}

// The inverse of `step_returns`, likewise.
MLKIT_INLINE Mask leave_returns(Block& block, std::size_t at, double y, Real x) {
  const Mask known = present(x);
  const Real weight = V::load(block.returns + at) - 1.0, share = 1.0 / weight;
  const Real before_y = V::load(block.mean_y + at), before_x = V::load(block.mean_x + at);
  const Real gap_y = y - before_y, gap_x = x - before_x;
  const Real mean_y = before_y - gap_y * share, mean_x = before_x - gap_x * share;
  const Real off_y = y - mean_y, off_x = x - mean_x;
  const Real yy = V::load(block.square_y + at), xx = V::load(block.square_x + at);
  const Real square_y = yy - gap_y * off_y, square_x = xx - gap_x * off_x;
  update(block.square_y + at, known, square_y);
  update(block.square_x + at, known, square_x);
  update(block.product + at, known, V::load(block.product + at) - gap_y * off_x);
  update(block.mean_y + at, known, mean_y);
  update(block.mean_x + at, known, mean_x);
  update(block.returns + at, known, weight);
  const Mask lost = V::either(loses_digits(yy, square_y), loses_digits(xx, square_x));
  return V::both(known, V::either(lost, V::less(weight, V::real(1.0))));
}

MLKIT_INLINE void leave_crossings(Block& block, std::size_t at, unsigned crossed) {
  const V::Word bit = (V::word(crossed) >> V::count_from(at)) & V::word(1);
  const Real one = V::select(V::equal(bit, V::word(1)), V::real(1.0), V::real(0.0));
  V::store(block.crossings + at, V::load(block.crossings + at) - one);
}

// The sums of a block from the bars of the window; sides and crossings stay.
void renew_block(Block& block, const Window& window, std::size_t y, std::size_t column) {
  const Real zero = V::real(0.0), keep = V::real(1.0);
  double* const sums[] = {block.bars,     block.spread, block.spread_square, block.distance,
                          block.returns,  block.mean_y, block.mean_x,        block.square_y,
                          block.square_x, block.product};
  for (double* field : sums)
    for (std::size_t at = 0; at < lanes; at += width) V::store(field + at, zero);
  for (std::size_t bar = 0; bar < window.count; ++bar) {
    const std::size_t slot = (window.oldest + bar) % window.slots * window.stride;
    const Bar now{window.first.log + slot, window.first.normalised + slot,
                  window.first.change + slot};
    if (missing(now.log[y])) continue;
    for (std::size_t at = 0; at < lanes; at += width) {
      const std::size_t x = column + at;
      step_prices(block, at, prices_of(block, at, now, y, x), keep);
      if (!missing(now.change[y]))
        step_returns(block, at, now.change[y], V::load(now.change + x), keep);
    }
  }
}

void leave(Block* blocks, const Bar& bar, const std::uint8_t* crossed, const Window& window,
           bool renew, std::size_t y, std::size_t begin, std::size_t end) {
  const bool known = !missing(bar.log[y]), returned = !missing(bar.change[y]);
  for (std::size_t column = begin; column < end; column += lanes, ++blocks) {
    unsigned lost = 0;
    for (std::size_t at = 0; known && at < lanes; at += width) {
      const std::size_t x = column + at;
      leave_crossings(*blocks, at, *crossed);
      lost |= V::bits(leave_prices(*blocks, at, prices_of(*blocks, at, bar, y, x)));
      if (returned)
        lost |= V::bits(leave_returns(*blocks, at, bar.change[y], V::load(bar.change + x)));
    }
    ++crossed;
    if (renew || lost != 0) renew_block(*blocks, window, y, column);
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

Kernel kernel() { return {prepare, step, leave, evaluate}; }

}  // namespace mlkit::monitor::MLKIT_ISA
