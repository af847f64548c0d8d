// Bandits in simulated worlds: many runs of one policy, in threads, each the same whatever the
// number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mlkit::simulation {

enum class Rewards { bernoulli, poisson, normal };

// The mean reward is mean + drift t + amplitude sin(2 pi t / period), cut to what the rewards allow.
struct Arm {
  double mean, deviation, drift, amplitude, period;
  std::size_t arrives, leaves;  // it is there at steps arrives <= t < leaves
};

// From a step on, an arm has another mean, or other weights.
struct Jump {
  std::size_t step, arm;
  double mean;
  std::vector<double> weights;
};

// What a decision sees of its context: standard Normal features; with an intercept the first is 1.
// The score of an arm is their product with its weights: the mean of Normal rewards, the log odds
// of others.
struct Features {
  std::size_t dimension = 0;  // 0: there are none, and arms have means
  bool has_intercept = true;
  std::vector<double> weights;  // shape (arms, dimension)
};

// Each decision is for a user at random. What is learned of one counts for all, unless they are
// apart.
struct Users {
  std::vector<double> shares;  // ascending, the sum of the shares up to each; empty: no users
  std::vector<double> means;   // shape (users, arms)
  bool apart = false;
};

struct World {
  Rewards rewards;
  std::vector<Arm> arms;
  std::vector<Jump> jumps;   // in the order of steps
  std::size_t steps, delay;  // a reward is known `delay` steps after its decision
  Features features;
  Users users;
};

enum class Kind {
  thompson,
  gamma_poisson,
  normal,
  ucb1,
  kl_ucb,
  epsilon_greedy,
  softmax,
  commit,
  lin_ts,  // from here on, policies with features
  lin_ucb,
  logistic
};

struct Policy {
  Kind kind;
  double parameters[4];
};

// Runs side by side: the draws of Thompson sampling are made for all of them at once.
inline constexpr std::size_t group_size = 16;

// Of each run and checkpoint; a checkpoint is a number of steps, ascending, at most `steps`.
struct Outcome {
  std::vector<double> regret;       // sum of (best mean - mean of the arm shown) until there
  std::vector<double> best;         // steps until there in which the best arm was shown
  std::vector<std::int64_t> found;  // of each run: the step by which 90 of 100 were the best; -1
};

Outcome simulate(const World& world, const Policy& policy, std::uint64_t seed, std::size_t runs,
                 const std::vector<std::size_t>& checkpoints, std::size_t threads);

}  // namespace mlkit::simulation
