// Scores of the policies, and what they learn: those of mlkit/bandit/policies, for many runs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "simulation/simulation.hpp"

namespace mlkit::simulation {

// xoshiro256++ (Blackman and Vigna 2019), seeded by SplitMix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) {
    for (auto& word : state_) {
      seed += 0x9e3779b97f4a7c15ULL;
      std::uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
      word = z ^ (z >> 31);
    }
  }

  std::uint64_t word() {
    const std::uint64_t drawn = rotated(state_[0] + state_[3], 23) + state_[0];
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotated(state_[3], 45);
    return drawn;
  }

  // Uniform on (0, 1).
  double uniform() { return (double(word() >> 12) + 0.5) * 0x1p-52; }

  // By Marsaglia's polar method.
  double normal() {
    for (;;) {
      const double x = 2 * uniform() - 1, y = 2 * uniform() - 1, square = x * x + y * y;
      if (square < 1) return x * std::sqrt(-2 * std::log(square) / square);
    }
  }

  // By Marsaglia and Tsang (2000); below shape 1 by a power of a uniform.
  double gamma(double shape) {
    if (shape < 1) return gamma(shape + 1) * std::pow(uniform(), 1 / shape);
    const double d = shape - 1.0 / 3.0, c = 1 / std::sqrt(9 * d);
    for (;;) {
      const double x = normal(), t = 1 + c * x;
      if (t <= 0) continue;
      const double v = t * t * t;
      if (std::log(uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
    }
  }

  // By Knuth's products in pieces that do not underflow.
  double poisson(double mean) {
    double count = 0;
    while (mean > 30) {  // Ahrens and Dieter (1974): the order statistic of a Gamma variable
      const double m = std::floor(7 * mean / 8), x = gamma(m);
      if (x > mean) return count + binomial(m - 1, mean / x);
      count += m;
      mean -= x;
    }
    const double limit = std::exp(-mean);
    for (double product = uniform(); product > limit; product *= uniform()) ++count;
    return count;
  }

 private:
  static std::uint64_t rotated(std::uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

  double binomial(double n, double p) {
    double count = 0;
    for (double i = 0; i < n; ++i) count += uniform() < p;
    return count;
  }

  std::uint64_t state_[4]{};
};

// Pulls, sums and squares of the rewards of each arm of a run.
struct Counts {
  explicit Counts(std::size_t arms) : pulls(arms), sums(arms), squares(arms) {}

  void add(std::size_t arm, double reward) {
    ++pulls[arm];
    ++total;
    sums[arm] += reward;
    squares[arm] += reward * reward;
  }

  std::vector<double> pulls, sums, squares;
  double total = 0;
};

inline double divergence(double p, double q) {
  double found = 0;
  if (p > 0) found += p * std::log(p / q);
  if (p < 1) found += (1 - p) * std::log((1 - p) / (1 - q));
  return found;
}

// At least the largest q with kl(mean, q) <= budget, without a logarithm: kl is at least
// 2 (q - mean)^2 and (q - mean)^2 / (2 q).
inline double rough_bound(double mean, double budget) {
  const double pinsker = mean + std::sqrt(budget / 2);
  const double poisson = mean + budget + std::sqrt(budget * (budget + 2 * mean));
  return std::min({pinsker, poisson, 1.0});
}

// The largest q with kl(mean, q) <= budget: kl is convex in q, so that Newton's steps from above
// stay there.
inline double upper_bound(double mean, double budget) {
  if (mean >= 1) return 1;
  const double of_mean = mean > 0 ? mean * std::log(mean) : 0, rest = 1 - mean;
  const double constant = of_mean + rest * std::log(rest) - budget;
  // Near 1 only the part of 1 - q counts.
  const double near_one = 1 - rest * std::exp((of_mean - budget) / rest);
  double q = std::min(rough_bound(mean, budget), near_one);
  for (int step = 0; step < 40 && q > mean && q < 1; ++step) {
    const double excess = constant - mean * std::log(q) - rest * std::log(1 - q);
    const double move = excess * q * (1 - q) / (q - mean);
    q -= move;
    if (move < 1e-12) break;
  }
  return std::max(q, mean);
}

// Whether an arm's upper bound is below another's: mostly told without computing it.
inline bool is_bound_below(double mean, double budget, double other) {
  if (rough_bound(mean, budget) < other) return true;
  // Not where rounding may decide: equal arms are ties.
  return other > mean && divergence(mean, other) > budget * (1 + 1e-9);
}

// What the scores of all arms share in a round.
struct Round {
  bool explores = false;  // by chance
  double budget = 0;      // of upper bounds
};

inline Round next_round(const Policy& policy, const Counts& counts, Random& random) {
  const double* p = policy.parameters;
  const double round = counts.total + 1;
  Round next;
  if (policy.kind == Kind::epsilon_greedy) {
    next.explores = random.uniform() < p[0] * std::pow(round, -p[1]);
  } else if (policy.kind == Kind::ucb1) {
    next.budget = p[0] * std::log(std::max(counts.total, 1.0));
  } else if (policy.kind == Kind::kl_ucb) {
    const double log_round = std::log(round);
    next.budget = log_round + p[0] * std::log(std::max(log_round, 1.0));
  }
  return next;
}

// Whether an arm's score is below `highest`, where that costs less than the score.
inline bool is_below(const Policy& policy, const Counts& counts, std::size_t arm,
                     const Round& round, double highest) {
  const double n = counts.pulls[arm];
  if (policy.kind != Kind::kl_ucb || n <= 0) return false;
  return is_bound_below(counts.sums[arm] / n, round.budget / n, highest);
}

// The score of an arm.
inline double score(const Policy& policy, const Counts& counts, std::size_t arm, const Round& round,
                    Random& random) {
  const double* p = policy.parameters;
  const double n = counts.pulls[arm], mean = n > 0 ? counts.sums[arm] / n : 0;
  constexpr double infinite = std::numeric_limits<double>::infinity();
  switch (policy.kind) {
    case Kind::thompson:
      break;  // drawn for all runs at once
    case Kind::gamma_poisson:
      return random.gamma(p[0] + counts.sums[arm]) / (p[1] + n);
    case Kind::normal: {
      const double kappa = p[1] + n, a = p[2] + n / 2;
      const double around = std::max(counts.squares[arm] - n * mean * mean, 0.0);
      const double away = mean - p[0];
      const double b = p[3] + around / 2 + p[1] * n * away * away / (2 * kappa);
      const double variance = b / random.gamma(a);
      return (p[1] * p[0] + counts.sums[arm]) / kappa +
             std::sqrt(variance / kappa) * random.normal();
    }
    case Kind::ucb1:
      return n > 0 ? mean + std::sqrt(round.budget / n) : infinite;
    case Kind::kl_ucb:
      return n > 0 ? upper_bound(mean, round.budget / n) : infinite;
    case Kind::epsilon_greedy:
      return round.explores ? 0 : n > 0 ? mean : p[2];
    case Kind::softmax:
      return (n > 0 ? mean : p[1]) / p[0] - std::log(-std::log(random.uniform()));
    case Kind::commit:
      return n < p[0] ? infinite : mean;
    case Kind::lin_ts:
    case Kind::lin_ucb:
    case Kind::logistic:
      break;  // by the models of the arms
  }
  return 0;
}

}  // namespace mlkit::simulation
