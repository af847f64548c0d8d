#include "simulation/simulation.hpp"

#include <atomic>

#include "beta/sampler.hpp"
#include "simulation/linear_model.hpp"
#include "simulation/policies.hpp"
#include "threads/thread_pool.hpp"

namespace mlkit::simulation {
namespace {

constexpr std::size_t window = 100, enough = 90;

// The world at a step: which arms are there, what they are worth, and which is best.
class Present {
 public:
  explicit Present(const World& world)
      : world_(world),
        base_(world.arms.size()),
        means_(base_.size()),
        weights_(world.features.weights),
        there_(base_.size()) {
    for (std::size_t arm = 0; arm < base_.size(); ++arm) {
      const Arm& each = world.arms[arm];
      base_[arm] = each.mean;
      still_ = still_ && each.drift == 0 && each.amplitude == 0;
    }
  }

  void at(std::size_t step) {
    bool changed = step == 0 || !still_;
    for (; next_ < world_.jumps.size() && world_.jumps[next_].step <= step; ++next_, changed = true)
      jump(world_.jumps[next_]);
    for (const Arm& arm : world_.arms)
      changed = changed || arm.arrives == step || arm.leaves == step;
    if (changed) compute(step);
  }

  // What the arms are worth in a context.
  void see(const double* features) {
    const std::size_t dimension = world_.features.dimension;
    best_ = -std::numeric_limits<double>::infinity();
    for (std::size_t arm = 0; arm < means_.size(); ++arm) {
      double score = 0;
      for (std::size_t i = 0; i < dimension; ++i)
        score += weights_[arm * dimension + i] * features[i];
      means_[arm] = world_.rewards == Rewards::normal ? score : LinearModel::expit(score);
      if (there_[arm]) best_ = std::max(best_, means_[arm]);
    }
  }

  // What the arms are worth to a user.
  void serve(std::size_t user) {
    const double* means = world_.users.means.data() + user * means_.size();
    best_ = -std::numeric_limits<double>::infinity();
    for (std::size_t arm = 0; arm < means_.size(); ++arm) {
      means_[arm] = means[arm];
      if (there_[arm]) best_ = std::max(best_, means_[arm]);
    }
  }

  double mean(std::size_t arm) const { return means_[arm]; }
  bool is_there(std::size_t arm) const { return there_[arm]; }
  double best() const { return best_; }
  bool any() const { return any_; }

 private:
  void jump(const Jump& jump) {
    base_[jump.arm] = jump.mean;
    std::copy(jump.weights.begin(), jump.weights.end(),
              weights_.begin() + std::ptrdiff_t(jump.arm * world_.features.dimension));
  }

  void compute(std::size_t step) {
    best_ = -std::numeric_limits<double>::infinity();
    any_ = false;
    for (std::size_t arm = 0; arm < means_.size(); ++arm) {
      const Arm& each = world_.arms[arm];
      double mean = base_[arm] + each.drift * double(step);
      if (each.amplitude != 0)
        mean += each.amplitude * std::sin(2 * std::numbers::pi * double(step) / each.period);
      if (world_.rewards != Rewards::normal) mean = std::max(mean, 0.0);
      if (world_.rewards == Rewards::bernoulli) mean = std::min(mean, 1.0);
      means_[arm] = mean;
      there_[arm] = each.arrives <= step && step < each.leaves;
      if (there_[arm]) {
        best_ = std::max(best_, mean);
        any_ = true;
      }
    }
  }

  const World& world_;
  std::vector<double> base_, means_, weights_;
  std::vector<char> there_;
  std::size_t next_ = 0;
  bool still_ = true, any_ = false;
  double best_ = 0;
};

struct Waiting {
  std::size_t counts, arm;
  double reward;
};

// One run.
struct Run {
  Run(const World& world, const Policy& policy, std::uint64_t seed)
      : random(seed),
        counts(world.users.apart ? world.users.shares.size() : 1, Counts(world.arms.size())),
        waiting(world.delay),
        features(world.features.dimension * (world.delay + 1)) {
    if (policy.kind >= Kind::lin_ts)
      models.assign(world.arms.size(), {world.features.dimension, policy.parameters[0]});
  }

  // Draw the features of a context behind those of the rewards that are not known yet.
  double* draw(const Features& world) {
    double* seen = features.data() + (features.size() - world.dimension);
    for (std::size_t i = 0; i < world.dimension; ++i)
      seen[i] = i == 0 && world.has_intercept ? 1 : random.normal();
    return seen;
  }

  // Draw the user of a decision.
  void meet(const Users& users) {
    const double drawn = random.uniform() * users.shares.back();
    const auto place = std::upper_bound(users.shares.begin(), users.shares.end() - 1, drawn);
    user = std::size_t(place - users.shares.begin());
  }

  // Which counts are those of the user at hand.
  std::size_t own() const { return counts.size() > 1 ? user : 0; }

  Random random;
  std::vector<Counts> counts;  // of each user, or one of all
  std::size_t user = 0;
  std::vector<Waiting> waiting;  // a ring of the rewards that are not known yet
  std::vector<double> features;  // of the ring, and of the context that is decided on
  std::vector<LinearModel> models;
  std::size_t sent = 0;
  double regret = 0, best = 0;
  std::uint8_t recent[window] = {};
  std::size_t hits = 0;
  std::int64_t found = -1;
};

double reward(const World& world, const Present& present, std::size_t arm, Random& random) {
  const double mean = present.mean(arm);
  if (world.rewards == Rewards::bernoulli) return random.uniform() < mean ? 1 : 0;
  if (world.rewards == Rewards::poisson) return random.poisson(mean);
  return mean + world.arms[arm].deviation * random.normal();
}

// The arm with the highest score; ties at random.
std::size_t choose(const World& world, const Policy& policy, const Present& present, Run& run,
                   const double* draws, const double* features) {
  const Counts& counts = run.counts[run.own()];
  const Round round = next_round(policy, counts, run.random);
  double highest = -std::numeric_limits<double>::infinity();
  std::size_t chosen = 0, ties = 0;
  for (std::size_t arm = 0; arm < world.arms.size(); ++arm) {
    if (!present.is_there(arm)) continue;
    if (ties && is_below(policy, counts, arm, round, highest)) continue;
    const double found = draws                ? draws[arm]
                         : run.models.empty() ? score(policy, counts, arm, round, run.random)
                                              : run.models[arm].score(policy, features, run.random);
    if (ties && found < highest) continue;
    ties = ties && found == highest ? ties + 1 : 1;
    highest = found;
    if (ties == 1 || run.random.uniform() * double(ties) < 1) chosen = arm;
  }
  return chosen;
}

void note(Run& run, const Present& present, std::size_t arm, std::size_t step) {
  const bool is_best = present.mean(arm) >= present.best();
  run.regret += present.best() - present.mean(arm);
  run.best += is_best;
  std::uint8_t& old = run.recent[step % window];
  run.hits += is_best;
  run.hits -= old;
  old = is_best;
  if (run.found < 0 && run.hits >= enough) run.found = std::int64_t(step) + 1;
}

void learn(const Policy& policy, Run& run, const Waiting& known, const double* features) {
  if (run.models.empty()) run.counts[known.counts].add(known.arm, known.reward);
  else run.models[known.arm].learn(policy, features, known.reward);
}

// Learn from a reward, or let it wait and learn from the one that has waited long enough.
void receive(const World& world, const Policy& policy, Run& run, const Waiting& sent,
             const double* features) {
  if (!world.delay) return learn(policy, run, sent, features);
  const std::size_t place = run.sent % world.delay, dimension = world.features.dimension;
  double* kept = run.features.data() + place * dimension;
  if (run.sent >= world.delay) learn(policy, run, run.waiting[place], kept);
  run.waiting[place] = sent;
  std::copy(features, features + dimension, kept);
  ++run.sent;
}

class Group {
 public:
  Group(const World& world, const Policy& policy, std::uint64_t seed, std::size_t number,
        std::size_t size)
      : world_(world), policy_(policy), key_(beta::key_from_seed(seed ^ ~(number << 20))) {
    for (std::size_t run = 0; run < size; ++run)
      runs_.emplace_back(world, policy, seed * 0x9e3779b97f4a7c15ULL + number * group_size + run);
    const std::size_t arms = world.arms.size();
    if (policy.kind == Kind::thompson) a_.resize(size * arms), b_ = draws_ = a_;
  }

  void simulate(const std::vector<std::size_t>& checkpoints, std::size_t first, Outcome& outcome) {
    Present present(world_);
    std::size_t next = 0;
    for (std::size_t step = 0; step < world_.steps; ++step) {
      present.at(step);
      if (present.any()) decide(present, step);
      if (next < checkpoints.size() && step + 1 == checkpoints[next])
        record(first, checkpoints.size(), next++, outcome);
    }
    for (std::size_t run = 0; run < runs_.size(); ++run)
      outcome.found[first + run] = runs_[run].found;
  }

 private:
  void decide(Present& present, std::size_t step) {
    const std::size_t arms = world_.arms.size();
    if (!world_.users.shares.empty())
      for (Run& run : runs_) run.meet(world_.users);
    if (!draws_.empty()) draw(step);
    for (std::size_t number = 0; number < runs_.size(); ++number) {
      Run& run = runs_[number];
      const double* draws = draws_.empty() ? nullptr : draws_.data() + number * arms;
      const double* features = run.draw(world_.features);
      if (world_.features.dimension) present.see(features);
      if (!world_.users.shares.empty()) present.serve(run.user);
      const std::size_t arm = choose(world_, policy_, present, run, draws, features);
      note(run, present, arm, step);
      const double earned = reward(world_, present, arm, run.random);
      receive(world_, policy_, run, {run.own(), arm, earned}, features);
    }
  }

  void draw(std::size_t step) {
    const std::size_t arms = world_.arms.size();
    for (std::size_t number = 0; number < runs_.size(); ++number) {
      const Counts& counts = runs_[number].counts[runs_[number].own()];
      for (std::size_t arm = 0; arm < arms; ++arm) {
        a_[number * arms + arm] = policy_.parameters[0] + counts.sums[arm];
        b_[number * arms + arm] = policy_.parameters[1] + (counts.pulls[arm] - counts.sums[arm]);
      }
    }
    const std::size_t blocks = (a_.size() + beta::block_size - 1) / beta::block_size;
    beta::sample(key_, step * blocks * beta::block_size, a_.data(), b_.data(), draws_.data(),
                 a_.size());
  }

  void record(std::size_t first, std::size_t count, std::size_t place, Outcome& outcome) const {
    for (std::size_t run = 0; run < runs_.size(); ++run) {
      outcome.regret[(first + run) * count + place] = runs_[run].regret;
      outcome.best[(first + run) * count + place] = runs_[run].best;
    }
  }

  const World& world_;
  const Policy& policy_;
  beta::Key key_;
  std::vector<Run> runs_;
  std::vector<double> a_, b_, draws_;
};

}  // namespace

Outcome simulate(const World& world, const Policy& policy, std::uint64_t seed, std::size_t runs,
                 const std::vector<std::size_t>& checkpoints, std::size_t threads) {
  Outcome outcome;
  outcome.regret.resize(runs * checkpoints.size());
  outcome.best.resize(runs * checkpoints.size());
  outcome.found.resize(runs, -1);
  const std::size_t groups = (runs + group_size - 1) / group_size;
  std::atomic<std::size_t> next{0};
  threads::run_with_helpers(std::max<std::size_t>(threads, 1) - 1, [&] {
    for (std::size_t number = next++; number < groups; number = next++) {
      const std::size_t first = number * group_size;
      Group group(world, policy, seed, number, std::min(group_size, runs - first));
      group.simulate(checkpoints, first, outcome);
    }
  });
  return outcome;
}

}  // namespace mlkit::simulation
