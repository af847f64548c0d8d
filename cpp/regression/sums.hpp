// Memory for the sums of groups of rows.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "regression/kernel.hpp"

namespace mlkit::regression {

inline std::size_t padded(std::size_t dimension) {
  return (dimension + padding - 1) / padding * padding;
}

struct Release {
  void operator()(double* numbers) const { std::free(numbers); }
};
using Numbers = std::unique_ptr<double[], Release>;

// Memory for numbers, in huge pages where the system has them: thousands of page faults would take a
// sixth of the time.
inline Numbers allocate(std::size_t size) {
  constexpr std::size_t page = 2 << 20, line = 64;
  const std::size_t unit = size * sizeof(double) < page ? line : page;
  const std::size_t bytes = (size * sizeof(double) + unit - 1) / unit * unit;
  void* const found = std::aligned_alloc(unit, bytes);
  if (!found) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
  if (unit == page) madvise(found, bytes, MADV_HUGEPAGE);  // a refusal costs nothing but time
#endif
  return Numbers(static_cast<double*>(found));
}

inline Numbers zeros(std::size_t size) {
  Numbers numbers = allocate(size);
  std::fill_n(numbers.get(), size, 0.0);
  return numbers;
}

// The sums of groups: a Gram matrix with padded rows and the surprise each.
class Sums {
 public:
  static std::size_t size(std::size_t groups, std::size_t dimension) {
    return groups * padded(dimension) * (padded(dimension) + 1);
  }

  Sums(std::size_t groups, std::size_t dimension, double* numbers)
      : dimension_(dimension),
        stride_(padded(dimension)),
        size_(size(groups, dimension)),
        numbers_(numbers) {}

  // By the thread that adds to them.
  void clear() const { std::fill_n(numbers_, size_, 0.0); }
  double* gram(std::size_t group) const { return numbers_ + group * stride_ * (stride_ + 1); }
  double* surprise(std::size_t group) const { return gram(group) + stride_ * stride_; }

  // Add a group's to the lower triangle and the vector of a result.
  void add_to(std::size_t group, double* products, double* surprises) const {
    const double* const from = gram(group);
    for (std::size_t i = 0; i < dimension_; ++i) {
      for (std::size_t j = 0; j <= i; ++j) products[i * dimension_ + j] += from[i * stride_ + j];
      surprises[i] += surprise(group)[i];
    }
  }

 private:
  std::size_t dimension_, stride_, size_;
  double* numbers_;
};

inline void mirror(double* products, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < i; ++j) products[j * n + i] = products[i * n + j];
}

}  // namespace mlkit::regression
