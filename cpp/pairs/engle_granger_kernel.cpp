// The Engle-Granger kernel: `lanes` pairs at a time, one a lane of a vector.
//
// Step two needs the sums of d[t] d[t - l] over t for all lags l at once: with the changes d in
// the first-level cache that is a multiply-add a load, and nearly all of the work. All other
// inner products of the regression follow from them by adding and dropping terms at the two
// ends, and one Cholesky factor of the largest regression gives the residual sum of squares of
// every smaller one.
#include "pairs/engle_granger.hpp"
#include "pairs/vector.hpp"

namespace mlkit::pairs::MLKIT_ISA {

const int width = lanes;

namespace {

constexpr int chunk = 64;
constexpr int most_at_once = 12;

template <class T>
struct Matrix {
  T* cells;
  int size;
  T* operator[](int row) const { return cells + row * size; }
};

// The residuals of one direction of `lanes` pairs: own and other are 1 and minus the hedge
// ratio. Both directions round alike, so that swapping two series swaps the statistics.
template <class First>
struct Residuals {
  Vector own, other;
  const First* x_i;   // double: one series, the same in all lanes; Vector: `lanes` series
  const Vector* x_j;  // `lanes` series
  int changes;        // m = length - 1

  Vector operator[](int t) const { return own * x_i[t] + other * x_j[t]; }
};

// Scratch memory for step two with p lags.
struct Scratch {
  int p;
  int history;            // changes that the ring keeps from before a chunk
  Vector* ring;           // history + chunk
  Vector* sums;           // [l]: sum of d[t] d[t - l], t = p .. m - 1
  Vector* head;           // [t]: d[t], t = 0 .. p - 1
  Vector* tail;           // [k]: d[m - 1 - k], k = 0 .. p - 1
  Vector* first;          // [t]: u[t], t = 0 .. p
  Vector* last;           // u[m - 1] and u[m]
  Vector* level;          // [l]: sum of u[t - 1] d[t - l], t = p .. m - 1; one later for u
  Vector* level_square;   // sum of u[t] u[t]
  Matrix<Vector> lagged;  // sum of d[t - k] d[t - l]
  Matrix<Vector> gram;    // of the level, the lagged changes, and the change, in that order
  Matrix<double> lane;    // lagged sums of one lane
  Matrix<double> factor;  // the final regression of one lane
  Vector *first_series, *second_series;  // gathered from a list of pairs
};

// Lays the parts out in memory; with no memory it only counts the doubles.
struct Layout {
  double* memory;
  std::size_t used = 0;

  Vector* vectors(int count) {
    double* place = memory == nullptr ? nullptr : memory + used;
    used += static_cast<std::size_t>(count) * lanes;
    return reinterpret_cast<Vector*>(place);
  }
  double* doubles(int count) { return reinterpret_cast<double*>(vectors(count / lanes + 1)); }
};

Scratch lay_out(Layout& layout, int p, int gathered) {
  Scratch s{};
  s.p = p;
  s.history = p + most_at_once;
  s.ring = layout.vectors(s.history + chunk);
  s.sums = layout.vectors(p + most_at_once);
  s.head = layout.vectors(p + 1);
  s.tail = layout.vectors(p + 1);
  s.first = layout.vectors(p + 1);
  s.last = layout.vectors(2);
  s.level = layout.vectors(p + 1);
  s.level_square = layout.vectors(1);
  s.lagged = {layout.vectors((p + 1) * (p + 1)), p + 1};
  s.gram = {layout.vectors((p + 2) * (p + 2)), p + 2};
  s.lane = {layout.doubles((p + 1) * (p + 1)), p + 1};
  s.factor = {layout.doubles((p + 2) * (p + 2)), p + 2};
  s.first_series = layout.vectors(gathered);
  s.second_series = layout.vectors(gathered);
  return s;
}

template <int Count>
void add_products(const Vector* now, const Vector* lagged, int length, Vector* sums) {
  Vector sum[Count];
  for (int l = 0; l < Count; ++l) sum[l] = sums[l];
  for (int t = 0; t < length; ++t) {
    const Vector factor = now[t];
#pragma GCC unroll 12
    for (int l = 0; l < Count; ++l) sum[l] = fma(factor, lagged[t - l], sum[l]);
  }
  for (int l = 0; l < Count; ++l) sums[l] = sum[l];
}

using AddProducts = void (*)(const Vector*, const Vector*, int, Vector*);
constexpr AddProducts add_products_of[most_at_once + 1] = {
    nullptr,          add_products<1>,  add_products<2>,  add_products<3>, add_products<4>,
    add_products<5>,  add_products<6>,  add_products<7>,  add_products<8>, add_products<9>,
    add_products<10>, add_products<11>, add_products<12>,
};

// Walks once through the residuals: `sums` and `level_square`.
template <class First>
void accumulate(const Residuals<First>& u, const Scratch& s) {
  const int groups = (s.p + most_at_once) / most_at_once;
  const int group = (s.p + groups) / groups;
  for (int l = 0; l < groups * group; ++l) s.sums[l] = Vector{};
  for (int k = 0; k < s.history; ++k) s.ring[k] = Vector{};
  Vector squares{};
  Vector* fresh = s.ring + s.history;
  Vector now = u[0];
  for (int begin = 0; begin < u.changes; begin += chunk) {
    const int length = u.changes - begin < chunk ? u.changes - begin : chunk;
    const int skip = s.p <= begin ? 0 : (s.p - begin < length ? s.p - begin : length);
    for (int t = 0; t < length; ++t) {
      const Vector next = u[begin + t + 1];
      fresh[t] = next - now;
      if (t >= skip) squares = fma(now, now, squares);
      now = next;
    }
    for (int g = 0; g < groups; ++g)
      add_products_of[group](fresh + skip, fresh + skip - g * group, length - skip,
                             s.sums + g * group);
    for (int k = 0; k < s.history; ++k) s.ring[k] = s.ring[k + length];
  }
  *s.level_square = squares;
}

// Keeps the residuals and changes at both ends.
template <class First>
void keep_ends(const Residuals<First>& u, const Scratch& s) {
  const int m = u.changes;
  for (int t = 0; t <= s.p; ++t) s.first[t] = u[t];
  for (int t = 0; t < s.p; ++t) s.head[t] = s.first[t + 1] - s.first[t];
  for (int k = 0; k < s.p; ++k) s.tail[k] = u[m - k] - u[m - 1 - k];
  s.last[0] = u[m - 1];
  s.last[1] = u[m];
}

// Completes the inner products of the regression with p lags, observations t = p .. m - 1.
void complete_products(const Scratch& s) {
  const int p = s.p;
  for (int l = 0; l <= p; ++l) s.lagged[0][l] = s.sums[l];
  for (int k = 1; k <= p; ++k)
    for (int l = k; l <= p; ++l)
      s.lagged[k][l] =
          s.lagged[k - 1][l - 1] + s.head[p - k] * s.head[p - l] - s.tail[k - 1] * s.tail[l - 1];
  const Vector start = s.first[p], end = s.last[1];
  s.level[0] = (end * end - start * start - s.lagged[0][0]) * 0.5;
  for (int l = 1; l <= p; ++l)
    s.level[l] = s.level[l - 1] + s.first[p - 1] * s.head[p - l] - s.last[0] * s.tail[l - 1] +
                 s.lagged[1][l];
}

// The Gram matrix (lower triangle) of level, lagged changes and change; then its Cholesky
// factor, with the reciprocals of the diagonal, and the last row's own diagonal left out.
void factorise(const Scratch& s) {
  const int p = s.p;
  const Matrix<Vector>& g = s.gram;
  g[0][0] = *s.level_square;
  for (int k = 1; k <= p; ++k) {
    g[k][0] = s.level[k];
    for (int l = 1; l <= k; ++l) g[k][l] = s.lagged[l][k];
  }
  g[p + 1][0] = s.level[0];
  for (int l = 1; l <= p; ++l) g[p + 1][l] = s.lagged[0][l];
  for (int k = 0; k <= p + 1; ++k) {
    for (int l = 0; l < k; ++l) {
      Vector cell = g[k][l];
      for (int r = 0; r < l; ++r) cell = fma(-g[k][r], g[l][r], cell);
      g[k][l] = cell * g[l][l];
    }
    if (k > p) break;
    Vector pivot = g[k][k];
    for (int r = 0; r < k; ++r) pivot = fma(-g[k][r], g[k][r], pivot);
    g[k][k] = reciprocal_root(pivot);
  }
}

// Akaike's choice in each lane: the least ssr * exp(2 regressors / observations).
void choose_lags(const Scratch& s, int observations, int* chosen) {
  const Vector* change = s.gram[s.p + 1];
  Vector ssr = s.lagged[0][0], best{};
  for (int k = 0; k <= s.p; ++k) {
    ssr -= change[k] * change[k];
    const Vector score = ssr * __builtin_exp(2.0 * (k + 1) / observations);
    for (int lane = 0; lane < lanes; ++lane)
      if (k == 0 || score[lane] < best[lane]) best[lane] = score[lane], chosen[lane] = k;
  }
}

// Cholesky factor, in place, of a Gram matrix's lower triangle; the last row solves the rest.
void factorise(const Matrix<double>& c) {
  for (int k = 0; k < c.size; ++k)
    for (int l = 0; l <= k; ++l) {
      double cell = c[k][l];
      for (int r = 0; r < l; ++r) cell -= c[k][r] * c[l][r];
      if (l < k) c[k][l] = cell / c[l][l];
      else c[k][k] = k + 1 == c.size ? cell : __builtin_sqrt(cell);
    }
}

// The Gram matrix of one lane's final regression: k lags, the observations t = k .. m - 1, the
// level last among the regressors, so that its t statistic can be read off the factor.
Matrix<double> final_gram(const Scratch& s, int lane, int k) {
  const int p = s.p;
  const auto d = [&](int t) { return s.head[t][lane]; };
  const auto u = [&](int t) { return s.first[t][lane]; };
  const Matrix<double>& a = s.lane;
  for (int l = 0; l <= k; ++l) {
    a[0][l] = s.sums[l][lane];
    for (int t = k; t < p; ++t) a[0][l] += d(t) * d(t - l);
  }
  for (int i = 1; i <= k; ++i)
    for (int l = i; l <= k; ++l)
      a[i][l] = a[i - 1][l - 1] + d(k - i) * d(k - l) - s.tail[i - 1][lane] * s.tail[l - 1][lane];
  const Matrix<double> c{s.factor.cells, k + 2};
  const double end = s.last[1][lane], before = s.last[0][lane];
  double level = (end * end - u(k) * u(k) - a[0][0]) * 0.5;
  c[k + 1][k] = level;
  for (int l = 1; l <= k; ++l) {
    level += u(k - 1) * d(k - l) - before * s.tail[l - 1][lane] + a[1][l];
    c[k][l - 1] = level;
    c[k + 1][l - 1] = a[0][l];
    for (int i = 1; i <= l; ++i) c[l - 1][i - 1] = a[i][l];
  }
  c[k][k] = (*s.level_square)[lane];
  for (int t = k; t < p; ++t) c[k][k] += u(t) * u(t);
  c[k + 1][k + 1] = a[0][0];
  return c;
}

double final_statistic(const Scratch& s, int lane, int k, int changes) {
  const Matrix<double> c = final_gram(s, lane, k);
  factorise(c);
  const int freedom = changes - k - (k + 1);
  return c[k + 1][k] / __builtin_sqrt(c[k + 1][k + 1] / freedom);
}

template <class First>
void step_two(const Residuals<First>& u, Lags lags, const Scratch& s, double* t, int* lag) {
  accumulate(u, s);
  keep_ends(u, s);
  for (int lane = 0; lane < lanes; ++lane) lag[lane] = s.p;
  if (lags.choose) {
    complete_products(s);
    factorise(s);
    choose_lags(s, u.changes - s.p, lag);
  }
  for (int lane = 0; lane < lanes; ++lane) t[lane] = final_statistic(s, lane, lag[lane], u.changes);
}

// A value of each lane, or one for all.
template <class Value>
Vector in_lanes(Value value) {
  return Vector{} + value;
}

// Inner products of `lanes` pairs; in several sums, since each addition waits for the one before.
template <class First>
Vector inner_product(const First* a, const Vector* b, int length) {
  Vector sum[4]{};
  int t = 0;
  for (; t + 4 <= length; t += 4)
    for (int k = 0; k < 4; ++k) sum[k] = fma(in_lanes(a[t + k]), b[t + k], sum[k]);
  for (; t < length; ++t) sum[0] = fma(in_lanes(a[t]), b[t], sum[0]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// Both directions of `lanes` pairs.
struct Both {
  double t[2][lanes];
  int lag[2][lanes];
  Vector cross;
};

template <class First>
void test_both(const First* x_i, const Vector* x_j, Vector square_i, Vector square_j, int length,
               Lags lags, const Scratch& s, Both& found) {
  const Vector one = Vector{} + 1.0;
  found.cross = inner_product(x_i, x_j, length);
  const Vector on_j = -found.cross / square_j, on_i = -found.cross / square_i;
  step_two(Residuals<First>{one, on_j, x_i, x_j, length - 1}, lags, s, found.t[0], found.lag[0]);
  step_two(Residuals<First>{on_i, one, x_i, x_j, length - 1}, lags, s, found.t[1], found.lag[1]);
}

void store(const Both& found, int lane, std::size_t pair, const Statistics& out) {
  for (int way = 0; way < 2; ++way) {
    out.t[2 * pair + way] = found.t[way][lane];
    out.lag[2 * pair + way] = found.lag[way][lane];
  }
  out.cross[pair] = found.cross[lane];
}

// Interleaves the series that `numbers` name; a short batch repeats its last one.
void gather(const Panel& panel, const std::int64_t* numbers, std::size_t count, Vector* into) {
  for (int lane = 0; lane < lanes; ++lane) {
    const std::size_t at = static_cast<std::size_t>(lane) < count ? lane : count - 1;
    const double* series = panel.series + static_cast<std::size_t>(numbers[at]) * panel.length;
    for (std::size_t t = 0; t < panel.length; ++t) into[t][lane] = series[t];
  }
}

Vector gather_squares(const Panel& panel, const std::int64_t* numbers, std::size_t count) {
  Vector squares{};
  for (int lane = 0; lane < lanes; ++lane)
    squares[lane] =
        panel.squares[numbers[static_cast<std::size_t>(lane) < count ? lane : count - 1]];
  return squares;
}

// A series by itself: its own residual, without a first step.
void test_alone(const Panel& panel, const Scratch& s, Lags lags, Both& found) {
  const Vector one = Vector{} + 1.0;
  const int changes = static_cast<int>(panel.length) - 1;
  const Residuals<Vector> u{one, Vector{}, s.first_series, s.first_series, changes};
  step_two(u, lags, s, found.t[0], found.lag[0]);
  for (int lane = 0; lane < lanes; ++lane)
    found.t[1][lane] = found.t[0][lane], found.lag[1][lane] = found.lag[0][lane];
}

bool holds(const Band& band, std::size_t i, std::size_t j) {
  return j >= band.begin && j < band.end && i < j && static_cast<std::int64_t>(i) >= band.first[j];
}

std::size_t place(const Band& band, std::size_t i, std::size_t j) {
  return band.offsets[j - band.begin] + i - static_cast<std::size_t>(band.first[j]);
}

// The least first series of the band's columns from `low` to `high` - 1.
std::size_t lowest(const Band& band, std::size_t low, std::size_t high) {
  std::size_t least = high;
  for (std::size_t j = low < band.begin ? band.begin : low; j < high && j < band.end; ++j) {
    const auto first = static_cast<std::size_t>(band.first[j]);
    if (first < least) least = first;
  }
  return least;
}

const Vector* block_of(const Panel& panel, std::size_t block) {
  return reinterpret_cast<const Vector*>(panel.lanes) + block * panel.length;
}

}  // namespace

std::size_t scratch_size(Lags lags, std::size_t gathered) {
  Layout layout{nullptr};
  lay_out(layout, lags.most, static_cast<int>(gathered));
  return layout.used;
}

void screen_block(const Panel& panel, const Band& band, std::size_t block, Lags lags,
                  double* scratch, const Statistics& out) {
  Layout layout{scratch};
  const Scratch s = lay_out(layout, lags.most, 0);
  const std::size_t begin = block * lanes;
  const std::size_t end = begin + lanes < panel.count ? begin + lanes : panel.count;
  const int length = static_cast<int>(panel.length);
  Vector squares = Vector{} + 1.0;  // lanes without a series hold zeros
  for (std::size_t j = begin; j < end; ++j) squares[j - begin] = panel.squares[j];
  for (std::size_t i = lowest(band, begin, end); i + 1 < end; ++i) {
    Both found{};
    test_both(panel.series + i * panel.length, block_of(panel, block), Vector{} + panel.squares[i],
              squares, length, lags, s, found);
    for (std::size_t j = begin; j < end; ++j)
      if (holds(band, i, j)) store(found, static_cast<int>(j - begin), place(band, i, j), out);
  }
}

void screen_list(const Panel& panel, const List& list, std::size_t begin, Lags lags,
                 double* scratch, const Statistics& out) {
  Layout layout{scratch};
  const Scratch s = lay_out(layout, lags.most, static_cast<int>(panel.length));
  const std::size_t count = list.count - begin < lanes ? list.count - begin : lanes;
  const std::int64_t *first = list.first + begin, *second = list.second + begin;
  gather(panel, first, count, s.first_series);
  Both found{};
  if (list.alone) {
    test_alone(panel, s, lags, found);
    found.cross = gather_squares(panel, first, count);
  } else {
    gather(panel, second, count, s.second_series);
    test_both(s.first_series, s.second_series, gather_squares(panel, first, count),
              gather_squares(panel, second, count), static_cast<int>(panel.length), lags, s, found);
  }
  for (std::size_t k = 0; k < count; ++k) store(found, static_cast<int>(k), begin + k, out);
}

void distance_block(const Panel& panel, const Band& band, std::size_t block, double* out) {
  const std::size_t begin = block * lanes;
  const std::size_t end = begin + lanes < panel.count ? begin + lanes : panel.count;
  const Vector* x_j = block_of(panel, block);
  for (std::size_t i = lowest(band, begin, end); i + 1 < end; ++i) {
    const double* x_i = panel.series + i * panel.length;
    Vector sum[2]{};
    for (std::size_t t = 0; t < panel.length; ++t) {
      const Vector gap = x_i[t] - x_j[t];
      sum[t % 2] = fma(gap, gap, sum[t % 2]);
    }
    for (std::size_t j = begin; j < end; ++j)
      if (holds(band, i, j)) out[place(band, i, j)] = sum[0][j - begin] + sum[1][j - begin];
  }
}

}  // namespace mlkit::pairs::MLKIT_ISA
