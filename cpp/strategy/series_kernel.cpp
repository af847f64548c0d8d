// The kernel of series, compiled once for each instruction set.
#include "strategy/series_kernel.hpp"

#include "simd/elementary.hpp"
#include "simd/vector.hpp"

namespace mlkit::strategy::MLKIT_ISA {

using namespace mlkit::simd::MLKIT_ISA;

namespace {

using V = Vector;
using Real = V::Real;
constexpr std::size_t width = V::width;

// work(at, lanes) on whole vectors, and for the rest, which is copied into one.
template <class Work>
MLKIT_INLINE void each(std::size_t count, const Work& work) {
  std::size_t at = 0;
  for (; at + width <= count; at += width) work(at, width);
  if (at < count) work(at, count - at);
}

MLKIT_INLINE Real load(const double* from, std::size_t lanes) {
  if (lanes == width) return V::load(from);
  Real some = V::real(1.0);
  for (std::size_t lane = 0; lane < lanes; ++lane) some[lane] = from[lane];
  return some;
}

MLKIT_INLINE void store(double* to, Real value, std::size_t lanes) {
  if (lanes == width) return V::store(to, value);
  for (std::size_t lane = 0; lane < lanes; ++lane) to[lane] = value[lane];
}

void spreads(const double* y, const double* x, std::size_t count, double alpha, double beta,
             bool take_log, double* spread) {
  each(count, [&](std::size_t at, std::size_t lanes) {
    Real own = load(y + at, lanes), other = load(x + at, lanes);
    if (take_log) own = log<V>(own), other = log<V>(other);
    store(spread + at, own - alpha - beta * other, lanes);
  });
}

void z_scores(double* spread, const double* mean, const double* variance, std::size_t count) {
  const Real nan = V::real(__builtin_nan(""));
  each(count, [&](std::size_t at, std::size_t lanes) {
    const Real square = load(variance + at, lanes);
    const Real z = (load(spread + at, lanes) - load(mean + at, lanes)) / V::square_root(square);
    store(spread + at, V::select(V::less(V::real(0.0), square), z, nan), lanes);
  });
}

// The first bar that `chosen` marks; the padding behind the last is never marked.
template <class Chosen>
MLKIT_INLINE std::size_t first(const double* z, std::size_t from, std::size_t to,
                               const Chosen& chosen) {
  for (; from < to; from += width) {
    const unsigned found = V::bits(chosen(V::load(z + from)));
    if (found == 0) continue;
    from += __builtin_ctz(found);
    break;
  }
  return from < to ? from : to;
}

std::size_t first_beyond(const double* z, std::size_t from, std::size_t to, double entry) {
  const Real bound = V::real(entry);
  return first(z, from, to, [&](Real now) { return V::reaches(V::magnitude(now), bound); });
}

std::size_t first_outside(const double* z, std::size_t from, std::size_t to, double side,
                          double exit, double stop) {
  const Real reverted = V::real(-exit), stopped = V::real(-stop);
  return first(z, from, to, [&](Real now) {
    const Real distance = side * now;
    return V::either(V::reaches(distance, reverted), V::reaches(stopped, distance));
  });
}

std::size_t hold(double cash, double y_shares, double x_shares, double margin, const double* y,
                 const double* x, std::size_t count, std::size_t room, double* equity) {
  for (std::size_t at = 0; at < count; at += width) {
    const std::size_t lanes = room - at < width ? room - at : width;
    const Real own = load(y + at, lanes), other = load(x + at, lanes);
    const Real y_value = y_shares * own, x_value = x_shares * other;
    const Real now = cash + (y_value + x_value);
    store(equity + at, now, lanes);
    const unsigned called =
        V::bits(V::less(now, margin * (V::magnitude(y_value) + V::magnitude(x_value))));
    if (called == 0) continue;
    const std::size_t end = at + __builtin_ctz(called);
    return end < count ? end : count;
  }
  return count;
}

Totals returns(const double* equity, std::size_t count, double rate, double* out) {
  constexpr std::size_t parts = padding / width;
  Real sum[parts]{}, squares[parts]{};
  const auto take = [&](std::size_t part, Real change, double* to) {
    if (out != nullptr) V::store(to, change);
    sum[part] += change;
    squares[part] += change * change;
  };
  const auto change = [&](const double* now) {
    return V::load(now) / V::load(now - 1) - 1.0 - rate;
  };
  std::size_t at = 0;
  for (; at + padding <= count; at += padding) {
    for (std::size_t part = 0; part < parts; ++part) {
      const std::size_t i = at + part * width;
      take(part, change(equity + 1 + i), out + i);
    }
  }
  double rest[padding]{};
  for (std::size_t i = at; i < count; ++i) rest[i - at] = equity[i + 1] / equity[i] - 1.0 - rate;
  for (std::size_t part = 0; at < count && part < parts; ++part) {
    take(part, V::load(rest + part * width), out + at + part * width);
  }
  Totals totals;
  for (std::size_t part = 0; part < parts; ++part) {
    V::store(totals.sum + part * width, sum[part]);
    V::store(totals.squares + part * width, squares[part]);
  }
  return totals;
}

void add_scaled(const double* values, double scale, std::size_t count, double* sum) {
  for (std::size_t at = 0; at < count; at += width) {
    V::store(sum + at, V::load(sum + at) + V::load(values + at) * scale);
  }
}

// `floor` is the equity below which a drawdown is the worst one: most bars need no division.
struct Drawdown {
  double peak, floor, worst;

  void rise(double to) {
    peak = to;
    floor = peak * (1.0 - worst);
  }
  void take(double now) {
    if (now > peak) {
      rise(now);
    } else if (now < floor) {
      worst = 1.0 - now / peak;
      floor = peak * (1.0 - worst);
    }
  }
};

// A block is looked at bar by bar only if it may hold the worst: if its least equity were that
// far below its greatest.
double drawdown(const double* equity, std::size_t count) {
  constexpr std::size_t block = 4 * padding;
  Drawdown seen{equity[0], equity[0], 0.0};
  std::size_t at = 0;
  for (; at + block <= count; at += block) {
    Real most = V::load(equity + at), least = most;
    for (std::size_t i = at + width; i < at + block; i += width) {
      const Real now = V::load(equity + i);
      most = V::maximum(most, now);
      least = V::minimum(least, now);
    }
    double high = seen.peak, low = least[0];
    for (std::size_t lane = 0; lane < width; ++lane) {
      high = most[lane] > high ? most[lane] : high;
      low = least[lane] < low ? least[lane] : low;
    }
    if (low >= high * (1.0 - seen.worst)) {
      seen.rise(high);
    } else {
      for (std::size_t i = at; i < at + block; ++i) seen.take(equity[i]);
    }
  }
  for (; at < count; ++at) seen.take(equity[at]);
  return seen.worst;
}

}  // namespace

SeriesKernel kernel() {
  return {spreads, z_scores, first_beyond, first_outside, hold, returns, add_scaled, drawdown};
}

}  // namespace mlkit::strategy::MLKIT_ISA
