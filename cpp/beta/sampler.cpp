#include "beta/sampler.hpp"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "beta/kernel.hpp"
#include "simd/simd.hpp"

namespace mlkit::beta {

namespace {

// Other libraries may leave a thread rounding oddly or flushing subnormals to zero.
class DefaultArithmetic {
#if defined(__SSE2__)
 public:
  DefaultArithmetic() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~DefaultArithmetic() { _mm_setcsr(saved_); }
  DefaultArithmetic(const DefaultArithmetic&) = delete;
  DefaultArithmetic& operator=(const DefaultArithmetic&) = delete;

 private:
  unsigned saved_;
#endif
};

// The functions of one instruction set.
struct Kernel {
  decltype(&baseline::sample) sample;
  decltype(&baseline::valid_stretches) valid_stretches;
};

Kernel selected_kernel() {
  switch (simd::selected()) {
#if defined(__x86_64__)
    case simd::Isa::avx512:
      return {avx512::sample, avx512::valid_stretches};
    case simd::Isa::avx2:
      return {avx2::sample, avx2::valid_stretches};
#endif
    default:
      return {baseline::sample, baseline::valid_stretches};
  }
}

bool is_parameter(double value) {
  return value >= smallest_parameter && value <= largest_parameter;  // false for NaN
}

std::uint64_t split_mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

}  // namespace

// Two words of SplitMix64 (Steele, Lea and Flood 2014).
Key key_from_seed(std::uint64_t seed) {
  constexpr std::uint64_t gamma = 0x9e3779b97f4a7c15ULL;
  return {{split_mix(seed + gamma), split_mix(seed + 2 * gamma)}};
}

void sample(Key key, std::uint64_t offset, const double* a, const double* b, double* out,
            std::size_t count) {
  const Kernel kernel = selected_kernel();
  [[maybe_unused]] const DefaultArithmetic arithmetic;
  kernel.sample(key, offset, a, b, out, count);
}

std::size_t first_invalid(const double* values, std::size_t count) {
  std::size_t at = selected_kernel().valid_stretches(values, count);
  while (at < count && is_parameter(values[at])) ++at;
  return at;
}

}  // namespace mlkit::beta
