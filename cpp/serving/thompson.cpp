#include "serving/thompson.hpp"

#include <algorithm>
#include <random>

namespace mlkit::serving {
namespace {

std::uint64_t entropy() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

bool before(const Scored& x, const Scored& y) {
  return x.draw > y.draw || (x.draw == y.draw && x.candidate < y.candidate);
}

// Another stream than that of a request with the same seed.
beta::Key own_key(std::uint64_t seed) {
  beta::Key key = beta::key_from_seed(seed);
  key.words[1] ^= 0x6d6c6b69742f6f77u;
  return key;
}

std::uint64_t whole_blocks(std::size_t draws) {
  return (draws + beta::block_size - 1) / beta::block_size * beta::block_size;
}

}  // namespace

ThompsonSampler::ThompsonSampler(std::optional<std::uint64_t> seed)
    : key_(own_key(seed ? *seed : entropy())) {}

void ThompsonSampler::draw(std::span<const double> a, std::span<const double> b, double* out,
                           std::optional<std::uint64_t> seed) {
  if (seed) {
    beta::sample(beta::key_from_seed(*seed), 0, a.data(), b.data(), out, a.size());
  } else {
    const std::uint64_t offset = next_offset_.fetch_add(whole_blocks(a.size()));
    beta::sample(key_, offset, a.data(), b.data(), out, a.size());
  }
}

std::vector<Scored> ThompsonSampler::top_k(std::span<const double> a, std::span<const double> b,
                                           std::size_t k, std::optional<std::uint64_t> seed) {
  thread_local std::vector<double> draws;
  draws.resize(a.size());
  draw(a, b, draws.data(), seed);
  return largest(draws, k);
}

std::vector<Scored> largest(std::span<const double> draws, std::size_t k) {
  std::vector<Scored> best;
  best.reserve(std::min(k, draws.size()) + 1);
  // `best` is a heap with the worst of the kept ones on top, so that most draws cost a compare.
  for (std::size_t i = 0; i < draws.size() && k > 0; ++i) {
    const Scored scored{draws[i], static_cast<std::uint32_t>(i)};
    if (best.size() == k) {
      if (!before(scored, best.front())) continue;
      std::pop_heap(best.begin(), best.end(), before);
      best.pop_back();
    }
    best.push_back(scored);
    std::push_heap(best.begin(), best.end(), before);
  }
  std::sort_heap(best.begin(), best.end(), before);
  return best;
}

}  // namespace mlkit::serving
