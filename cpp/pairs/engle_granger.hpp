// Engle-Granger cointegration statistics, and distances, of pairs of a panel of series.
//
// Step one regresses one series on the other; step two is a Dickey-Fuller regression of the
// residual's change on its level and on lagged changes, without a constant (Engle and Granger
// 1987; the lags by Akaike's criterion as in statsmodels' `coint`). Both directions of a pair
// are computed. The series come detrended (that is the same as a trend in step one) and scaled.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlkit::pairs {

// How many lagged changes enter step two: `most`, or as many up to it as Akaike prefers.
struct Lags {
  int most;
  bool choose;
};

// A panel of `count` series of `length` points.
struct Panel {
  const double* series;   // count x length, one series after the other
  const double* lanes;    // the same, `width` series interleaved: blocks x length x width
  const double* squares;  // count sums of squares
  std::size_t count;
  std::size_t length;
};

// The pairs (i, j) with first[j] <= i < j, for j from `begin` to `end` - 1: all pairs, or those
// within groups of neighbours. Pairs are stored column by column.
struct Band {
  const std::int64_t* first;   // of each j
  const std::size_t* offsets;  // of each column j - begin in the results
  std::size_t begin, end;
};

// Pairs in any order; `alone`: each first series is tested by itself, for a unit root.
struct List {
  const std::int64_t *first, *second;
  std::size_t count;
  bool alone;
};

// Where the statistics go: t and lag hold two values a pair, of the first series on the second
// and of the second on the first. What cannot be computed is NaN.
struct Statistics {
  double* t;
  int* lag;
  double* cross;  // inner product of the pair's series
};

// One implementation for each instruction set; the names of their namespaces.
#define MLKIT_DECLARE_ENGLE_GRANGER(isa)                                                     \
  namespace isa {                                                                            \
  extern const int width;                                                                    \
  /* Doubles of scratch memory, aligned to 64 bytes, of a worker; lists gather `length`. */  \
  std::size_t scratch_size(Lags lags, std::size_t gathered);                                 \
  /* The band's pairs of the series of a block with those that come before them. */          \
  void screen_block(const Panel& panel, const Band& band, std::size_t block, Lags lags,      \
                    double* scratch, const Statistics& out);                                 \
  /* The next `width` pairs of a list. */                                                    \
  void screen_list(const Panel& panel, const List& list, std::size_t begin, Lags lags,       \
                   double* scratch, const Statistics& out);                                  \
  /* Sums of squared differences of the band's pairs of a block. */                          \
  void distance_block(const Panel& panel, const Band& band, std::size_t block, double* out); \
  }

MLKIT_DECLARE_ENGLE_GRANGER(baseline)
#if defined(__x86_64__)
MLKIT_DECLARE_ENGLE_GRANGER(avx2)
MLKIT_DECLARE_ENGLE_GRANGER(avx512)
#endif
#undef MLKIT_DECLARE_ENGLE_GRANGER

}  // namespace mlkit::pairs
