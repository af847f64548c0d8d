// A regression of an arm's rewards on the features of the context, learned a row at a time.
#pragma once

#include <cmath>
#include <vector>

#include "simulation/policies.hpp"

namespace mlkit::simulation {

// Normal posterior of the weights; mlkit/bandit/policies has the formulas for many rows. One row
// changes the precision by a matrix of rank one, so that the covariance follows without solving
// (Sherman and Morrison 1950).
class LinearModel {
 public:
  LinearModel(std::size_t dimension, double ridge)
      : mean_(dimension), covariance_(dimension * dimension), spread_(dimension) {
    for (std::size_t i = 0; i < dimension; ++i) covariance_[i * dimension + i] = 1 / ridge;
  }

  // x'w is Normal, and an arm's model is its own: one draw of it stands for one of all weights.
  double score(const Policy& policy, const double* x, Random& random) {
    const double scale = policy.parameters[1] * std::sqrt(variance(x));
    const double expected = dot(mean_.data(), x);
    return expected + scale * (policy.kind == Kind::lin_ucb ? 1.0 : random.normal());
  }

  void learn(const Policy& policy, const double* x, double reward) {
    const double width = variance(x), expected = dot(mean_.data(), x);
    double surprise = reward - expected, certainty = 1;
    double moved = surprise / (1 + width);
    if (policy.kind == Kind::logistic) {
      moved = mode(width, expected, reward);
      const double rate = expit(expected + width * moved);
      certainty = rate * (1 - rate);
    }
    const std::size_t dimension = mean_.size();
    const double shrink = certainty / (1 + certainty * width);
    for (std::size_t i = 0; i < dimension; ++i) {
      mean_[i] += spread_[i] * moved;
      for (std::size_t j = 0; j < dimension; ++j)
        covariance_[i * dimension + j] -= shrink * spread_[i] * spread_[j];
    }
  }

  static double expit(double score) { return 1 / (1 + std::exp(-score)); }

 private:
  double dot(const double* a, const double* b) const {
    double sum = 0;
    for (std::size_t i = 0; i < mean_.size(); ++i) sum += a[i] * b[i];
    return sum;
  }

  // x' covariance x; leaves covariance x in `spread_`.
  double variance(const double* x) {
    for (std::size_t i = 0; i < mean_.size(); ++i)
      spread_[i] = dot(covariance_.data() + i * mean_.size(), x);
    return std::max(dot(spread_.data(), x), 0.0);
  }

  // The posterior's mode is the mean moved by t covariance x, where t = reward - s(expected +
  // width t): the right side falls in t, so that halving an interval of length 1 finds it.
  static double mode(double width, double expected, double reward) {
    double low = reward - 1, high = reward;
    for (int halving = 0; halving < 52; ++halving) {
      const double t = (low + high) / 2;
      (reward - expit(expected + width * t) > t ? low : high) = t;
    }
    return (low + high) / 2;
  }

  std::vector<double> mean_, covariance_, spread_;
};

}  // namespace mlkit::simulation
