// One panel of the quadrature; propensity.cpp chooses panels and sums up.
#pragma once

#include <cstddef>
#include <cstdint>

#include "propensity/propensity.hpp"

namespace mlkit::propensity {

// The logarithm of a narrow arm's density by its series about the mode: a log x + b log(1 - x) would
// cancel.
struct Series {
  double mode;
  double curve[5];  // derivatives 2 to 6 at the mode, each over its factorial; to base 2
};

// The density of an arm's logit: exp(f(y) - f(mode)) * scale.
struct Arm {
  double a, b;
  double peak, peak2;    // f(mode) = a log m + b log(1 - m); and to base 2
  double scale;          // the density at the mode
  double right;          // P(Y > right edge of the panel)
  double high, low;      // above and below these the density is nothing
  const Series* narrow;  // none: f as it is
};

// Nodes of a panel, and what all arms share there. Node q + 4 mirrors node q about the middle; node
// 0 is the lowest one.
struct Panel {
  double y[nodes], log_x[nodes], log_rest[nodes];  // logarithms to base 2
  double half;
  double weights[nodes];                                 // times half
  double even[nodes / 2][nodes], odd[nodes / 2][nodes];  // times half
};

// The rule on [-1, 1], and the integrals between its nodes.
struct Rule {
  double node[nodes], weight[nodes];
  double from_the_left[nodes]
                      [nodes];  // [r][q]: of the value at node r in the integral up to node q
  // In the integral from node q on, but for half of the whole: of the sum of the values at nodes r
  // and r + 4, and of their difference.
  double even[nodes / 2][nodes], odd[nodes / 2][nodes];
};

// Arms with chances below these at the lowest node are counted by so many powers of theirs.
inline constexpr std::size_t few_powers = 4, most_powers = 6;
struct Small {
  double few = 0, most = 0;
};

// A logit y, x there, and what is computed with them.
struct Point {
  double y, x, rest, log_x, log_rest;
};

// How many of some arms are expected above a point, and how fast that changes there.
struct Crowd {
  double above = 0, density = 0;
};

// Where the density of each arm has fallen to exp(-reach) of its height, or somewhat farther from
// the mode: `high` and `low`; and to exp(-core) on the right: `begin`.
struct Ends {
  double *high, *begin, *low;
};
inline constexpr double reach = 40;         // log of the density's fall at which an arm ends
inline constexpr double core = 20;          // and from where on panels are as narrow as it asks
inline constexpr double narrow_from = 1e5;  // curvature: six terms of the series hold to 1e-10
inline constexpr double nothing = 0.5;      // from the mode of a narrow arm: exp(-1e4) and less

// What of the arms says how wide panels may be. Arrays have a multiple of `nodes` elements; those of
// no arm have begin = -inf.
struct Extents {
  const double *begin, *low;  // between these the panels are as narrow as the density asks
  const double* curvature;    // of a narrow arm, which is crossed near its mode: one number; else 0
  const double* total;        // a + b of another; else 0
  const double *a, *b;
  std::size_t count;
};

// The arms that a panel to the left of a point crosses.
struct Crossing {
  double total = 0, curvature = 0;  // the largest ones
  double steepest = 0;              // slope of the log density of an arm that is not narrow
  double rising = 0;                // sum of the slopes where they are positive
  double next;                      // where the next arm begins; -inf: nowhere
};

// locate: mode, peak and ends of all arms.
// heights: the density at the mode of all arms.
// cross: the arms that are crossed at x.
// place: the panel between two edges.
// count_above: counts is [k][nodes], the chances of 0 .. k-1 arms above; returns the crowd at the
// lowest node; scratch is k nodes doubles.
// above_point: sets `right` of each arm to the chance above the point, by a continued fraction, which
// converges where that is small; returns the crowd, and adds its last changes to `changes`.
// add_ranks: of the shown arms that are crossed; ranks is [shown][k][nodes], what each node adds;
// scratch is 2 (shown + 1) k nodes doubles.
// add_place: for the chain of a slate. h, of `panels` panels, becomes the integral of g h up to each
// node; returns that of all.
#define MLKIT_DECLARE_PROPENSITY_KERNEL(isa)                                                    \
  namespace isa {                                                                               \
  void locate(const double* a, const double* b, std::size_t count, double* mode, double* peak,  \
              const Ends& ends);                                                                \
  void heights(const double* a, const double* b, std::size_t count, double* scale);             \
  Crossing cross(const Extents& extents, double y, double x, double rest);                      \
  void place(const Rule& rule, double left, double right, Panel& panel);                        \
  Crowd count_above(const Panel& panel, Arm* arms, std::size_t count, std::size_t k,            \
                    const Small& small, double* scratch, double* counts);                       \
  void densities(const Panel& panel, Arm& arm, double* density, double* above);                 \
  Crowd above_point(const Point& point, Arm* arms, std::size_t count, double& changes);         \
  void add_ranks(const Panel& panel, const double* density, const double* above,                \
                 std::size_t shown, std::size_t k, const double* counts, double* scratch,       \
                 double* const* ranks);                                                         \
  double add_place(const Rule& rule, const double* halves, std::size_t panels, const double* g, \
                   std::size_t stride, double* h);                                              \
  }

MLKIT_DECLARE_PROPENSITY_KERNEL(baseline)
#if defined(__x86_64__)
MLKIT_DECLARE_PROPENSITY_KERNEL(avx2)
MLKIT_DECLARE_PROPENSITY_KERNEL(avx512)
#endif

}  // namespace mlkit::propensity
