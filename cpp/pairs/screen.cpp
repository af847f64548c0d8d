#include "pairs/screen.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <numeric>
#include <thread>

#include "simd/simd.hpp"

namespace mlkit::pairs {

void Release::operator()(double* memory) const {
  ::operator delete[](memory, std::align_val_t{64});
}

namespace {

struct Kernel {
  int width;
  std::size_t (*scratch_size)(Lags, std::size_t);
  void (*screen_block)(const Panel&, const Band&, std::size_t, Lags, double*, const Statistics&);
  void (*screen_list)(const Panel&, const List&, std::size_t, Lags, double*, const Statistics&);
  void (*distance_block)(const Panel&, const Band&, std::size_t, double*);
};

#define MLKIT_KERNEL(isa) \
  Kernel { isa::width, isa::scratch_size, isa::screen_block, isa::screen_list, isa::distance_block }

Kernel selected_kernel() {
  switch (simd::selected()) {
#if defined(__x86_64__)
    case simd::Isa::avx512:
      return MLKIT_KERNEL(avx512);
    case simd::Isa::avx2:
      return MLKIT_KERNEL(avx2);
#endif
    default:
      return MLKIT_KERNEL(baseline);
  }
}

Memory allocate(std::size_t size) {
  return Memory(static_cast<double*>(
      ::operator new[](std::max<std::size_t>(size, 1) * sizeof(double), std::align_val_t{64})));
}

// Interleaves the series of each block of lanes; lanes without a series are zero.
Memory interleaved(const Panel& panel, std::size_t width) {
  const std::size_t blocks = (panel.count + width - 1) / width, length = panel.length;
  Memory lanes = allocate(blocks * length * width);
  std::fill_n(lanes.get(), blocks * length * width, 0.0);
  for (std::size_t n = 0; n < panel.count; ++n)
    for (std::size_t t = 0; t < length; ++t)
      lanes[(n / width * length + t) * width + n % width] = panel.series[n * length + t];
  return lanes;
}

// The portions still to do, and who waits for them. Later ones are larger and go first.
class Work {
 public:
  explicit Work(std::vector<std::size_t> sizes)
      : sizes_(std::move(sizes)),
        left_(sizes_.size()),
        total_(std::accumulate(sizes_.begin(), sizes_.end(), std::size_t{0})) {}

  bool take(std::size_t& portion) {
    std::lock_guard lock(mutex_);
    if (left_ == 0 || stopped_) return false;
    portion = --left_;
    return true;
  }

  void finish(std::size_t portion) {
    std::lock_guard lock(mutex_);
    done_ += sizes_[portion];
  }

  void leave() {
    std::lock_guard lock(mutex_);
    ++gone_;
    changed_.notify_all();
  }

  // Asks `watch` ten times a second until `workers` have left, and then once more, so that it has
  // seen all that was done.
  void watch(std::size_t workers, const Watch& watch) {
    std::unique_lock lock(mutex_);
    for (bool ended = false; !ended;) {
      changed_.wait_for(lock, std::chrono::milliseconds(100), [&] { return gone_ == workers; });
      ended = gone_ == workers;
      const std::size_t done = done_;
      lock.unlock();
      const bool go_on = watch(done, total_);
      lock.lock();
      stopped_ = stopped_ || !go_on;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::size_t> sizes_;
  std::size_t left_, total_;
  std::size_t done_ = 0, gone_ = 0;
  bool stopped_ = false;
};

// Runs `body(portion, scratch)` for all portions on `threads` threads.
template <class Body>
void share(std::vector<std::size_t> sizes, std::size_t threads, std::size_t scratch_size,
           const Watch& watch, const Body& body) {
  threads = std::clamp<std::size_t>(threads, 1, std::max<std::size_t>(sizes.size(), 1));
  std::vector<Memory> scratch;
  for (std::size_t n = 0; n < threads; ++n) scratch.push_back(allocate(scratch_size));
  Work work(std::move(sizes));
  std::vector<std::jthread> workers;
  for (const Memory& mine : scratch)
    workers.emplace_back([&, memory = mine.get()] {
      for (std::size_t portion; work.take(portion); work.finish(portion)) body(portion, memory);
      work.leave();
    });
  work.watch(threads, watch);
}

// Pairs of the band in each of the blocks that it touches, from the block of its first column on.
std::vector<std::size_t> block_sizes(const Band& band, std::size_t width) {
  if (band.begin == band.end) return {};
  std::vector<std::size_t> sizes((band.end - 1) / width - band.begin / width + 1);
  for (std::size_t j = band.begin; j < band.end; ++j)
    sizes[j / width - band.begin / width] += j - std::size_t(band.first[j]);
  return sizes;
}

}  // namespace

Table::Table(const double* series, std::size_t count, std::size_t length)
    : series_(series, series + count * length),
      squares_(count),
      panel_{series_.data(), nullptr, squares_.data(), count, length} {
  for (std::size_t n = 0; n < count; ++n) {
    const double* one = series + n * length;
    squares_[n] = std::inner_product(one, one + length, one, 0.0);
  }
}

void Table::interleave() {
  if (lanes_) return;
  lanes_ = interleaved(panel_, std::size_t(selected_kernel().width));
  panel_.lanes = lanes_.get();
}

void Table::band(const Band& band, Lags lags, std::size_t threads, const Statistics& out,
                 const Watch& watch) const {
  const Kernel kernel = selected_kernel();
  const auto width = std::size_t(kernel.width);
  share(block_sizes(band, width), threads, kernel.scratch_size(lags, 0), watch,
        [&](std::size_t portion, double* scratch) {
          kernel.screen_block(panel_, band, band.begin / width + portion, lags, scratch, out);
        });
}

void Table::list(const List& list, Lags lags, std::size_t threads, const Statistics& out,
                 const Watch& watch) const {
  const Kernel kernel = selected_kernel();
  const auto width = std::size_t(kernel.width), batch = 64 * width;
  std::vector<std::size_t> sizes;
  for (std::size_t begin = 0; begin < list.count; begin += batch)
    sizes.push_back(std::min(batch, list.count - begin));
  share(sizes, threads, kernel.scratch_size(lags, panel_.length), watch,
        [&, sizes](std::size_t portion, double* scratch) {
          const std::size_t begin = portion * batch, end = begin + sizes[portion];
          for (std::size_t at = begin; at < end; at += width)
            kernel.screen_list(panel_, list, at, lags, scratch, out);
        });
}

void Table::distances(const Band& band, std::size_t threads, double* out,
                      const Watch& watch) const {
  const Kernel kernel = selected_kernel();
  const auto width = std::size_t(kernel.width);
  share(block_sizes(band, width), threads, 0, watch, [&](std::size_t portion, double*) {
    kernel.distance_block(panel_, band, band.begin / width + portion, out);
  });
}

}  // namespace mlkit::pairs
