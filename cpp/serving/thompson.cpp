#include "serving/thompson.hpp"

#include <algorithm>
#include <array>
#include <functional>
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

constexpr std::size_t groups = 32, most_by_groups = 16;

// The least of the k largest of the maxima of groups: at least k draws reach it, and few more.
double reached_by_k(std::span<const double> draws, std::size_t k) {
  std::array<double, groups> most;
  std::copy_n(draws.begin(), groups, most.begin());
  std::size_t at = groups;
  const auto raise = [&](std::size_t i, double draw) { most[i] = most[i] < draw ? draw : most[i]; };
  for (; at + groups <= draws.size(); at += groups)
    for (std::size_t i = 0; i < groups; ++i) raise(i, draws[at + i]);
  for (; at < draws.size(); ++at) raise(at % groups, draws[at]);
  const auto kth = most.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(most.begin(), kth, most.end(), std::greater<>());
  return *kth;
}

// For few of many: a heap costs a wrong guess of the processor for each draw that goes into it.
std::vector<Scored> largest_by_groups(std::span<const double> draws, std::size_t k) {
  thread_local std::vector<std::uint32_t> reaching;
  reaching.resize(draws.size());
  const double bound = reached_by_k(draws, k);
  std::size_t count = 0;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    reaching[count] = static_cast<std::uint32_t>(i);
    count += draws[i] >= bound;
  }
  std::vector<Scored> best(count);
  for (std::size_t i = 0; i < count; ++i) best[i] = {draws[reaching[i]], reaching[i]};
  std::sort(best.begin(), best.end(), before);
  best.resize(std::min(k, count));
  return best;
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
  if (k > 0 && k <= most_by_groups && draws.size() >= 2 * groups)
    return largest_by_groups(draws, k);
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
