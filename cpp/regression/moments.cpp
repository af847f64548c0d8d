#include "regression/moments.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "regression/kernel.hpp"
#include "simd/simd.hpp"
#include "threads/thread_pool.hpp"

namespace mlkit::regression {
namespace {

// Rows are taken in chunks, read in their order and copied by group: reading each group's rows on
// their own would miss the cache at each row. A chunk and the sums of its groups should fit L2.
constexpr std::size_t chunk_bytes = 1 << 20;
constexpr std::size_t least_rows = 64;

std::size_t padded(std::size_t dimension) { return (dimension + padding - 1) / padding * padding; }

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

// The rows of a chunk that belong to groups from `first` to `last`, by group, in their order.
class Chunk {
 public:
  Chunk(const Rows& rows, std::size_t first, std::size_t last, double largest)
      : size(std::max({chunk_bytes / sizeof(double) / padded(rows.dimension), least_rows,
                       (last - first) / 4})),
        rows_(rows),
        first_(first),
        largest_(largest),
        stride_(padded(rows.dimension)),
        own_(size + 1),
        end_(last - first),
        copies_(std::min(size, rows.groups.size()) * stride_),
        weighted_(rows.weights.empty() ? 0 : copies_.size()),
        weights_(rows.weights.empty() ? 0 : size),
        differences_(size) {}

  // Copy what belongs to the groups of the rows from `begin` to `end`; false: a feature is out of
  // range.
  bool copy(std::size_t begin, std::size_t end) {
    find(begin, end);
    place();
    for (std::size_t i = 0; i < count_; ++i) {
      const std::size_t row = own_[i].row, to = own_[i].place;
      differences_[to] = rows_.rewards[row];
      if (!weights_.empty()) weights_[to] = rows_.weights[row];
    }
    return kernel_.copy_rows(rows_.features, own_.data(), count_, rows_.dimension, largest_,
                             stride_, copies_.data());
  }

  // Add the rows of a group to its sums; `mean` has the stride.
  void add(std::size_t group, const double* mean, double* gram, double* surprise) {
    const std::size_t begin = group > first_ ? end_[group - first_ - 1] : 0;
    const std::size_t count = end_[group - first_] - begin;
    if (!count) return;
    const double* const rows = copies_.data() + begin * stride_;
    double* const differences = differences_.data() + begin;
    if (mean) kernel_.subtract_dots(rows, count, mean, stride_, differences);
    const double* left = rows;
    if (!weights_.empty()) {
      const double* const weights = weights_.data() + begin;
      kernel_.scale_rows(rows, count, weights, stride_, weighted_.data());
      for (std::size_t i = 0; i < count; ++i) differences[i] *= weights[i];
      left = weighted_.data();
    }
    kernel_.add_scaled_rows(rows, count, differences, stride_, surprise);
    kernel_.add_products(left, rows, count, stride_, gram);
  }

  const std::size_t size;  // the most rows

 private:
  // The group of a row among ours; a number beyond them for others.
  std::size_t index(std::size_t row) const {
    return static_cast<std::size_t>(rows_.groups[row]) - first_;
  }

  // Note the rows of our groups. Whether a row is one is as chance has it, so nothing branches.
  void find(std::size_t begin, std::size_t end) {
    count_ = 0;
    for (std::size_t row = begin; row < end; ++row) {
      own_[count_].row = row;
      count_ += index(row) < end_.size();
    }
  }

  // Find the place of each row among all of its group, one group after the other.
  void place() {
    std::fill(end_.begin(), end_.end(), std::uint32_t{0});
    for (std::size_t i = 0; i < count_; ++i) ++end_[index(own_[i].row)];
    std::uint32_t sum = 0;
    for (std::uint32_t& each : end_) each = std::exchange(sum, sum + each);
    for (std::size_t i = 0; i < count_; ++i) own_[i].place = end_[index(own_[i].row)]++;
  }

  const Rows& rows_;
  const Kernel kernel_ = selected_kernel();
  const std::size_t first_;
  const double largest_;
  const std::size_t stride_;
  std::size_t count_ = 0;
  std::vector<Copy> own_;           // the rows of our groups, `count_` of them
  std::vector<std::uint32_t> end_;  // where the rows of each group end
  std::vector<double> copies_, weighted_, weights_, differences_;
};

// Sums of consecutive groups, [group][stride][stride] and [group][stride].
class Share {
 public:
  Share(const Rows& rows, std::size_t first, std::size_t last)
      : rows_(rows),
        first_(first),
        last_(last),
        stride_(padded(rows.dimension)),
        gram_((last - first) * stride_ * stride_),
        surprise_((last - first) * stride_) {}

  bool add(const double* means, double largest) {
    Chunk chunk(rows_, first_, last_, largest);
    const std::vector<double> padded_means = pad(means);
    const std::size_t count = rows_.groups.size();
    bool is_inside = true;
    for (std::size_t begin = 0; begin < count && is_inside; begin += chunk.size) {
      is_inside = chunk.copy(begin, std::min(begin + chunk.size, count));
      for (std::size_t group = first_; group < last_; ++group)
        chunk.add(group, mean(padded_means, group), gram(group), surprise(group));
    }
    return is_inside;
  }

  void write(double* to_gram, double* to_surprise) {
    const std::size_t n = rows_.dimension;
    for (std::size_t group = first_; group < last_; ++group) {
      const double* const from = gram(group);
      double* const to = to_gram + group * n * n;
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j <= i; ++j) to[i * n + j] = to[j * n + i] = from[i * stride_ + j];
      std::copy_n(surprise(group), n, to_surprise + group * n);
    }
  }

 private:
  // Return the means with the stride; nothing if all are 0, as those of a new model.
  std::vector<double> pad(const double* means) const {
    const std::size_t n = rows_.dimension;
    const double *const begin = means + first_ * n, *const end = means + last_ * n;
    if (std::all_of(begin, end, [](double each) { return each == 0; })) return {};
    std::vector<double> found((last_ - first_) * stride_);
    for (std::size_t i = 0; i < last_ - first_; ++i)
      std::copy_n(begin + i * n, n, found.data() + i * stride_);
    return found;
  }

  const double* mean(const std::vector<double>& means, std::size_t group) const {
    return means.empty() ? nullptr : means.data() + (group - first_) * stride_;
  }

  double* gram(std::size_t group) { return gram_.data() + (group - first_) * stride_ * stride_; }
  double* surprise(std::size_t group) { return surprise_.data() + (group - first_) * stride_; }

  const Rows& rows_;
  const std::size_t first_, last_, stride_;
  std::vector<double> gram_, surprise_;
};

}  // namespace

bool moments(const Rows& rows, std::size_t groups, const double* means, double largest,
             double* gram, double* surprise) {
  const std::size_t cores = std::max(1u, std::thread::hardware_concurrency());
  const std::size_t shares = std::min(cores, groups);
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> is_inside = true;
  const auto take = [&] {
    for (std::size_t i; (i = next.fetch_add(1)) < shares;) {
      Share share(rows, groups * i / shares, groups * (i + 1) / shares);
      if (!share.add(means, largest)) is_inside = false;
      share.write(gram, surprise);
    }
  };
  threads::run_with_helpers(shares - 1, take);
  return is_inside;
}

}  // namespace mlkit::regression
