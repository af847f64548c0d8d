// Engle-Granger cointegration statistics of all pairs of a panel of series.
//
// Step one regresses one series on the other; step two is a Dickey-Fuller regression of the
// residual's change on its level and on lagged changes, without a constant (Engle and Granger
// 1987; the lags by Akaike's criterion as in statsmodels' `coint`). Both directions of a pair
// are computed. The series come detrended (that is the same as a trend in step one) and scaled.
#pragma once

#include <cstddef>

namespace mlkit::pairs {

// How many lagged changes enter step two: `most`, or as many up to it as Akaike prefers.
struct Lags {
  int most;
  bool choose;
};

// A panel of `count` series of `length` points.
struct Panel {
  const double* series;  // count x length, one series after the other
  const double* lanes;   // the same, `width` series interleaved: blocks x length x width
  const double* cross;   // count x count, the inner products
  std::size_t count;
  std::size_t length;
};

// Where the statistics go: both arrays are count x count, and [i][j] belongs to the regression
// of series i on series j. What cannot be computed is NaN.
struct Statistics {
  double* t;
  int* lag;
};

// One implementation for each instruction set; the names of their namespaces.
#define MLKIT_DECLARE_ENGLE_GRANGER(isa)                                                        \
  namespace isa {                                                                               \
  extern const int width;                                                                       \
  /* Doubles of scratch memory, aligned to 64 bytes, that `screen_block` needs. */              \
  std::size_t scratch_size(Lags lags);                                                          \
  /* Both directions of all pairs of the series of a block with those that stand before them. */ \
  void screen_block(const Panel& panel, std::size_t block, Lags lags, double* scratch,          \
                    const Statistics& out);                                                     \
  }

MLKIT_DECLARE_ENGLE_GRANGER(baseline)
#if defined(__x86_64__)
MLKIT_DECLARE_ENGLE_GRANGER(avx2)
MLKIT_DECLARE_ENGLE_GRANGER(avx512)
#endif
#undef MLKIT_DECLARE_ENGLE_GRANGER

}  // namespace mlkit::pairs
