#include "regression/moments.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "regression/kernel.hpp"
#include "simd/simd.hpp"
#include "threads/thread_pool.hpp"

namespace mlkit::regression {
namespace {

// The rows of a panel are copied next to each other; it, the next one and the sums of a group fit L1.
constexpr std::size_t panel_bytes = 8 << 10;
constexpr std::size_t fewest_rows = 16, most_rows = 256;

constexpr std::size_t shares_of_a_thread = 8;

std::size_t padded(std::size_t dimension) { return (dimension + padding - 1) / padding * padding; }

// The system is asked once: asking takes longer than many a piece of work.
std::size_t cores() {
  static const std::size_t found = std::max(1u, std::thread::hardware_concurrency());
  return found;
}

struct Kernel {
  decltype(&baseline::copy_rows) copy_rows;
  decltype(&baseline::subtract_dots) subtract_dots;
  decltype(&baseline::scale_rows) scale_rows;
  decltype(&baseline::add_scaled_rows) add_scaled_rows;
  decltype(&baseline::add_products) add_products;
};

#define MLKIT_REGRESSION_KERNEL(isa) \
  {isa::copy_rows, isa::subtract_dots, isa::scale_rows, isa::add_scaled_rows, isa::add_products}

Kernel selected_kernel() {
  switch (simd::selected()) {
#if defined(__x86_64__)
    case simd::Isa::avx512:
      return MLKIT_REGRESSION_KERNEL(avx512);
    case simd::Isa::avx2:
      return MLKIT_REGRESSION_KERNEL(avx2);
#endif
    default:
      return MLKIT_REGRESSION_KERNEL(baseline);
  }
}

// Call piece(i) for each i below `count`, on all cores.
template <class Piece>
void share_out(std::size_t count, const Piece& piece) {
  std::atomic<std::size_t> next = 0;
  threads::run_with_helpers(std::min(count, cores()) - 1, [&] {
    for (std::size_t i; (i = next.fetch_add(1)) < count;) piece(i);
  });
}

// The rows by group, in their order: `row`, and their rewards and weights.
class Sorted {
 public:
  Sorted(const Rows& rows, std::size_t groups)
      : row(of_size<std::uint32_t>(rows.groups.size())),
        rewards(of_size<double>(rows.groups.size())),
        weights(of_size<double>(rows.weights.size())),
        rows_(rows),
        groups_(groups),
        begin_(groups + 1),
        places_(cores() * groups) {}

  // Sort; false: a reward or a group is out of range.
  bool sort(std::pair<double, double> limits) {
    std::atomic<bool> is_inside = true;
    share_out(cores(), [&](std::size_t slice) {
      if (!count(slice)) is_inside = false;
    });
    if (!is_inside) return false;
    add_up();
    share_out(cores(), [&](std::size_t slice) {
      if (!place(slice, limits)) is_inside = false;
    });
    return is_inside;
  }

  std::size_t begin(std::size_t group) const { return begin_[group]; }

  const std::unique_ptr<std::uint32_t[]> row;
  const std::unique_ptr<double[]> rewards, weights;

 private:
  // Without zeros first: all of it is written, by several threads.
  template <class Number>
  static std::unique_ptr<Number[]> of_size(std::size_t size) {
    return std::make_unique_for_overwrite<Number[]>(size);
  }

  std::size_t edge(std::size_t slice) const { return rows_.groups.size() * slice / cores(); }
  std::uint32_t* places(std::size_t slice) { return places_.data() + slice * groups_; }

  bool count(std::size_t slice) {
    std::uint32_t* const counts = places(slice);
    for (std::size_t i = edge(slice), end = edge(slice + 1); i < end; ++i) {
      const auto group = static_cast<std::uint64_t>(rows_.groups[i]);  // negative ones: large
      if (group >= groups_) return false;
      ++counts[group];
    }
    return true;
  }

  // From counts to the places of the first rows.
  void add_up() {
    std::uint32_t sum = 0;
    for (std::size_t group = 0; group < groups_; ++group) {
      begin_[group] = sum;
      for (std::size_t slice = 0; slice < cores(); ++slice) {
        std::uint32_t& each = places(slice)[group];
        each = std::exchange(sum, sum + each);
      }
    }
    begin_[groups_] = sum;
  }

  bool place(std::size_t slice, std::pair<double, double> limits) {
    std::uint32_t* const next = places(slice);
    bool is_inside = true;
    for (std::size_t i = edge(slice), end = edge(slice + 1); i < end; ++i) {
      const std::size_t to = next[static_cast<std::size_t>(rows_.groups[i])]++;
      const double reward = rows_.rewards[i];
      is_inside &= reward >= limits.first && reward <= limits.second;  // false for NaN
      row[to] = static_cast<std::uint32_t>(i);
      rewards[to] = reward;
      if (!rows_.weights.empty()) weights[to] = rows_.weights[i];
    }
    return is_inside;
  }

  const Rows& rows_;
  const std::size_t groups_;
  std::vector<std::uint32_t> begin_;   // of a group's rows, and the end of the last one's
  std::vector<std::uint32_t> places_;  // [slice][group]
};

// What a thread needs to sum up one group after another.
class Sums {
 public:
  Sums(const Rows& rows, Sorted& sorted, double largest)
      : rows_(rows),
        sorted_(sorted),
        largest_(largest),
        stride_(padded(rows.dimension)),
        size_(std::clamp(panel_bytes / sizeof(double) / stride_, fewest_rows, most_rows)),
        panel_(size_ * stride_),
        weighted_(rows.weights.empty() ? 0 : panel_.size()),
        mean_(stride_),
        gram_(stride_ * stride_),
        surprise_(stride_) {}

  // Sum up a group, for a caller that goes on with the rows up to the place `last`; false: a feature
  // is out of range.
  bool add(std::size_t group, std::size_t last, const double* mean) {
    std::fill(gram_.begin(), gram_.end(), 0.0);
    std::fill(surprise_.begin(), surprise_.end(), 0.0);
    std::copy_n(mean, rows_.dimension, mean_.data());
    // Those of a new model are 0.
    has_mean_ = std::any_of(mean_.begin(), mean_.end(), [](double each) { return each != 0; });
    const std::size_t end = sorted_.begin(group + 1);
    for (std::size_t begin = sorted_.begin(group); begin < end; begin += size_)
      if (!add_panel(begin, std::min(begin + size_, end), last)) return false;
    return true;
  }

  void write(double* gram, double* surprise) const {
    const std::size_t n = rows_.dimension;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j <= i; ++j)
        gram[i * n + j] = gram[j * n + i] = gram_[i * stride_ + j];
    std::copy_n(surprise_.data(), n, surprise);
  }

 private:
  bool add_panel(std::size_t begin, std::size_t end, std::size_t last) {
    const std::size_t count = end - begin;
    if (!kernel_.copy_rows(rows_.features, sorted_.row.get() + begin, count, rows_.dimension,
                           largest_, stride_, panel_.data()))
      return false;
    double* const differences = sorted_.rewards.get() + begin;
    if (has_mean_) kernel_.subtract_dots(panel_.data(), count, mean_.data(), stride_, differences);
    const double* left = panel_.data();
    if (!weighted_.empty()) {
      const double* const weights = sorted_.weights.get() + begin;
      kernel_.scale_rows(left, count, weights, stride_, weighted_.data());
      for (std::size_t i = 0; i < count; ++i) differences[i] *= weights[i];
      left = weighted_.data();
    }
    kernel_.add_scaled_rows(panel_.data(), count, differences, stride_, surprise_.data());
    const Upcoming upcoming{rows_.features, rows_.dimension, sorted_.row.get() + end,
                            std::min(size_, last - end)};
    kernel_.add_products(left, panel_.data(), count, stride_, gram_.data(), upcoming);
    return true;
  }

  const Rows& rows_;
  Sorted& sorted_;
  const Kernel kernel_ = selected_kernel();
  const double largest_;
  const std::size_t stride_, size_;  // of a panel, in rows
  std::vector<double> panel_, weighted_, mean_, gram_, surprise_;
  bool has_mean_ = false;
};

}  // namespace

bool moments(const Rows& rows, std::size_t groups, const double* means, double largest,
             std::pair<double, double> limits, double* gram, double* surprise) {
  Sorted sorted(rows, groups);
  if (!sorted.sort(limits)) return false;
  const std::size_t n = rows.dimension;
  // Neighbouring groups go to one thread, which asks for the rows of the next one in time.
  const std::size_t shares = std::min(groups, shares_of_a_thread * cores());
  std::atomic<bool> is_inside = true;
  share_out(shares, [&](std::size_t share) {
    Sums sums(rows, sorted, largest);
    const std::size_t end = groups * (share + 1) / shares, last = sorted.begin(end);
    for (std::size_t group = groups * share / shares; group < end && is_inside; ++group) {
      if (!sums.add(group, last, means + group * n)) is_inside = false;
      sums.write(gram + group * n * n, surprise + group * n);
    }
  });
  return is_inside;
}

}  // namespace mlkit::regression
