#include "propensity/propensity.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <utility>

#include "propensity/kernel.hpp"
#include "propensity/rule.hpp"
#include "simd/simd.hpp"

namespace mlkit::propensity {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double settled = 1e-13;     // chance that the top k is not decided, where it ends,
constexpr double negligible = 1e-10;  // or by its share in a rank,
constexpr double slate_share = 1e-5;  // and in a slate that is more likely than
constexpr double rare = 1e-8;         // this
constexpr double tail = 3e-5;         // arms that are expected above the point where it begins,
constexpr double most_in_tail = 1e-3;
constexpr double tail_share = 2e-6;  // and the error of a rank that they may bring,
constexpr double rounding = 1e-12;   // besides this
constexpr double exact_tail = 1e-9;  // the last change of a continued fraction
constexpr double tail_begin = 0.5;   // of the way from a mode to an arm's end
constexpr int tail_steps = 5;
constexpr double widest = 1.5;   // of a panel, where the logit bends:
constexpr double bent = 60;      // up to here
constexpr double reached = 1.5;  // how far a panel may reach into a narrower arm
// With these widths errors are below 1e-5 among equal arms, where they are largest, and 3e-7 and less in
// 2,000 random mixes beside panels of a quarter of the width.
constexpr double per_change = 1.75;  // width of a panel in units of what a density changes over,
constexpr double per_crowd = 4.5;    // of the number of arms above that it may add or bring,
constexpr double per_tail = 14;      // and of the log of the chance that none is above

struct Kernel {
  decltype(&baseline::locate) locate;
  decltype(&baseline::heights) heights;
  decltype(&baseline::cross) cross;
  decltype(&baseline::place) place;
  decltype(&baseline::count_above) count_above;
  decltype(&baseline::densities) densities;
  decltype(&baseline::above_point) above_point;
  decltype(&baseline::add_ranks) add_ranks;
  decltype(&baseline::add_place) add_place;
};

#define MLKIT_PROPENSITY_KERNEL(isa)                                                  \
  {isa::locate,    isa::heights,     isa::cross,     isa::place,    isa::count_above, \
   isa::densities, isa::above_point, isa::add_ranks, isa::add_place}

Kernel selected_kernel() {
  switch (simd::selected()) {
#if defined(__x86_64__)
    case simd::Isa::avx512:
      return MLKIT_PROPENSITY_KERNEL(avx512);
    case simd::Isa::avx2:
      return MLKIT_PROPENSITY_KERNEL(avx2);
#endif
    default:
      return MLKIT_PROPENSITY_KERNEL(baseline);
  }
}

// log x and log (1 - x) for a logit y.
std::pair<double, double> log_sigmoids(double y) {
  const double rest = std::log1p(std::exp(-std::abs(y)));
  return {y > 0 ? -rest : y - rest, y > 0 ? -y - rest : -rest};
}

Series series_of(double a, double b, double mode) {
  const double m = a / (a + b), curvature = m * b * std::numbers::log2e;
  return {mode,
          {-curvature / 2, -curvature * (1 - 2 * m) / 6, -curvature * (1 - 6 * m * (1 - m)) / 24,
           -curvature * (1 - 2 * m) * (1 - 12 * m * (1 - m)) / 120,
           -curvature * (1 + m * (1 - m) * (120 * m * (1 - m) - 30)) / 720}};
}

// The inverse of the length over which an arm's density changes. For a narrow one, which is crossed
// near its mode, that is one number; `bend` is x (1 - x).
double rate(double curvature, double total, double slope, double bend) {
  if (curvature > 0) return std::sqrt(curvature);
  return std::max({std::sqrt(total * bend), std::abs(slope) / 2, 1e-305});
}

// Arms in arrays: those that are not shown and matter, then the shown ones.
struct Columns {
  std::vector<double> a, b, mode, peak, high, begin, low, scale;

  Columns(const double* of_a, const double* of_b, std::size_t count)
      : a(of_a, of_a + count),
        b(of_b, of_b + count),
        mode(count),
        peak(count),
        high(count),
        begin(count),
        low(count) {}

  // Keep the chosen ones, in this order.
  void keep(const std::vector<std::uint32_t>& chosen) {
    for (auto* column : {&a, &b, &mode, &peak, &high, &begin, &low}) {
      std::vector<double> kept(chosen.size());
      for (std::size_t i = 0; i < chosen.size(); ++i) kept[i] = (*column)[chosen[i]];
      column->swap(kept);
    }
  }
};

// The arms that matter: not those that are below k others for certain, but for the shown ones.
// Returns how many are not shown.
std::size_t keep_contenders(Columns& columns, const std::vector<std::uint32_t>& shown,
                            std::size_t k) {
  const std::size_t count = columns.a.size();
  std::vector<double> low = columns.low;
  std::nth_element(low.begin(), low.begin() + static_cast<std::ptrdiff_t>(k) - 1, low.end(),
                   std::greater<>());
  const double decided = low[k - 1];
  std::vector<bool> is_shown(count);
  for (const auto i : shown) is_shown[i] = true;
  std::vector<std::uint32_t> kept;
  kept.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i)
    if (!is_shown[i] && columns.high[i] > decided) kept.push_back(i);
  const std::size_t others = kept.size();
  kept.insert(kept.end(), shown.begin(), shown.end());
  columns.keep(kept);
  // The propensity of a shown arm may lie in its tail.
  for (std::size_t i = others; i < kept.size(); ++i) columns.begin[i] = columns.high[i];
  return others;
}

class Integration {
 public:
  Integration(const double* a, const double* b, std::size_t count,
              const std::vector<std::uint32_t>& shown, std::size_t k, double width)
      : k_(k),
        width_(width),
        settled_(settled * std::pow(width, 12)),  // in proportion to the error
        kernel_(selected_kernel()),
        shown_(shown.size()) {
    Columns columns(a, b, count);
    kernel_.locate(a, b, count, columns.mode.data(), columns.peak.data(),
                   {columns.high.data(), columns.begin.data(), columns.low.data()});
    others_ = keep_contenders(columns, shown, k);
    columns.scale.resize(columns.a.size());
    kernel_.heights(columns.a.data(), columns.b.data(), columns.a.size(), columns.scale.data());
    // Smaller errors than usual ask for exact counts.
    if (width >= 1) small_ = {small(few_powers), small(most_powers)};
    make_arms(columns);
    make_extents(columns);
    density_.resize(shown_ * nodes), above_.resize(shown_ * nodes);
    scratch_.resize(2 * (shown_ + 1) * k * nodes);
    counts_.resize(k * nodes), rank_nodes_.resize(shown_ * k * nodes);
    found_.ranks.resize(shown_ * k);
  }

  Propensities run() {
    const double first = *std::max_element(begin_.begin(), begin_.end());
    // Smaller errors than usual ask for a tail of panels, too.
    if (width_ >= 1) {
      const double y = begin_late(first);
      if (y < first) {
        integrate(y);
        if (is_tail_small()) return found_;
      }
      clear();
    }
    integrate(first);
    return found_;
  }

 private:
  std::size_t k_;
  double width_, settled_;
  Kernel kernel_;
  std::size_t shown_, others_ = 0;  // how many arms are shown, and are not
  std::vector<Series> narrow_;
  std::vector<Arm> arms_;  // those that are not shown, and the shown ones; of the first,
  std::size_t begun_ = 0, passed_ = 0;  // [passed, begun) are neither below nor above a panel
  double next_high_ = infinity;         // the highest end of those that have not begun,
  double next_low_ = -infinity;         // the highest low end of those that have
  std::vector<double> begin_, low_, curvature_, total_, a_, b_;
  Extents extents_{};
  double latest_ = 0;  // where the first begin_late looks
  Small small_;
  Crowd crowd_;  // at the left end of the last panel
  std::vector<double> density_, above_, scratch_, counts_, rank_nodes_;
  std::vector<double> slate_density_, none_above_, halves_;  // of all panels
  std::vector<double> tails_;  // of the shown arms, above the point where the panels begin
  double in_tail_ = 0;         // how many arms are expected there
  double slate_error_ = 0;     // that they may bring
  bool has_likely_slate_ = false;
  double undecided_ = 1;  // P(fewer than k arms are above the last panel)
  Propensities found_;

  // The chance up to which what all arms leave out by so many powers is less than `rounding`.
  double small(std::size_t powers) const {
    const auto next = static_cast<double>(powers + 1);
    return std::pow(rounding / (5 * static_cast<double>(others_ + 1)), 1 / next);
  }

  void make_arms(const Columns& columns) {
    const std::size_t count = columns.a.size();
    arms_.reserve(count), narrow_.reserve(count);
    latest_ = -infinity;
    for (std::size_t i = 0; i < count; ++i) {
      const double a = columns.a[i], b = columns.b[i], mode = columns.mode[i];
      const Series* series = nullptr;
      if (curvature_of(a, b) > narrow_from) series = &narrow_.emplace_back(series_of(a, b, mode));
      arms_.push_back({a, b, columns.peak[i], columns.peak[i] * std::numbers::log2e,
                       columns.scale[i], 0, columns.high[i], columns.low[i], series});
      latest_ = std::max(latest_, mode + tail_begin * (columns.high[i] - mode));
    }
  }

  void make_extents(Columns& columns) {
    const std::size_t count = columns.a.size();
    const std::size_t padded = (count + nodes - 1) / nodes * nodes;
    curvature_.resize(padded), total_.resize(padded);
    for (std::size_t i = 0; i < count; ++i) {
      if (arms_[i].narrow != nullptr) curvature_[i] = curvature_of(columns.a[i], columns.b[i]);
      else total_[i] = columns.a[i] + columns.b[i];
    }
    begin_ = std::move(columns.begin), low_ = std::move(columns.low);
    a_ = std::move(columns.a), b_ = std::move(columns.b);
    for (auto* column : {&a_, &b_, &low_}) column->resize(padded);
    begin_.resize(padded, -infinity);
    extents_ = {begin_.data(), low_.data(), curvature_.data(), total_.data(), a_.data(),
                b_.data(),     padded};
  }

  static double curvature_of(double a, double b) {
    return std::min(a, b) / (1 + std::min(a, b) / std::max(a, b));
  }

  // Everything as before the first panel.
  void clear() {
    for (Arm& arm : arms_) arm.right = 0;
    tails_.clear();
    slate_density_.clear(), none_above_.clear(), halves_.clear();
    begun_ = passed_ = 0, next_high_ = infinity, next_low_ = -infinity;
    crowd_ = {}, in_tail_ = slate_error_ = 0, undecided_ = 1;
    has_likely_slate_ = false;
    std::fill(rank_nodes_.begin(), rank_nodes_.end(), 0.0);
  }

  // Find a point above which about `tail` arms are expected, and each arm's chance there: a
  // continued fraction is a panel's work, where the tail would take a dozen. Infinite: there is no
  // such point, or the chances are not exact there.
  double begin_late(double first) {
    double y = latest_;
    for (int step = 0; step < tail_steps; ++step) {
      if (!(y < first) || !(std::abs(y) < bent)) return infinity;
      const bool is_exact = cut(y);
      if (!is_exact || !(crowd_.above > 0 && crowd_.density > 0)) return infinity;
      if (crowd_.above < most_in_tail && crowd_.above > tail / 30) {
        in_tail_ = crowd_.above;
        for (std::size_t i = others_; i < arms_.size(); ++i) tails_.push_back(arms_[i].right);
        return y;
      }
      // Newton's step for the logarithm, which is concave.
      y += std::log(crowd_.above / tail) * crowd_.above / crowd_.density;
    }
    return infinity;
  }

  // Set the arms' right edges to y; false: a chance there is not exact.
  bool cut(double y) {
    const double x = 1 / (1 + std::exp(-y)), rest = 1 / (1 + std::exp(y));
    const auto [log_x, log_rest] = log_sigmoids(y);
    double changes = 0;
    crowd_ =
        kernel_.above_point({y, x, rest, log_x, log_rest}, arms_.data(), arms_.size(), changes);
    return changes <= exact_tail * crowd_.above;
  }

  // Add what the tail brings: an arm there has rank r + 1 if r others are there, with the chance
  // from 0 (for rank 1: from 1 - crowd) to crowd^r / r!, of which we take the middle. False: that may
  // be too wrong.
  bool is_tail_small() {
    bool is_small = true;
    const auto add = [&](double& to, double middle, double share) {
      to += middle;
      is_small = is_small && middle * share <= tail_share * to + rounding;
    };
    for (std::size_t i = 0; i < tails_.size(); ++i) {
      const double others = std::max(0.0, in_tail_ - tails_[i]);
      double most = tails_[i];
      add(found_.ranks[i * k_], most * (1 - others / 2), others);
      for (std::size_t r = 1; r < k_; ++r) {
        most *= others / static_cast<double>(r);
        add(found_.ranks[i * k_ + r], most / 2, 1);
      }
    }
    return is_small && (found_.slate < rare || slate_error_ <= slate_share * found_.slate);
  }

  // The left edge of the panel that begins at y.
  double edge(double y) const {
    double left = farthest(y);
    const double near_zero = std::clamp(0.0, std::max(left, -700.0), std::max(y, -700.0));
    const double bend = 1 / (1 + std::exp(-near_zero)) / (1 + std::exp(near_zero));
    const double x = 1 / (1 + std::exp(-y)), rest = 1 / (1 + std::exp(y));
    const Crossing crossing = kernel_.cross(extents_, y, x, rest);
    left = std::max(left, y - width_ * room(crossing, bend));
    // Ranks are decided where the number of arms above grows by a few.
    if (crowd_.above > 0 && crowd_.density > 0) {
      const double growing = std::log1p(per_crowd / crowd_.above) * crowd_.above;
      left = std::max(left, y - width_ * growing / crowd_.density);
    }
    // A panel may not reach far into an arm that is narrower: it ends where that begins.
    if (crossing.next > left) {
      double nearest = left;
      for (std::size_t i = 0; i < arms_.size(); ++i) {
        if (begin_[i] >= y || begin_[i] <= nearest) continue;
        const double slope = a_[i] * rest - b_[i] * x;
        const double within = width_ * reached / rate(curvature_[i], total_[i], slope, bend);
        nearest = std::max(nearest, std::min(y - within, begin_[i]));
      }
      left = nearest;
    }
    // Between the supports of all arms nothing happens: go on to the next one.
    return std::isfinite(left) ? left : y - widest;
  }

  // How wide the arms that it crosses let a panel be.
  static double room(const Crossing& crossing, double bend) {
    if (!(crossing.total > 0 || crossing.curvature > 0)) return infinity;
    const double square = std::max(crossing.total * bend, crossing.curvature);
    const double fastest = std::max({std::sqrt(square), crossing.steepest / 2, 1e-305});
    // `rising` is the slope of the log of the product of all P(Y < y), or more.
    return std::min(per_change / fastest, per_tail / std::max(crossing.rising, 1e-305));
  }

  // Far from 0 the logarithms are straight, and a panel may have any width.
  static double farthest(double y) {
    if (y > bent) return bent;
    return y > -bent ? y - widest : -std::numeric_limits<double>::infinity();
  }

  // From y on to the left.
  void integrate(double y) {
    const std::size_t count = arms_.size();
    const double last =
        *std::min_element(low_.begin(), low_.begin() + static_cast<std::ptrdiff_t>(count));
    bool is_decided = false;
    while (found_.panels < most_panels && y > last && !is_decided) {
      y = step(y);
      ++found_.panels;
      is_decided = is_enough();
    }
    sum_ranks();
    found_.slate = slate();
  }

  double step(double right) {
    const double left = edge(right);
    sort_out(left, right);
    Panel panel;
    kernel_.place(rule(), left, right, panel);
    const std::size_t terms = k_ - std::min(k_, passed_);  // what has passed has the first ranks
    std::fill_n(counts_.begin(), terms * nodes, 0.0);
    std::fill_n(counts_.begin(), std::min(terms, std::size_t{1}) * nodes, 1.0);
    crowd_ = {};
    if (terms > 0)
      crowd_ = kernel_.count_above(panel, arms_.data() + passed_, begun_ - passed_, terms, small_,
                                   scratch_.data(), counts_.data());
    crowd_.above += static_cast<double>(passed_);
    add_shown(panel, left, right);
    return left;
  }

  // Sort out which of the arms that are not shown have begun, and which have passed.
  void sort_out(double left, double right) {
    if (next_high_ > left) {
      next_high_ = -infinity;
      for (std::size_t i = begun_; i < others_; ++i) {
        if (arms_[i].high > left) {
          next_low_ = std::max(next_low_, arms_[i].low);
          std::swap(arms_[i], arms_[begun_++]);
        } else {
          next_high_ = std::max(next_high_, arms_[i].high);
        }
      }
    }
    if (next_low_ >= right) {
      next_low_ = -infinity;
      for (std::size_t i = passed_; i < begun_; ++i) {
        if (arms_[i].low >= right) std::swap(arms_[i], arms_[passed_++]);
        else next_low_ = std::max(next_low_, arms_[i].low);
      }
    }
  }

  // Add to the ranks of the shown arms that the panel crosses, and count the others of them.
  void add_shown(const Panel& panel, double left, double right) {
    std::vector<double*> rows;
    std::vector<std::size_t> crossed;
    std::size_t before = passed_;
    const std::size_t at = slate_density_.size();
    slate_density_.resize(at + shown_ * nodes, 0.0);
    for (std::size_t i = 0; i < shown_; ++i) {
      Arm& arm = arms_[others_ + i];
      if (arm.low >= right) ++before, ++crowd_.above;
      if (arm.low >= right || arm.high <= left) continue;
      double* const density = &density_[crossed.size() * nodes];
      double* const above = &above_[crossed.size() * nodes];
      kernel_.densities(panel, arm, density, above);
      crowd_.above += above[0], crowd_.density += density[0];
      std::copy_n(density, nodes, &slate_density_[at + i * nodes]);
      crossed.push_back(i);
    }
    none_above_.insert(none_above_.end(), counts_.begin(), counts_.begin() + nodes);
    if (passed_ > 0) std::fill(none_above_.end() - nodes, none_above_.end(), 0.0);
    halves_.push_back(panel.half);
    undecided_ = 0;
    if (before >= k_) return;
    for (const std::size_t i : crossed) rows.push_back(&rank_nodes_[(i * k_ + before) * nodes]);
    const std::size_t terms = k_ - before;
    kernel_.add_ranks(panel, density_.data(), above_.data(), crossed.size(), terms, counts_.data(),
                      scratch_.data(), rows.data());
    // Nothing below the lowest node matters once this is tiny.
    const double* const all = scratch_.data() + crossed.size() * terms * nodes;
    for (std::size_t r = 0; r < terms; ++r) undecided_ += all[r * nodes];
  }

  void sum_ranks() {
    for (std::size_t i = 0; i < found_.ranks.size(); ++i) {
      const double* const each = &rank_nodes_[i * nodes];
      found_.ranks[i] =
          ((each[0] + each[4]) + (each[2] + each[6])) + ((each[1] + each[5]) + (each[3] + each[7]));
    }
  }

  // Whether what is below the last panel is nothing to any rank, and to a slate that is not rare.
  bool is_enough() {
    if (undecided_ < settled_) return true;
    // No rank is more likely than 1.
    if (width_ < 1 || has_likely_slate_ || undecided_ > negligible + rounding) return false;
    sum_ranks();
    for (const double rank : found_.ranks)
      if (undecided_ > negligible * rank + rounding) return false;
    const double likely = slate();
    has_likely_slate_ = likely + undecided_ > rare && undecided_ > slate_share * likely;
    return !has_likely_slate_;
  }

  // The chain h <- int_{-inf}^{y} g h, from the last place to the first.
  double slate() {
    std::vector<double> h = none_above_;
    double total = 1, after = 1, most_after = 1, most = 1;  // of this place on, and of the next
    for (std::size_t i = shown_; i-- > 0;) {
      after = total;
      total = kernel_.add_place(rule(), halves_.data(), halves_.size(),
                                slate_density_.data() + i * nodes, shown_ * nodes, h.data());
      most_after = most, most = total + (tails_.empty() ? 0 : tails_[i] * most);
    }
    if (tails_.empty() || shown_ == 0) return total;
    // The first is in the tail: alone or, from 0 to the most that is possible, with the second.
    slate_error_ = tails_[0] * (shown_ > 1 ? (most_after - after) : in_tail_) / 2;
    return total + tails_[0] * after + (shown_ > 1 ? slate_error_ : -slate_error_);
  }
};

}  // namespace

Propensities top_k(const double* a, const double* b, std::size_t count,
                   const std::vector<std::uint32_t>& shown, std::size_t k, double width) {
  return Integration(a, b, count, shown, k, width).run();
}

}  // namespace mlkit::propensity
