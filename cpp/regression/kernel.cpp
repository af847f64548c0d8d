// Compiled for each instruction set, see kernels.cmake.
#include "regression/kernel.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mlkit::regression::MLKIT_ISA {
namespace {

#if defined(MLKIT_ISA_avx512)
constexpr std::size_t lanes = 8;
#elif defined(MLKIT_ISA_avx2)
constexpr std::size_t lanes = 4;
#else
constexpr std::size_t lanes = 2;
#endif
static_assert(padding % (2 * lanes) == 0);

typedef double Vector __attribute__((vector_size(lanes * sizeof(double))));
typedef long long Mask __attribute__((vector_size(lanes * sizeof(double))));

// a * b + c, rounded once where the instruction set offers it.
inline Vector fma(Vector a, Vector b, Vector c) {
#if defined(MLKIT_ISA_avx512)
  return reinterpret_cast<Vector>(_mm512_fmadd_pd(a, b, c));
#elif defined(MLKIT_ISA_avx2)
  return reinterpret_cast<Vector>(_mm256_fmadd_pd(a, b, c));
#else
  return a * b + c;
#endif
}

inline Vector load(const double* from) {
  Vector value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

inline void store(double* to, Vector value) { __builtin_memcpy(to, &value, sizeof value); }

inline Vector all(double value) { return Vector{} + value; }

inline double total(Vector value) {
  double sums[lanes];
  store(sums, value);
  for (std::size_t width = lanes / 2; width; width /= 2)
    for (std::size_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  return sums[0];
}

constexpr std::size_t high = 4;  // a tile of the Gram matrix: `high` rows of 2 vectors

inline void add_tile(const double* left, const double* right, std::size_t rows, std::size_t stride,
                     double* gram) {
  Vector sums[high][2] = {};
  for (std::size_t row = 0; row < rows; ++row, left += stride, right += stride) {
    const Vector first = load(right), second = load(right + lanes);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < high; ++i) {
      const Vector factor = all(left[i]);
      sums[i][0] = fma(factor, first, sums[i][0]);
      sums[i][1] = fma(factor, second, sums[i][1]);
    }
  }
  for (std::size_t i = 0; i < high; ++i, gram += stride) {
    store(gram, load(gram) + sums[i][0]);
    store(gram + lanes, load(gram + lanes) + sums[i][1]);
  }
}

}  // namespace

bool copy_rows(const double* from, const Copy* copies, std::size_t count, std::size_t dimension,
               double largest, std::size_t stride, double* to) {
  constexpr std::size_t ahead = 16, line = 8;  // rows that are asked for before; doubles
  const Vector most = all(largest);
  Mask inside = most == most;
  bool all_inside = true;
  for (std::size_t i = 0; i < count; ++i) {
    if (i + ahead < count)
      for (std::size_t at = 0; at < dimension; at += line)
        __builtin_prefetch(from + copies[i + ahead].row * dimension + at);
    const double* const row = from + copies[i].row * dimension;
    double* const copy = to + copies[i].place * stride;
    std::size_t at = 0;
    for (; at + lanes <= dimension; at += lanes) {
      const Vector value = load(row + at);
      inside &= (value <= most) & (value >= -most);  // false for NaN
      store(copy + at, value);
    }
    for (; at < dimension; ++at) {
      all_inside &= row[at] <= largest && row[at] >= -largest;
      copy[at] = row[at];
    }
  }
  for (std::size_t lane = 0; lane < lanes; ++lane) all_inside &= inside[lane] != 0;
  return all_inside;
}

void subtract_dots(const double* rows, std::size_t count, const double* x, std::size_t stride,
                   double* from) {
  for (std::size_t row = 0; row < count; ++row, rows += stride) {
    Vector sum{};
    for (std::size_t at = 0; at < stride; at += lanes)
      sum = fma(load(rows + at), load(x + at), sum);
    from[row] -= total(sum);
  }
}

void scale_rows(const double* rows, std::size_t count, const double* factors, std::size_t stride,
                double* to) {
  for (std::size_t row = 0; row < count; ++row, rows += stride, to += stride)
    for (std::size_t at = 0; at < stride; at += lanes)
      store(to + at, all(factors[row]) * load(rows + at));
}

void add_scaled_rows(const double* rows, std::size_t count, const double* factors,
                     std::size_t stride, double* to) {
  for (std::size_t at = 0; at < stride; at += 2 * lanes) {
    Vector first = load(to + at), second = load(to + at + lanes);
    const double* row = rows + at;
    for (std::size_t i = 0; i < count; ++i, row += stride) {
      first = fma(all(factors[i]), load(row), first);
      second = fma(all(factors[i]), load(row + lanes), second);
    }
    store(to + at, first);
    store(to + at + lanes, second);
  }
}

void add_products(const double* left, const double* right, std::size_t rows, std::size_t stride,
                  double* gram) {
  for (std::size_t i = 0; i < stride; i += high)
    for (std::size_t j = 0; j < i + high; j += 2 * lanes)
      add_tile(left + i, right + j, rows, stride, gram + i * stride + j);
}

}  // namespace mlkit::regression::MLKIT_ISA
