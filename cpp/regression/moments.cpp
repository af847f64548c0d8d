#include "regression/moments.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "regression/kernel.hpp"
#include "regression/sums.hpp"
#include "simd/simd.hpp"
#include "threads/thread_pool.hpp"

namespace mlkit::regression {
namespace {

// The rows of a panel are copied next to each other; it, the next one and the sums of a group fit L1.
constexpr std::size_t panel_bytes = 8 << 10;
constexpr std::size_t fewest_rows = 16, most_rows = 256;

// Rows are cut into slices with sums of their own if these stay below a share of the features.
constexpr std::size_t most_slices = 16, share_of_features = 16;

// The rows of a slice are taken by group within chunks: one after the other by group, they would miss
// the TLB each. A chunk's pages fit it, and it has enough rows of a group to read its sums once.
constexpr std::size_t chunk_bytes = 2 << 20, rows_of_a_group = 64;

constexpr std::size_t shares_of_a_thread = 8;

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

// From `begin` to before `end`.
struct Range {
  std::size_t begin, end;

  std::size_t size() const { return end - begin; }
  // Its part `at` of `parts`.
  Range part(std::size_t at, std::size_t parts) const {
    return {begin + size() * at / parts, begin + size() * (at + 1) / parts};
  }
};

// What is learned from, and what of it is in range.
struct Task {
  const Rows& rows;
  std::size_t groups;
  const double* means;
  double largest;
  std::pair<double, double> limits;
};

// Rows by group, in their order, with their rewards and weights.
class Sorted {
 public:
  Sorted(const Task& task, std::size_t most)
      : row(of_size<std::uint32_t>(most)),
        rewards(of_size<double>(most)),
        weights(of_size<double>(task.rows.weights.empty() ? 0 : most)),
        task_(task),
        ends_(task.groups + 1) {}

  // Sort; false: a reward or a group is out of range.
  bool sort(Range rows) {
    std::fill(ends_.begin(), ends_.end(), 0);
    for (std::size_t i = rows.begin; i < rows.end; ++i) {
      const auto group = static_cast<std::uint64_t>(task_.rows.groups[i]);  // negative ones: large
      if (group >= task_.groups) return false;
      ++ends_[group + 1];
    }
    // From counts to the places of the first rows.
    std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
    return place(rows);
  }

  Range places(std::size_t group) const { return {group ? ends_[group - 1] : 0, ends_[group]}; }

  const std::unique_ptr<std::uint32_t[]> row;
  const std::unique_ptr<double[]> rewards, weights;

 private:
  // Without zeros first: what is read has been written.
  template <class Number>
  static std::unique_ptr<Number[]> of_size(std::size_t size) {
    return std::make_unique_for_overwrite<Number[]>(size);
  }

  // Moves a group's entry of `ends_` from the place of its first row to behind its last.
  bool place(Range rows) {
    const Rows& all = task_.rows;
    bool is_inside = true;
    for (std::size_t i = rows.begin; i < rows.end; ++i) {
      const std::size_t to = ends_[static_cast<std::size_t>(all.groups[i])]++;
      const double reward = all.rewards[i];
      // False for NaN.
      is_inside &= reward >= task_.limits.first && reward <= task_.limits.second;
      row[to] = static_cast<std::uint32_t>(i);
      rewards[to] = reward;
      if (!all.weights.empty()) weights[to] = all.weights[i];
    }
    return is_inside;
  }

  const Task& task_;
  std::vector<std::uint32_t> ends_;
};

// What a thread needs to add the rows of a group to its sums.
class Adder {
 public:
  explicit Adder(const Task& task)
      : task_(task),
        stride_(padded(task.rows.dimension)),
        size_(std::clamp(panel_bytes / sizeof(double) / stride_, fewest_rows, most_rows)),
        panel_(zeros(size_ * stride_)),
        weighted_(task.rows.weights.empty() ? nullptr : zeros(size_ * stride_)),
        mean_(stride_) {}

  // Add to `gram` and `surprise`, whose rows are padded, for a caller that goes on with the rows up
  // to the place `last`; false: a feature is out of range.
  bool add(const Sorted& sorted, std::size_t group, std::size_t last, double* gram,
           double* surprise) {
    const std::size_t dimension = task_.rows.dimension;
    std::copy_n(task_.means + group * dimension, dimension, mean_.data());
    // Those of a new model are 0.
    has_mean_ = std::any_of(mean_.begin(), mean_.end(), [](double each) { return each != 0; });
    const Range places = sorted.places(group);
    const std::size_t panels = (places.size() + size_ - 1) / size_;
    for (std::size_t panel = 0; panel < panels; ++panel)
      if (!add_panel(sorted, places.part(panel, panels), last, gram, surprise)) return false;
    return true;
  }

 private:
  bool add_panel(const Sorted& sorted, Range places, std::size_t last, double* gram,
                 double* surprise) {
    const Rows& rows = task_.rows;
    const std::size_t count = places.size();
    if (!kernel_.copy_rows(rows.features, sorted.row.get() + places.begin, count, rows.dimension,
                           task_.largest, stride_, panel_.get()))
      return false;
    double* const differences = sorted.rewards.get() + places.begin;
    if (has_mean_) kernel_.subtract_dots(panel_.get(), count, mean_.data(), stride_, differences);
    const double* left = panel_.get();
    if (weighted_) {
      const double* const weights = sorted.weights.get() + places.begin;
      kernel_.scale_rows(left, count, weights, stride_, weighted_.get());
      for (std::size_t i = 0; i < count; ++i) differences[i] *= weights[i];
      left = weighted_.get();
    }
    kernel_.add_scaled_rows(panel_.get(), count, differences, stride_, surprise);
    const Upcoming upcoming{rows.features, rows.dimension, sorted.row.get() + places.end,
                            std::min(size_, last - places.end)};
    kernel_.add_products(left, panel_.get(), count, stride_, gram, upcoming);
    return true;
  }

  const Task& task_;
  const Kernel kernel_ = selected_kernel();
  const std::size_t stride_, size_;  // of a panel, in rows
  Numbers panel_, weighted_;         // at whole lines: vectors do not cross any
  std::vector<double> mean_;
  bool has_mean_ = false;
};

// Sum up the rows of a slice, chunk by chunk; false: a number is out of range.
bool add_slice(const Task& task, Range slice, const Sums& sums) {
  const std::size_t row_bytes = task.rows.dimension * sizeof(double);
  const std::size_t size = std::max(chunk_bytes / row_bytes, rows_of_a_group * task.groups);
  Sorted sorted(task, std::min(size, slice.size()));
  Adder adder(task);
  for (std::size_t begin = slice.begin; begin < slice.end; begin += size) {
    const Range chunk{begin, std::min(begin + size, slice.end)};
    if (!sorted.sort(chunk)) return false;
    for (std::size_t group = 0; group < task.groups; ++group)
      if (!adder.add(sorted, group, chunk.size(), sums.gram(group), sums.surprise(group)))
        return false;
  }
  return true;
}

// The sums of slices on their way into the result, to which they are added in the order of the
// slices. Memory goes from slice to slice: new pages cost as much as many rows.
class Folding {
 public:
  Folding(const Task& task, std::size_t slices, double* gram, double* surprise)
      : task_(task), gram_(gram), surprise_(surprise), waiting_(slices) {
    std::fill_n(gram, task.groups * task.rows.dimension * task.rows.dimension, 0.0);
    std::fill_n(surprise, task.groups * task.rows.dimension, 0.0);
  }

  // Memory for the sums of a slice, whatever is in it.
  Numbers take() {
    {
      const std::lock_guard lock(mutex_);
      if (!spare_.empty()) {
        Numbers found = std::move(spare_.back());
        spare_.pop_back();
        return found;
      }
    }
    return allocate(Sums::size(task_.groups, task_.rows.dimension));
  }

  // Take the sums of a slice. A caller adds those whose turn it is, but not many: `end` does so on
  // all cores.
  void give(std::size_t slice, Numbers numbers) {
    std::unique_lock lock(mutex_);
    waiting_[slice] = std::move(numbers);
    if (is_adding_) return;
    is_adding_ = true;
    for (std::size_t added = 0; added < 2 && next_ < waiting_.size() && waiting_[next_]; ++added) {
      Numbers each = std::move(waiting_[next_++]);
      lock.unlock();
      add(each.get(), {0, task_.groups});
      lock.lock();
      spare_.push_back(std::move(each));
    }
    is_adding_ = false;
  }

  // After all slices have been given.
  void end() {
    const std::size_t shares = std::min(task_.groups, shares_of_a_thread * cores());
    share_out(shares, [&](std::size_t share) {
      const Range groups = Range{0, task_.groups}.part(share, shares);
      for (std::size_t slice = next_; slice < waiting_.size(); ++slice)
        add(waiting_[slice].get(), groups);
      const std::size_t n = task_.rows.dimension;
      for (std::size_t group = groups.begin; group < groups.end; ++group)
        mirror(gram_ + group * n * n, n);
    });
  }

 private:
  void add(double* numbers, Range groups) const {
    const std::size_t n = task_.rows.dimension;
    const Sums sums(task_.groups, n, numbers);
    for (std::size_t group = groups.begin; group < groups.end; ++group)
      sums.add_to(group, gram_ + group * n * n, surprise_ + group * n);
  }

  const Task& task_;
  double *const gram_, *const surprise_;
  std::mutex mutex_;
  std::vector<Numbers> waiting_, spare_;
  std::size_t next_ = 0;  // the slice that is added next
  bool is_adding_ = false;
};

// A slice per piece of work.
bool add_slices(const Task& task, std::size_t slices, double* gram, double* surprise) {
  Folding folding(task, slices, gram, surprise);
  std::atomic<bool> is_inside = true;
  share_out(slices, [&](std::size_t slice) {
    if (!is_inside) return;
    Numbers numbers = folding.take();
    const Sums sums(task.groups, task.rows.dimension, numbers.get());
    sums.clear();
    const Range rows = Range{0, task.rows.groups.size()}.part(slice, slices);
    if (!add_slice(task, rows, sums)) is_inside = false;
    folding.give(slice, std::move(numbers));
  });
  if (is_inside) folding.end();
  return is_inside;
}

// Some groups per piece of work: their sums are too large to have them more than once.
bool add_groups(const Task& task, double* gram, double* surprise) {
  const std::size_t n = task.rows.dimension, rows = task.rows.groups.size();
  Sorted sorted(task, rows);
  if (!sorted.sort({0, rows})) return false;
  const std::size_t shares = std::min(task.groups, shares_of_a_thread * cores());
  std::atomic<bool> is_inside = true;
  share_out(shares, [&](std::size_t share) {
    const Range groups = Range{0, task.groups}.part(share, shares);
    // Neighbouring groups go to one thread, which asks for the rows of the next one in time.
    const std::size_t last = sorted.places(groups.end - 1).end;
    Adder adder(task);
    const Numbers numbers = allocate(Sums::size(1, n));
    const Sums sums(1, n, numbers.get());
    for (std::size_t group = groups.begin; group < groups.end && is_inside; ++group) {
      sums.clear();
      if (!adder.add(sorted, group, last, sums.gram(0), sums.surprise(0))) is_inside = false;
      std::fill_n(gram + group * n * n, n * n, 0.0);
      std::fill_n(surprise + group * n, n, 0.0);
      sums.add_to(0, gram + group * n * n, surprise + group * n);
      mirror(gram + group * n * n, n);
    }
  });
  return is_inside;
}

}  // namespace

bool moments(const Rows& rows, std::size_t groups, const double* means, double largest,
             std::pair<double, double> limits, double* gram, double* surprise) {
  const Task task{rows, groups, means, largest, limits};
  const std::size_t sums = Sums::size(groups, rows.dimension);
  const std::size_t features = rows.groups.size() * rows.dimension;
  const std::size_t slices = std::min(most_slices, features / share_of_features / sums);
  return slices > 1 ? add_slices(task, slices, gram, surprise) : add_groups(task, gram, surprise);
}

}  // namespace mlkit::regression
