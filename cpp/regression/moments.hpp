// What ridge regressions learn from many rows, a regression a group of rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace mlkit::regression {

// Rows of features with a reward each, which belong to groups.
struct Rows {
  const double* features;  // [row][dimension]
  std::size_t dimension;
  std::span<const double> rewards;
  std::span<const double> weights;  // what a row counts; empty: 1 each
  std::span<const std::int64_t> groups;
};

// Compute for each group, where x are its rows' features, r their rewards, w their weights and m
// the group's mean:
//   gram = sum w x x'          [group][dimension][dimension]
//   surprise = sum w x (r - x'm)      [group][dimension]
// A group without rows gets zeros. How the rows of a group are cut into sums depends on the sizes
// alone: the bits are the same with any number of threads. There are fewer than 2^32 rows. False, and the sums are of no use: a feature is not within
// [-largest, largest], a reward not within `limits`, or a group not below `groups`.
bool moments(const Rows& rows, std::size_t groups, const double* means, double largest,
             std::pair<double, double> limits, double* gram, double* surprise);

}  // namespace mlkit::regression
