// mlkit.bandit._simulation: read arrays, release the GIL, simulate.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>

#include "simulation/simulation.hpp"

namespace py = pybind11;

namespace {

namespace simulation = mlkit::simulation;
using ArmRow = std::tuple<double, double, double, double, double, std::size_t, std::size_t>;
using FeatureRow = std::tuple<std::vector<double>, bool>;
using UserRow = std::tuple<std::vector<double>, std::vector<double>, bool>;
using JumpRow = std::tuple<std::size_t, std::size_t, double, std::vector<double>>;

simulation::World world_of(int rewards, const std::vector<ArmRow>& arms,
                           const std::vector<JumpRow>& jumps, std::size_t steps, std::size_t delay,
                           const FeatureRow& features, const UserRow& users) {
  const auto& [weights, has_intercept] = features;
  const auto& [shares, means, apart] = users;
  if (rewards < 0 || rewards > 2 || arms.empty() || !steps || weights.size() % arms.size() ||
      means.size() != shares.size() * arms.size())
    throw std::invalid_argument("simulate: no such world");
  const std::size_t dimension = weights.size() / arms.size();
  simulation::World world{
      simulation::Rewards(rewards), {}, {}, steps, delay, {dimension, has_intercept, weights},
      {shares, means, apart}};
  for (const auto& [mean, deviation, drift, amplitude, period, arrives, leaves] : arms)
    world.arms.push_back({mean, deviation, drift, amplitude, period, arrives, leaves});
  for (const auto& [step, arm, mean, moved] : jumps) {
    if (arm >= arms.size() || moved.size() != dimension)
      throw std::invalid_argument("simulate: no such arm");
    world.jumps.push_back({step, arm, mean, moved});
  }
  return world;
}

py::tuple simulate(int rewards, const std::vector<ArmRow>& arms, const std::vector<JumpRow>& jumps,
                   std::size_t steps, std::size_t delay, const FeatureRow& features,
                   const UserRow& users, int kind, const std::vector<double>& parameters,
                   std::uint64_t seed, std::size_t runs,
                   const std::vector<std::size_t>& checkpoints, std::size_t threads) {
  const bool is_linear = kind >= int(simulation::Kind::lin_ts);
  if (kind < 0 || kind > int(simulation::Kind::logistic) || parameters.size() > 4 ||
      (is_linear && std::get<0>(features).empty()))
    throw std::invalid_argument("simulate: no such policy");
  const auto world = world_of(rewards, arms, jumps, steps, delay, features, users);
  simulation::Policy policy{simulation::Kind(kind), {}};
  std::copy(parameters.begin(), parameters.end(), policy.parameters);
  simulation::Outcome found;
  {
    const py::gil_scoped_release released;
    found = simulation::simulate(world, policy, seed, runs, checkpoints, threads);
  }
  py::array_t<double> regret({runs, checkpoints.size()}), best({runs, checkpoints.size()});
  std::copy(found.regret.begin(), found.regret.end(), regret.mutable_data());
  std::copy(found.best.begin(), found.best.end(), best.mutable_data());
  py::array_t<std::int64_t> first{py::ssize_t(runs)};
  std::copy(found.found.begin(), found.found.end(), first.mutable_data());
  return py::make_tuple(regret, best, first);
}

}  // namespace

PYBIND11_MODULE(_simulation, m) {
  m.doc() = "Simulated bandits; mlkit.bandit.simulation checks and calls it.";
  m.def("simulate", &simulate, py::arg("rewards"), py::arg("arms"), py::arg("jumps"),
        py::arg("steps"), py::arg("delay"), py::arg("features"), py::arg("users"), py::arg("kind"),
        py::arg("parameters"), py::arg("seed"), py::arg("runs"), py::arg("checkpoints"),
        py::arg("threads"),
        "Simulate runs of a policy.\n\n"
        "Returns:\n"
        "    Regret and steps with the best arm, shape (runs, checkpoints), and the step by which "
        "each\n"
        "    run has found the best arm, or -1.");
}
