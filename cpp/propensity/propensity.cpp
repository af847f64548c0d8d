#include "propensity/propensity.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <tuple>
#include <utility>

#include "propensity/kernel.hpp"
#include "simd/simd.hpp"

namespace mlkit::propensity {

namespace {

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
constexpr double reach = 40;         // log of the density's fall at which an arm ends
constexpr double core = 20;          // and from where on panels are as narrow as it asks
constexpr double narrow_from = 1e5;  // curvature: six terms of the series hold to 1e-10
constexpr double widest = 1.5;       // of a panel, where the logit bends:
constexpr double bent = 60;          // up to here
constexpr double reached = 1.5;      // how far a panel may reach into a narrower arm
constexpr double per_change = 1.75;  // width of a panel in units of what a density changes over,
constexpr double per_crowd = 5;      // of the number of arms above that it may add or bring,
constexpr double per_tail = 8;       // and of the log of the chance that none is above

struct Kernel {
  decltype(&baseline::describe) describe;
  decltype(&baseline::find_ends) find_ends;
  decltype(&baseline::count_above) count_above;
  decltype(&baseline::densities) densities;
  decltype(&baseline::above_point) above_point;
  decltype(&baseline::add_ranks) add_ranks;
};

#define MLKIT_PROPENSITY_KERNEL(isa)                   \
  {isa::describe,  isa::find_ends,   isa::count_above, \
   isa::densities, isa::above_point, isa::add_ranks}

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

// The rule on [-1, 1], and `part[r][q]`: the integral from node q to 1 of the polynomial that is 1
// at node r and 0 at the others.
struct Rule {
  std::array<double, nodes> node, weight;
  double part[nodes][nodes];
  double from_the_left[nodes]
                      [nodes];  // [r][q]: of the value at node r in the integral up to node q

  Rule() {
    for (std::size_t i = 0; i < nodes; ++i) find_node(i);
    for (std::size_t q = 0; q < nodes; ++q) find_parts(q);
    for (std::size_t r = 0; r < nodes; ++r)
      for (std::size_t q = 0; q < nodes; ++q)  // the rule is symmetric
        from_the_left[r][q] = part[nodes - 1 - r][nodes - 1 - q];
  }

  void find_node(std::size_t i) {
    double x = -std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (nodes + 0.5));
    double slope = 1;
    for (int step = 0; step < 20; ++step) {
      double before = 1, value = x;
      for (std::size_t n = 2; n <= nodes; ++n) {
        const auto d = static_cast<double>(n);
        const double next = ((2 * d - 1) * x * value - (d - 1) * before) / d;
        before = value, value = next;
      }
      slope = nodes * (x * value - before) / (x * x - 1);
      x -= value / slope;
    }
    node[i] = x;
    weight[i] = 2 / ((1 - x * x) * slope * slope);
  }

  double cardinal(std::size_t r, double x) const {
    double product = 1;
    for (std::size_t i = 0; i < nodes; ++i)
      if (i != r) product *= (x - node[i]) / (node[r] - node[i]);
    return product;
  }

  void find_parts(std::size_t q) {
    const double half = (1 - node[q]) / 2;
    for (std::size_t r = 0; r < nodes; ++r) {
      part[r][q] = 0;
      for (std::size_t i = 0; i < nodes; ++i)
        part[r][q] += half * weight[i] * cardinal(r, node[q] + half * (1 + node[i]));
    }
  }
};

const Rule& rule() {
  static const Rule made;
  return made;
}

// log x and log (1 - x) for a logit y.
std::pair<double, double> log_sigmoids(double y) {
  const double rest = std::log1p(std::exp(-std::abs(y)));
  return {y > 0 ? -rest : y - rest, y > 0 ? -y - rest : -rest};
}

Arm arm_of(double a, double b, double mode, double peak, double scale) {
  Arm arm{};
  arm.a = a, arm.b = b;
  arm.mode = mode, arm.peak = peak, arm.scale = scale;
  const double m = a / (a + b), curvature = m * b;
  arm.narrow = curvature > narrow_from;
  arm.curve[0] = -curvature / 2;
  arm.curve[1] = -curvature * (1 - 2 * m) / 6;
  arm.curve[2] = -curvature * (1 - 6 * m * (1 - m)) / 24;
  arm.curve[3] = -curvature * (1 - 2 * m) * (1 - 12 * m * (1 - m)) / 120;
  arm.curve[4] = -curvature * (1 + m * (1 - m) * (120 * m * (1 - m) - 30)) / 720;
  return arm;
}

// What of an arm says how wide panels may be.
struct Extent {
  double begin, low;  // between these the panels are as narrow as the density asks
  double curvature;   // of a narrow arm, which is crossed near its mode: one number
  double total;       // a + b of another
  double a, b;

  // The inverse of the length over which the density changes at x, where bend is x (1 - x).
  double rate(double bend, double x, double rest) const {
    if (curvature > 0) return std::sqrt(curvature);
    return std::max({std::sqrt(total * bend), std::abs(slope(x, rest)) / 2, 1e-305});
  }

  // Of the logarithm of the density.
  double slope(double x, double rest) const { return a * rest - b * x; }
};

class Integration {
 public:
  Integration(const double* a, const double* b, std::size_t count,
              const std::vector<std::uint32_t>& shown, std::size_t k, double width)
      : k_(k), width_(width), kernel_(selected_kernel()), others_(count - shown.size()) {
    std::vector<Arm> arms = describe(a, b, count);
    std::vector<bool> is_shown(count);
    for (const auto i : shown) {
      is_shown[i] = true;
      arms[i].begin = arms[i].high;  // their propensity may lie in the tail
    }
    // Those that begin first come first: what has not begun is the end of the list.
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t i = 0; i < count; ++i)
      if (!is_shown[i]) order.emplace_back(-arms[i].high, i);
    std::sort(order.begin(), order.end());
    arms_.reserve(count), extents_.reserve(count);
    for (const auto& [key, i] : order) arms_.push_back(arms[i]);
    for (const auto i : shown) arms_.push_back(arms[i]);
    for (const Arm& arm : arms) {
      const double curvature = -2 * arm.curve[0];
      extents_.push_back({arm.begin, arm.low, arm.narrow ? curvature : 0.0,
                          arm.narrow ? 0.0 : arm.a + arm.b, arm.a, arm.b});
    }
    std::sort(extents_.begin(), extents_.end(),
              [](const auto& one, const auto& other) { return one.begin > other.begin; });
    density_.resize(shown.size() * nodes), above_.resize(shown.size() * nodes);
    scratch_.resize(2 * (shown.size() + 1) * k * nodes);
    counts_.resize(k * nodes);
    found_.ranks.resize(shown.size() * k);
  }

  Propensities run() {
    const double first = extents_.front().begin;
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
  double width_;
  Kernel kernel_;
  std::size_t others_;                     // how many of
  std::vector<Arm> arms_;                  // those that are not shown, and the shown ones
  std::vector<Extent> extents_, crossed_;  // of all arms; of those that the next panel crosses
  std::size_t begun_ = 0;                  // how many of `extents_` have been crossed, or are
  Crowd crowd_;                            // at the left end of the last panel
  std::vector<double> density_, above_, scratch_, counts_;
  std::vector<double> slate_density_, none_above_, halves_;  // of all panels
  std::vector<double> tails_;  // of the shown arms, above the point where the panels begin
  double in_tail_ = 0;         // how many arms are expected there
  double slate_error_ = 0;     // that they may bring
  bool has_likely_slate_ = false;
  Propensities found_;

  std::vector<Arm> describe(const double* a, const double* b, std::size_t count) const {
    std::vector<double> mode(count), peak(count), scale(count), high(count), begin(count),
        low(count);
    kernel_.describe(a, b, count, mode.data(), peak.data(), scale.data());
    constexpr End wanted[end_count] = {{1, reach}, {1, core}, {-1, reach}};
    double* const ends[end_count] = {high.data(), begin.data(), low.data()};
    kernel_.find_ends(a, b, mode.data(), peak.data(), count, wanted, ends);
    std::vector<Arm> arms;
    arms.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      Arm& arm = arms.emplace_back(arm_of(a[i], b[i], mode[i], peak[i], scale[i]));
      arm.high = high[i], arm.begin = begin[i], arm.low = low[i];
      if (!arm.narrow) continue;
      // Its logarithms would cancel; it is nearly a Gauss curve.
      const double spread = 1 / std::sqrt(-2 * arm.curve[0]);
      arm.high = arm.mode + std::sqrt(2 * reach) * spread;
      arm.begin = arm.mode + std::sqrt(2 * core) * spread;
      arm.low = arm.mode - std::sqrt(2 * reach) * spread;
    }
    return arms;
  }

  // Everything as before the first panel.
  void clear() {
    for (Arm& arm : arms_) arm.right = 0;
    crossed_.clear(), tails_.clear();
    slate_density_.clear(), none_above_.clear(), halves_.clear();
    begun_ = 0, crowd_ = {}, in_tail_ = slate_error_ = 0;
    std::fill(found_.ranks.begin(), found_.ranks.end(), 0.0);
  }

  // Find a point above which about `tail` arms are expected, and each arm's chance there: a
  // continued fraction is a panel's work, where the tail would take a dozen. Infinite: there is no
  // such point, or the chances are not exact there.
  double begin_late(double first) {
    constexpr double none = std::numeric_limits<double>::infinity();
    double y = -none;
    for (const Arm& arm : arms_) y = std::max(y, arm.mode + tail_begin * (arm.high - arm.mode));
    for (int step = 0; step < tail_steps; ++step) {
      if (!(y < first) || !(std::abs(y) < bent)) return none;
      const bool is_exact = cut(y);
      if (!is_exact || !(crowd_.above > 0 && crowd_.density > 0)) return none;
      if (crowd_.above < most_in_tail && crowd_.above > tail / 30) {
        in_tail_ = crowd_.above;
        for (std::size_t i = others_; i < arms_.size(); ++i) tails_.push_back(arms_[i].right);
        return y;
      }
      // Newton's step for the logarithm, which is concave.
      y += std::log(crowd_.above / tail) * crowd_.above / crowd_.density;
    }
    return none;
  }

  // Set the arms' right edges to y; false: a chance there is not exact.
  bool cut(double y) {
    const double x = 1 / (1 + std::exp(-y)), rest = 1 / (1 + std::exp(y));
    const auto [log_x, log_rest] = log_sigmoids(y);
    const Point point{y, x, rest, log_x, log_rest};
    std::vector<double> density(arms_.size()), above(arms_.size());
    const double change =
        kernel_.above_point(point, arms_.data(), arms_.size(), density.data(), above.data());
    crowd_ = {};
    for (std::size_t i = 0; i < arms_.size(); ++i) {
      arms_[i].right = above[i];
      crowd_.above += above[i], crowd_.density += density[i];
    }
    return change <= exact_tail * crowd_.above;
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
  double edge(double y) {
    double left = farthest(y);
    const double near_zero = std::clamp(0.0, std::max(left, -700.0), std::max(y, -700.0));
    const double bend = 1 / (1 + std::exp(-near_zero)) / (1 + std::exp(near_zero));
    const double x = 1 / (1 + std::exp(-y)), rest = 1 / (1 + std::exp(y));
    std::erase_if(crossed_, [y](const Extent& each) { return each.low >= y; });
    for (; begun_ < extents_.size() && extents_[begun_].begin >= y; ++begun_)
      if (extents_[begun_].low < y) crossed_.push_back(extents_[begun_]);
    if (!crossed_.empty()) left = std::max(left, y - width_ * room(bend, x, rest));
    // Ranks are decided where the number of arms above grows by a few.
    if (crowd_.above > 0 && crowd_.density > 0) {
      const double growing = std::log1p(per_crowd / crowd_.above) * crowd_.above;
      left = std::max(left, y - width_ * growing / crowd_.density);
    }
    // A panel may not reach far into an arm that is narrower: it ends where that begins.
    for (std::size_t i = begun_; i < extents_.size() && extents_[i].begin > left; ++i) {
      const double within = y - width_ * reached / extents_[i].rate(bend, x, rest);
      left = std::max(left, std::min(within, extents_[i].begin));
    }
    // Between the supports of all arms nothing happens: go on to the next one.
    return std::isfinite(left) ? left : y - widest;
  }

  // How wide the arms that it crosses let a panel be.
  double room(double bend, double x, double rest) const {
    double total = 0, curvature = 0, steepest = 0, together = 0;
    for (const Extent& each : crossed_) {
      const double slope = each.slope(x, rest);
      total = std::max(total, each.total);
      curvature = std::max(curvature, each.curvature);
      if (each.total > 0) steepest = std::max(steepest, std::abs(slope));
      together += std::max(0.0, slope);  // of the product of all P(Y < y)
    }
    const double square = std::max(total * bend, curvature);
    const double fastest = std::max({std::sqrt(square), steepest / 2, 1e-305});
    return std::min(per_change / fastest, per_tail / std::max(together, 1e-305));
  }

  // Far from 0 the logarithms are straight, and a panel may have any width.
  static double farthest(double y) {
    if (y > bent) return bent;
    return y > -bent ? y - widest : -std::numeric_limits<double>::infinity();
  }

  static void place(Panel& panel, double left, double right) {
    panel.half = (right - left) / 2;
    const double middle = left + panel.half;
    for (std::size_t q = 0; q < nodes; ++q) {
      panel.y[q] = middle + panel.half * rule().node[q];
      std::tie(panel.log_x[q], panel.log_rest[q]) = log_sigmoids(panel.y[q]);
      panel.weights[q] = panel.half * rule().weight[q];
      for (std::size_t r = 0; r < nodes; ++r)
        panel.to_the_right[r][q] = panel.half * rule().part[r][q];
    }
  }

  // From y on to the left.
  void integrate(double y) {
    double last = std::numeric_limits<double>::infinity();
    for (const Extent& each : extents_) last = std::min(last, each.low);
    bool is_decided = false;
    while (found_.panels < most_panels && y > last && !is_decided) {
      y = step(y);
      ++found_.panels;
      is_decided = is_enough();
    }
    found_.slate = slate();
  }

  double step(double right) {
    const double left = edge(right);
    Panel panel;
    place(panel, left, right);
    std::fill(counts_.begin(), counts_.end(), 0.0);
    std::fill_n(counts_.begin(), nodes, 1.0);
    const std::size_t shown = arms_.size() - others_;
    std::size_t begun = 0;
    while (begun < others_ && arms_[begun].high > left) ++begun;
    crowd_ = kernel_.count_above(panel, arms_.data(), begun, k_, counts_.data());
    for (std::size_t i = 0; i < shown; ++i)
      kernel_.densities(panel, arms_[others_ + i], &density_[i * nodes], &above_[i * nodes]);
    for (std::size_t i = 0; i < shown; ++i)
      crowd_.above += above_[i * nodes], crowd_.density += density_[i * nodes];
    kernel_.add_ranks(panel, density_.data(), above_.data(), shown, k_, counts_.data(),
                      scratch_.data(), found_.ranks.data());
    slate_density_.insert(slate_density_.end(), density_.begin(), density_.end());
    none_above_.insert(none_above_.end(), counts_.begin(), counts_.begin() + nodes);
    halves_.push_back(panel.half);
    return left;
  }

  // P(fewer than k arms are above the lowest node): nothing below matters once this is tiny.
  double undecided() const {
    const double* all = scratch_.data() + (arms_.size() - others_) * k_ * nodes;
    double sum = 0;
    for (std::size_t r = 0; r < k_; ++r) sum += all[r * nodes];
    return sum;
  }

  // Whether what is below the last panel is nothing to any rank, and to a slate that is not rare.
  bool is_enough() {
    const double left = undecided();
    if (left < settled * std::pow(width_, 12)) return true;  // in proportion to the error
    if (width_ < 1 || has_likely_slate_) return false;
    for (const double rank : found_.ranks)
      if (left > negligible * rank + rounding) return false;
    const double likely = slate();
    has_likely_slate_ = likely + left > rare && left > slate_share * likely;
    return !has_likely_slate_;
  }

  // The chain h <- int_{-inf}^{y} g h, from the last place to the first.
  double slate() {
    const std::size_t shown = arms_.size() - others_;
    std::vector<double> h = none_above_, f(h.size());
    double total = 1, after = 1, most_after = 1, most = 1;  // of this place on, and of the next
    for (std::size_t i = shown; i-- > 0;) {
      for (std::size_t p = 0; p < halves_.size(); ++p)
        for (std::size_t q = 0; q < nodes; ++q) {
          const std::size_t at = p * nodes + q;
          f[at] = slate_density_[(p * shown + i) * nodes + q] * h[at];
        }
      after = total, total = from_the_left(f, h);
      most_after = most, most = total + (tails_.empty() ? 0 : tails_[i] * most);
    }
    if (tails_.empty() || shown == 0) return total;
    // The first is in the tail: alone or, from 0 to the most that is possible, with the second.
    slate_error_ = tails_[0] * (shown > 1 ? (most_after - after) : in_tail_) / 2;
    return total + tails_[0] * after + (shown > 1 ? slate_error_ : -slate_error_);
  }

  // The integral of f up to each node, and that of all: from the left, since it may be tiny.
  double from_the_left(const std::vector<double>& f, std::vector<double>& integral) const {
    const Rule& with = rule();
    double below = 0;
    for (std::size_t p = halves_.size(); p-- > 0;) {
      const double* const at = f.data() + p * nodes;
      double whole = 0, parts[nodes] = {};
      for (std::size_t r = 0; r < nodes; ++r) {
        whole += halves_[p] * with.weight[r] * at[r];
        for (std::size_t q = 0; q < nodes; ++q) parts[q] += with.from_the_left[r][q] * at[r];
      }
      for (std::size_t q = 0; q < nodes; ++q)
        integral[p * nodes + q] = std::max(0.0, below + halves_[p] * parts[q]);
      below += whole;
    }
    return below;
  }
};

}  // namespace

Propensities top_k(const double* a, const double* b, std::size_t count,
                   const std::vector<std::uint32_t>& shown, std::size_t k, double width) {
  return Integration(a, b, count, shown, k, width).run();
}

}  // namespace mlkit::propensity
