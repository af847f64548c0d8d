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

// The bits of magnitudes are in the order of the numbers; those of NaN are above all.
inline Mask magnitude(Vector value) {
  Mask bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits & 0x7fffffffffffffff;
}

inline void store(double* to, Vector value) { __builtin_memcpy(to, &value, sizeof value); }

// By an instruction that reads memory: `Vector{} + value` adds 0 to each.
inline Vector all(double value) {
#if defined(MLKIT_ISA_avx512)
  return reinterpret_cast<Vector>(_mm512_set1_pd(value));
#elif defined(MLKIT_ISA_avx2)
  return reinterpret_cast<Vector>(_mm256_set1_pd(value));
#else
  return Vector{value, value};
#endif
}

inline double total(Vector value) {
  double sums[lanes];
  store(sums, value);
  for (std::size_t width = lanes / 2; width; width /= 2)
    for (std::size_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  return sums[0];
}

// A tile of the Gram matrix: `high` rows of up to `widest` vectors. So many sums fill the registers
// of AVX2, and the latency of the additions.
constexpr std::size_t high = 4, widest = 3;

template <std::size_t width>
void add_tile(const double* left, const double* right, std::size_t rows, std::size_t stride,
              double* gram) {
  Vector sums[high][width] = {};
  for (std::size_t row = 0; row < rows; ++row, left += stride, right += stride) {
    Vector values[width];
#pragma GCC unroll 3
    for (std::size_t j = 0; j < width; ++j) values[j] = load(right + j * lanes);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < high; ++i) {
      const Vector factor = all(left[i]);
#pragma GCC unroll 3
      for (std::size_t j = 0; j < width; ++j) sums[i][j] = fma(factor, values[j], sums[i][j]);
    }
  }
#pragma GCC unroll 4
  for (std::size_t i = 0; i < high; ++i, gram += stride)
#pragma GCC unroll 3
    for (std::size_t j = 0; j < width; ++j)
      store(gram + j * lanes, load(gram + j * lanes) + sums[i][j]);
}

// Add to `width` vectors: enough sums that their additions need not wait for each other.
template <std::size_t width>
void add_scaled(const double* row, std::size_t count, const double* factors, std::size_t stride,
                double* to) {
  Vector sums[width] = {};
  for (std::size_t i = 0; i < count; ++i, row += stride) {
    const Vector factor = all(factors[i]);
#pragma GCC unroll 16
    for (std::size_t j = 0; j < width; ++j) sums[j] = fma(factor, load(row + j * lanes), sums[j]);
  }
#pragma GCC unroll 16
  for (std::size_t j = 0; j < width; ++j) store(to + j * lanes, load(to + j * lanes) + sums[j]);
}

// Ask for the first `count` of the upcoming rows.
inline void ask(Upcoming& upcoming, std::size_t count) {
  constexpr std::size_t line = 8;  // doubles
  for (; count && upcoming.count; --count, ++upcoming.rows, --upcoming.count) {
    const double* const row = upcoming.features + *upcoming.rows * upcoming.dimension;
    for (std::size_t at = 0; at < upcoming.dimension; at += line) __builtin_prefetch(row + at);
    __builtin_prefetch(row + upcoming.dimension - 1);  // rows need not begin with a line
  }
}

}  // namespace

bool copy_rows(const double* from, const std::uint32_t* rows, std::size_t count,
               std::size_t dimension, double largest, std::size_t stride, double* to) {
  const Mask most = magnitude(all(largest));
  Mask signs{};  // negative where a number was too large
  bool all_inside = true;
  for (std::size_t i = 0; i < count; ++i) {
    const double* const row = from + rows[i] * dimension;
    double* const copy = to + i * stride;
    std::size_t at = 0;
    for (; at + lanes <= dimension; at += lanes) {
      const Vector value = load(row + at);
      signs |= most - magnitude(value);
      store(copy + at, value);
    }
    for (; at < dimension; ++at) {
      all_inside &= row[at] <= largest && row[at] >= -largest;
      copy[at] = row[at];
    }
  }
  for (std::size_t lane = 0; lane < lanes; ++lane) all_inside &= signs[lane] >= 0;
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
  std::size_t at = 0;
  for (; at + 2 * padding <= stride; at += 2 * padding)
    add_scaled<2 * padding / lanes>(rows + at, count, factors, stride, to + at);
  if (at < stride) add_scaled<padding / lanes>(rows + at, count, factors, stride, to + at);
}

void add_products(const double* left, const double* right, std::size_t rows, std::size_t stride,
                  double* gram, Upcoming upcoming) {
  // Rows are asked for at an even pace: memory takes few requests at a time.
  std::size_t total = 0, due = 0;
  for (std::size_t i = 0; i < stride; i += high) total += (i + high + lanes - 1) / lanes;
  const std::size_t count = upcoming.count;
  for (std::size_t i = 0; i < stride; i += high) {
    const double* const factors = left + i;
    double* const row = gram + i * stride;
    // The vectors that reach the diagonal; three at a time, but one is never left over.
    std::size_t vectors = (i + high + lanes - 1) / lanes;
    for (std::size_t j = 0; vectors;) {
      const std::size_t width = vectors == 4 ? 2 : vectors < widest ? vectors : widest;
      due += width * count;
      ask(upcoming, due / total);
      due %= total;
      if (width == 3) add_tile<3>(factors, right + j, rows, stride, row + j);
      else if (width == 2) add_tile<2>(factors, right + j, rows, stride, row + j);
      else add_tile<1>(factors, right + j, rows, stride, row + j);
      j += width * lanes;
      vectors -= width;
    }
  }
}

}  // namespace mlkit::regression::MLKIT_ISA
