#include "propensity/rule.hpp"

#include <cmath>
#include <numbers>

namespace mlkit::propensity {

namespace {

constexpr std::size_t mirrored(std::size_t i) { return (i + nodes / 2) % nodes; }

struct Made : Rule {
  double to_the_right[nodes][nodes];  // [r][q]: of the value at node r in the integral from node q

  Made() {
    for (std::size_t i = 0; i < nodes / 2; ++i) find_node(i);
    for (std::size_t q = 0; q < nodes; ++q) find_parts(q);
    for (std::size_t r = 0; r < nodes; ++r)
      for (std::size_t q = 0; q < nodes; ++q)
        from_the_left[r][q] = to_the_right[mirrored(r)][mirrored(q)];
    for (std::size_t r = 0; r < nodes / 2; ++r) {
      for (std::size_t q = 0; q < nodes / 2; ++q) {  // exactly mirrored, for vectors of any width
        const double other = to_the_right[mirrored(r)][q];
        even[r][q] = (to_the_right[r][q] + other - weight[r]) / 2;
        odd[r][q] = (to_the_right[r][q] - other) / 2;
        even[r][mirrored(q)] = -even[r][q], odd[r][mirrored(q)] = odd[r][q];
      }
    }
  }

  // And the one that mirrors it.
  void find_node(std::size_t i) {
    double x = -std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (nodes + 0.5));
    double slope = 1;
    for (int step = 0; step < 20; ++step) {
      double before = 1, value = x;
      for (std::size_t n = 2; n <= nodes; ++n) {
        const auto d = static_cast<double>(n);
        const double next = ((2 * d - 1) * x * value - (d - 1) * before) / d;
        before = value, value = next;
      }
      slope = nodes * (x * value - before) / (x * x - 1);
      x -= value / slope;
    }
    node[i] = x, node[mirrored(i)] = -x;
    weight[i] = weight[mirrored(i)] = 2 / ((1 - x * x) * slope * slope);
  }

  double cardinal(std::size_t r, double x) const {
    double product = 1;
    for (std::size_t i = 0; i < nodes; ++i)
      if (i != r) product *= (x - node[i]) / (node[r] - node[i]);
    return product;
  }

  // The integral from node q to 1 of each polynomial that is 1 at one node and 0 at the others.
  void find_parts(std::size_t q) {
    const double half = (1 - node[q]) / 2;
    for (std::size_t r = 0; r < nodes; ++r) {
      to_the_right[r][q] = 0;
      for (std::size_t i = 0; i < nodes; ++i)
        to_the_right[r][q] += half * weight[i] * cardinal(r, node[q] + half * (1 + node[i]));
    }
  }
};

}  // namespace

const Rule& rule() {
  static const Made made;
  return made;
}

}  // namespace mlkit::propensity
