#include "strategy/series.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace mlkit::strategy {

namespace baseline {
SeriesKernel kernel();
}
#if defined(__x86_64__)
namespace avx2 {
SeriesKernel kernel();
}
namespace avx512 {
SeriesKernel kernel();
}
#endif

SeriesKernel series_kernel() {
  switch (simd::selected()) {
#if defined(__x86_64__)
    case simd::Isa::avx512:
      return avx512::kernel();
    case simd::Isa::avx2:
      return avx2::kernel();
#endif
    default:
      return baseline::kernel();
  }
}

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Work on so many bars at a time that what passes between the steps stays in the cache.
constexpr std::size_t chunk = 512;

void fixed_features(const double* y, const double* x, std::size_t bars,
                    const SignalSettings& settings, FeatureSeries& out) {
  const SeriesKernel kernel = series_kernel();
  RollingMoments moments(settings.lookback);
  std::array<double, chunk> mean, variance;
  for (std::size_t at = 0; at < bars; at += chunk) {
    const std::size_t count = std::min(chunk, bars - at);
    double* const z = out.z.data() + at;
    kernel.spreads(y + at, x + at, count, settings.alpha, settings.beta, settings.log, z);
    if (!out.spread.empty()) std::copy_n(z, count, out.spread.data() + at);
    for (std::size_t i = 0; i < count; ++i) {
      moments.push(z[i]);
      mean[i] = moments.mean();
      variance[i] = moments.full() ? moments.variance() : 0.0;
    }
    kernel.z_scores(z, mean.data(), variance.data(), count);
  }
}

void any_features(const double* y, const double* x, std::size_t bars,
                  const SignalSettings& settings, FeatureSeries& out) {
  Signal signal(settings);
  for (std::size_t i = 0; i < bars; ++i) {
    const Features now = signal.push(y[i], x[i]);
    out.z[i] = now.z;
    if (!out.beta.empty()) out.beta[i] = now.beta;
    if (!out.spread.empty()) out.spread[i] = now.spread;
  }
}

}  // namespace

FeatureSeries features(const double* y, const double* x, std::size_t bars,
                       const SignalSettings& settings, bool with_spread) {
  const bool fixed = settings.hedge == Hedge::fixed;
  FeatureSeries out{Long<double>(fixed ? 0 : bars), Long<double>(with_spread ? bars : 0),
                    Long<double>(bars + padding), settings.beta};
  std::fill_n(out.z.data() + bars, padding, nan);
  const bool rolling_z = fixed && settings.lookback > 0;
  (rolling_z ? fixed_features : any_features)(y, x, bars, settings, out);
  return out;
}

}  // namespace mlkit::strategy
