#include "simd/simd.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace mlkit::simd {

const char* name(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

namespace {

// __builtin_cpu_supports asks the processor and, through XGETBV, the operating system.
std::vector<Isa> probe() {
  std::vector<Isa> sets{Isa::baseline};
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                    __builtin_cpu_supports("popcnt");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx2) sets.push_back(Isa::avx2);
  if (avx512) sets.push_back(Isa::avx512);
#endif
  return sets;
}

const std::vector<Isa>& probed() {
  static const std::vector<Isa> sets = probe();
  return sets;
}

}  // namespace

std::vector<Isa> available() { return probed(); }

Isa selected() {
  const auto& sets = probed();
  const char* forced = std::getenv("MLKIT_SIMD");
  if (forced == nullptr || *forced == '\0') return sets.back();
  const std::string wanted = forced;
  const auto found =
      std::find_if(sets.begin(), sets.end(), [&](Isa isa) { return wanted == name(isa); });
  if (found != sets.end()) return *found;
  std::string offer;
  for (Isa isa : sets) offer += (offer.empty() ? "" : ", ") + std::string(name(isa));
  throw std::invalid_argument("MLKIT_SIMD=" + wanted + ": this machine offers " + offer);
}

}  // namespace mlkit::simd
