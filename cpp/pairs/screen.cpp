#include "pairs/screen.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "simd/simd.hpp"

namespace mlkit::pairs {

namespace {

struct Kernel {
  int width;
  std::size_t (*scratch_size)(Lags);
  void (*screen_block)(const Panel&, std::size_t, Lags, double*, const Statistics&);
};

#define MLKIT_KERNEL(isa) Kernel{isa::width, isa::scratch_size, isa::screen_block}

Kernel selected_kernel() {
  switch (simd::selected()) {
#if defined(__x86_64__)
    case simd::Isa::avx512: return MLKIT_KERNEL(avx512);
    case simd::Isa::avx2: return MLKIT_KERNEL(avx2);
#endif
    default: return MLKIT_KERNEL(baseline);
  }
}

struct Release {
  void operator()(double* memory) const { ::operator delete[](memory, std::align_val_t{64}); }
};
using Memory = std::unique_ptr<double[], Release>;

Memory allocate(std::size_t size) {
  return Memory(static_cast<double*>(
      ::operator new[](std::max<std::size_t>(size, 1) * sizeof(double), std::align_val_t{64})));
}

// Interleaves the series of each block of lanes; lanes without a series are zero.
Memory interleave(const double* series, std::size_t count, std::size_t length, std::size_t width) {
  const std::size_t blocks = (count + width - 1) / width;
  Memory lanes = allocate(blocks * length * width);
  std::fill_n(lanes.get(), blocks * length * width, 0.0);
  for (std::size_t n = 0; n < count; ++n)
    for (std::size_t t = 0; t < length; ++t)
      lanes[(n / width * length + t) * width + n % width] = series[n * length + t];
  return lanes;
}

// The blocks still to do, and who waits for them. Later blocks hold more pairs and go first.
class Work {
 public:
  Work(std::size_t blocks, std::size_t width, std::size_t count)
      : left_(blocks), width_(width), count_(count) {}

  bool take(std::size_t& block) {
    std::lock_guard lock(mutex_);
    if (left_ == 0 || stopped_) return false;
    block = --left_;
    return true;
  }

  void finish(std::size_t block) {
    const std::size_t begin = block * width_, end = std::min(begin + width_, count_);
    std::lock_guard lock(mutex_);
    done_ += (end - begin) * (begin + end - 1) / 2;
  }

  void leave() {
    std::lock_guard lock(mutex_);
    ++gone_;
    changed_.notify_all();
  }

  // Waits until `workers` have left, and asks `watch` now and then whether to go on.
  void watch(std::size_t workers, const Watch& watch) {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, std::chrono::milliseconds(100),
                              [&] { return gone_ == workers; })) {
      const std::size_t done = done_;
      lock.unlock();
      const bool go_on = watch(done, count_ * (count_ - 1) / 2);
      lock.lock();
      stopped_ = stopped_ || !go_on;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t left_, width_, count_;
  std::size_t done_ = 0, gone_ = 0;
  bool stopped_ = false;
};

}  // namespace

void screen(const double* series, const double* cross, std::size_t count, std::size_t length,
            Lags lags, std::size_t threads, const Statistics& out, const Watch& watch) {
  const Kernel kernel = selected_kernel();
  const auto width = static_cast<std::size_t>(kernel.width);
  const std::size_t blocks = (count + width - 1) / width;
  const Memory lanes = interleave(series, count, length, width);
  const Panel panel{series, lanes.get(), cross, count, length};
  threads = std::clamp<std::size_t>(threads, 1, blocks);
  std::vector<Memory> scratch;
  for (std::size_t n = 0; n < threads; ++n) scratch.push_back(allocate(kernel.scratch_size(lags)));

  Work work(blocks, width, count);
  std::vector<std::jthread> workers;
  for (const Memory& mine : scratch)
    workers.emplace_back([&, memory = mine.get()] {
      for (std::size_t block; work.take(block); work.finish(block))
        kernel.screen_block(panel, block, lags, memory, out);
      work.leave();
    });
  work.watch(threads, watch);
}

}  // namespace mlkit::pairs
