// Thompson sampling: draw from each candidate's posterior, rank by the draw.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "beta/sampler.hpp"

namespace mlkit::serving {

struct Scored {
  double draw;
  std::uint32_t candidate;
};

class ThompsonSampler {
 public:
  // Without a seed the stream starts from the system's entropy.
  explicit ThompsonSampler(std::optional<std::uint64_t> seed);

  // The k candidates (all, if there are fewer) with the largest draws, largest first, equal
  // draws in the order of the candidates. Parameters are valid. With a seed the draws are those
  // of the seed's own stream and this sampler's stream does not move; without one, no two calls
  // share a draw, from whatever threads they come.
  std::vector<Scored> top_k(std::span<const double> a, std::span<const double> b, std::size_t k,
                            std::optional<std::uint64_t> seed);

 private:
  void draw(std::span<const double> a, std::span<const double> b, double* out,
            std::optional<std::uint64_t> seed);

  beta::Key key_;
  std::atomic<std::uint64_t> next_offset_{0};
};

// The k largest draws, as `top_k` ranks them.
std::vector<Scored> largest(std::span<const double> draws, std::size_t k);

}  // namespace mlkit::serving
