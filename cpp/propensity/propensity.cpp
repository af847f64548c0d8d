#include "propensity/propensity.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "propensity/kernel.hpp"
#include "simd/simd.hpp"

namespace mlkit::propensity {

namespace {

constexpr double settled = 1e-16;    // chance that the top k is not decided, where it ends
constexpr double reach = 42;         // log of the density's fall at which an arm ends
constexpr double core = 20;          // and from where on panels are as narrow as it asks
constexpr double narrow_from = 1e5;  // curvature: six terms of the series hold to 1e-10
constexpr double widest = 1.5;       // of a panel, where the logit bends:
constexpr double bent = 60;          // up to here
constexpr std::size_t most_panels = 1'000'000;

struct Kernel {
  decltype(&baseline::count_above) count_above;
  decltype(&baseline::densities) densities;
  decltype(&baseline::add_ranks) add_ranks;
};

Kernel selected_kernel() {
  switch (simd::selected()) {
#if defined(__x86_64__)
    case simd::Isa::avx512:
      return {avx512::count_above, avx512::densities, avx512::add_ranks};
    case simd::Isa::avx2:
      return {avx2::count_above, avx2::densities, avx2::add_ranks};
#endif
    default:
      return {baseline::count_above, baseline::densities, baseline::add_ranks};
  }
}

// The rule on [-1, 1], and `part[r][q]`: the integral from node q to 1 of the polynomial that is 1
// at node r and 0 at the others.
struct Rule {
  std::array<double, nodes> node, weight;
  double part[nodes][nodes];

  Rule() {
    for (std::size_t i = 0; i < nodes; ++i) find_node(i);
    for (std::size_t q = 0; q < nodes; ++q) find_parts(q);
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

double log_sigmoid(double y) {
  return y > 0 ? -std::log1p(std::exp(-y)) : y - std::log1p(std::exp(y));
}

double log_gamma(double x) {
  int sign;
  return lgamma_r(x, &sign);
}

// log gamma(x) less Stirling's (x - 1/2) log x - x + log(2 pi) / 2.
double stirling_rest(double x) {
  if (x < 20)
    return log_gamma(x) - ((x - 0.5) * std::log(x) - x + 0.5 * std::log(2 * std::numbers::pi));
  const double i = 1 / x, square = i * i;
  return i * (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1260 - square / 1680)));
}

// log of a^a b^b / ((a + b)^(a + b) B(a, b)), the density at the mode.
double log_height(double a, double b) {
  return 0.5 * std::log(a / (a + b) * b / (2 * std::numbers::pi)) + stirling_rest(a + b) -
         stirling_rest(a) - stirling_rest(b);
}

double fall(const Arm& arm, double y) {
  return arm.peak - (arm.a * log_sigmoid(y) + arm.b * log_sigmoid(-y));
}

// Where the density has fallen so far, nearly.
double end(const Arm& arm, double spread, double direction, double depth) {
  double away = std::sqrt(2 * depth) * spread;
  while (!arm.narrow && fall(arm, arm.mode + direction * away) < depth) away *= 1.3;
  while (!arm.narrow && fall(arm, arm.mode + direction * away / 1.3) > depth) away /= 1.3;
  return arm.mode + direction * away;
}

Arm arm_of(double a, double b) {
  Arm arm{};
  arm.a = a, arm.b = b;
  arm.mode = std::log(a) - std::log(b);
  const double m = a / (a + b), curvature = m * b;
  arm.peak = a * -std::log1p(b / a) + b * -std::log1p(a / b);
  arm.scale = std::exp(log_height(a, b));
  arm.narrow = curvature > narrow_from;
  arm.curve[0] = -curvature / 2;
  arm.curve[1] = -curvature * (1 - 2 * m) / 6;
  arm.curve[2] = -curvature * (1 - 6 * m * (1 - m)) / 24;
  arm.curve[3] = -curvature * (1 - 2 * m) * (1 - 12 * m * (1 - m)) / 120;
  arm.curve[4] = -curvature * (1 + m * (1 - m) * (120 * m * (1 - m) - 30)) / 720;
  const double spread = std::sqrt(1 / a + 1 / b);
  arm.low = end(arm, spread, -1, reach), arm.high = end(arm, spread, 1, reach);
  arm.begin = end(arm, spread, 1, core);
  return arm;
}

// How fast densities change between two points: the largest x (1 - x) there, and x at the right.
class Place {
 public:
  Place(double right, double left) {
    const double near_zero = std::clamp(0.0, std::max(left, -700.0), std::max(right, -700.0));
    bend_ = 1 / (1 + std::exp(-near_zero)) / (1 + std::exp(near_zero));
    x_ = 1 / (1 + std::exp(-right)), rest_ = 1 / (1 + std::exp(right));
  }

  // The inverse of the length over which an arm's density changes.
  double rate(const Arm& arm) const {
    if (arm.narrow) return std::sqrt(-2 * arm.curve[0]);
    return std::max({std::sqrt((arm.a + arm.b) * bend_), std::abs(slope(arm)) / 2, 1e-305});
  }

  // Of the logarithm of an arm's density.
  double slope(const Arm& arm) const { return arm.a * rest_ - arm.b * x_; }

 private:
  double bend_, x_, rest_;
};

class Integration {
 public:
  Integration(const double* a, const double* b, std::size_t count,
              const std::vector<std::uint32_t>& shown, std::size_t k, double width)
      : shown_(shown), k_(k), width_(width), kernel_(selected_kernel()) {
    for (std::size_t i = 0; i < count; ++i) arms_.push_back(arm_of(a[i], b[i]));
    std::vector<bool> is_shown(count);
    for (const auto i : shown) {
      is_shown[i] = true;
      arms_[i].begin = arms_[i].high;  // their propensity may lie in the tail
    }
    for (std::uint32_t i = 0; i < count; ++i)
      if (!is_shown[i]) others_.push_back(i);
    // Those that begin first come first: what has not begun is the end of the list.
    std::sort(others_.begin(), others_.end(),
              [&](auto i, auto j) { return arms_[i].high > arms_[j].high; });
    density_.resize(shown.size() * nodes), above_.resize(shown.size() * nodes);
    scratch_.resize(2 * (shown.size() + 1) * k * nodes);
    counts_.resize(k * nodes);
    found_.ranks.resize(shown.size() * k);
  }

  Propensities run() {
    double y = -std::numeric_limits<double>::infinity();
    double last = std::numeric_limits<double>::infinity();
    for (const Arm& arm : arms_) {
      y = std::max(y, arm.begin);
      last = std::min(last, arm.low);
    }
    while (found_.panels < most_panels && y > last) {
      y = step(y);
      ++found_.panels;
      if (undecided() < settled) break;
    }
    found_.slate = slate();
    return found_;
  }

 private:
  const std::vector<std::uint32_t>& shown_;
  std::size_t k_;
  double width_;
  Kernel kernel_;
  std::vector<Arm> arms_;
  std::vector<std::uint32_t> others_;
  std::vector<double> density_, above_, scratch_, counts_;
  std::vector<double> slate_density_, none_above_, halves_;  // of all panels
  Propensities found_;

  // The left edge of the panel that begins at y.
  double edge(double y) const {
    double left = farthest(y), fastest = 0, together = 0;
    const Place here(y, left);
    for (const Arm& arm : arms_) {
      if (arm.low >= y || arm.begin < y) continue;
      fastest = std::max(fastest, here.rate(arm));
      together += std::max(0.0, here.slope(arm));  // of the product of all P(Y < y)
    }
    fastest = std::max(fastest, together / 12);
    if (fastest > 0) left = std::max(left, y - width_ / fastest);
    // A panel may not reach far into an arm that is narrower: it ends where that begins.
    for (const Arm& arm : arms_)
      if (arm.begin < y && arm.begin > left)
        left = std::max(left, std::min(y - 2 * width_ / here.rate(arm), arm.begin));
    // Between the supports of all arms nothing happens: go on to the next one.
    return std::isfinite(left) ? left : y - widest;
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
      panel.log_x[q] = log_sigmoid(panel.y[q]);
      panel.log_rest[q] = log_sigmoid(-panel.y[q]);
      panel.weights[q] = panel.half * rule().weight[q];
      for (std::size_t r = 0; r < nodes; ++r)
        panel.to_the_right[r][q] = panel.half * rule().part[r][q];
    }
  }

  double step(double right) {
    const double left = edge(right);
    Panel panel;
    place(panel, left, right);
    std::fill(counts_.begin(), counts_.end(), 0.0);
    std::fill_n(counts_.begin(), nodes, 1.0);
    std::size_t begun = 0;
    while (begun < others_.size() && arms_[others_[begun]].high > left) ++begun;
    kernel_.count_above(panel, arms_.data(), others_.data(), begun, k_, counts_.data());
    for (std::size_t i = 0; i < shown_.size(); ++i)
      kernel_.densities(panel, arms_[shown_[i]], &density_[i * nodes], &above_[i * nodes]);
    kernel_.add_ranks(panel, density_.data(), above_.data(), shown_.size(), k_, counts_.data(),
                      scratch_.data(), found_.ranks.data());
    slate_density_.insert(slate_density_.end(), density_.begin(), density_.end());
    none_above_.insert(none_above_.end(), counts_.begin(), counts_.begin() + nodes);
    halves_.push_back(panel.half);
    return left;
  }

  // P(fewer than k arms are above the lowest node): nothing below matters once this is tiny.
  double undecided() const {
    const double* all = scratch_.data() + shown_.size() * k_ * nodes;
    double sum = 0;
    for (std::size_t r = 0; r < k_; ++r) sum += all[r * nodes];
    return sum;
  }

  // The chain h <- int_{-inf}^{y} g h, from the last place to the first.
  double slate() const {
    std::vector<double> h = none_above_, f(h.size());
    double total = 0;
    for (std::size_t i = shown_.size(); i-- > 0;) {
      for (std::size_t p = 0; p < halves_.size(); ++p)
        for (std::size_t q = 0; q < nodes; ++q) {
          const std::size_t at = p * nodes + q;
          f[at] = slate_density_[(p * shown_.size() + i) * nodes + q] * h[at];
        }
      total = from_the_left(f, h);
    }
    return total;
  }

  // The integral of f up to each node, and that of all: from the left, since it may be tiny.
  double from_the_left(const std::vector<double>& f, std::vector<double>& integral) const {
    double below = 0;
    for (std::size_t p = halves_.size(); p-- > 0;) {
      double whole = 0;
      for (std::size_t q = 0; q < nodes; ++q) {
        double part = 0;  // the rule is symmetric
        for (std::size_t r = 0; r < nodes; ++r)
          part += rule().part[nodes - 1 - r][nodes - 1 - q] * f[p * nodes + r];
        integral[p * nodes + q] = std::max(0.0, below + halves_[p] * part);
        whole += halves_[p] * rule().weight[q] * f[p * nodes + q];
      }
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
