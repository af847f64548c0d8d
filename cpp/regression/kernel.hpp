// The arithmetic of panels of rows; moments.cpp chooses rows and sums up.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlkit::regression {

// The length of a row in a panel is a multiple of this; what lies behind the features is 0.
inline constexpr std::size_t padding = 16;

// Rows that are needed next: they are asked for while others are multiplied.
struct Upcoming {
  const double* features;  // [row][dimension]
  std::size_t dimension;
  const std::uint32_t* rows;
  std::size_t count;
};

// copy_rows: to[i] = from[rows[i]]; false if a number is not within [-largest, largest].
// subtract_dots: from[row] -= the inner product of a row and x. scale_rows: to[row] = factor * row.
// add_scaled_rows: to += the sum of factor * row over rows.
// add_products: gram[i][j] += sum over rows of left[row][i] * right[row][j], for j <= i at least.
#define MLKIT_DECLARE_REGRESSION_KERNEL(isa)                                                       \
  namespace isa {                                                                                  \
  bool copy_rows(const double* from, const std::uint32_t* rows, std::size_t count,                 \
                 std::size_t dimension, double largest, std::size_t stride, double* to);           \
  void subtract_dots(const double* rows, std::size_t count, const double* x, std::size_t stride,   \
                     double* from);                                                                \
  void scale_rows(const double* rows, std::size_t count, const double* factors,                    \
                  std::size_t stride, double* to);                                                 \
  void add_scaled_rows(const double* rows, std::size_t count, const double* factors,               \
                       std::size_t stride, double* to);                                            \
  void add_products(const double* left, const double* right, std::size_t rows, std::size_t stride, \
                    double* gram, Upcoming upcoming);                                              \
  }

MLKIT_DECLARE_REGRESSION_KERNEL(baseline)
#if defined(__x86_64__)
MLKIT_DECLARE_REGRESSION_KERNEL(avx2)
MLKIT_DECLARE_REGRESSION_KERNEL(avx512)
#endif

}  // namespace mlkit::regression
