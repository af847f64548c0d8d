// One panel of the quadrature; propensity.cpp chooses panels and sums up.
#pragma once

#include <cstddef>
#include <cstdint>

#include "propensity/propensity.hpp"

namespace mlkit::propensity {

// The density of an arm's logit: exp(f(y) - f(mode)) * scale.
struct Arm {
  double a, b;
  double peak;   // f(mode) = a log m + b log(1 - m)
  double scale;  // the density at the mode
  double mode;
  double curve[5];    // derivatives 2 to 6 of f at the mode, each over its factorial
  bool narrow;        // f by its series about the mode: a log x + b log(1 - x) would cancel
  double high;        // above it the density is nothing
  double low, begin;  // between these the panels are as narrow as the density asks
  double right;       // P(Y > right edge of the panel)
};

// Nodes of a panel, and what all arms share there.
struct Panel {
  double y[nodes], log_x[nodes], log_rest[nodes];
  double half;
  double weights[nodes];              // times half
  double to_the_right[nodes][nodes];  // [r][q]: of g at node r in the integral from node q on
};

// A logit y, x there, and what is computed with them.
struct Point {
  double y, x, rest, log_x, log_rest;
};

// How many of some arms are expected above a point, and how fast that changes there.
struct Crowd {
  double above = 0, density = 0;
};

// Where the density has fallen to exp(-depth) of its height, or somewhat farther from the mode.
struct End {
  double direction;  // 1: above the mode, -1: below
  double depth;
};
inline constexpr std::size_t end_count = 3;

// describe: mode, peak and scale of all arms.
// find_ends: for each of `end_count` wanted ends an array of all arms'.
// count_above: counts is [k][nodes], the chances of 0 .. k-1 arms above; returns the crowd at the
// lowest node.
// above_point: the density and the chance above the point of each arm, by a continued fraction, which
// converges where that is small; returns the sum of their last changes.
// add_ranks: scratch is 2 (shown + 1) k nodes doubles.
#define MLKIT_DECLARE_PROPENSITY_KERNEL(isa)                                                     \
  namespace isa {                                                                                \
  void describe(const double* a, const double* b, std::size_t count, double* mode, double* peak, \
                double* scale);                                                                  \
  void find_ends(const double* a, const double* b, const double* mode, const double* peak,       \
                 std::size_t count, const End* wanted, double* const* ends);                     \
  Crowd count_above(const Panel& panel, Arm* arms, std::size_t count, std::size_t k,             \
                    double* counts);                                                             \
  void densities(const Panel& panel, Arm& arm, double* density, double* above);                  \
  double above_point(const Point& point, const Arm* arms, std::size_t count, double* density,    \
                     double* above);                                                             \
  void add_ranks(const Panel& panel, const double* density, const double* above,                 \
                 std::size_t shown, std::size_t k, const double* counts, double* scratch,        \
                 double* ranks);                                                                 \
  }

MLKIT_DECLARE_PROPENSITY_KERNEL(baseline)
#if defined(__x86_64__)
MLKIT_DECLARE_PROPENSITY_KERNEL(avx2)
MLKIT_DECLARE_PROPENSITY_KERNEL(avx512)
#endif

}  // namespace mlkit::propensity
