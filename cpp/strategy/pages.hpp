// Memory for long series. The kernel hands it out in pages of 4 KiB, each at the cost of a
// fault; for a million bars these take longer than the backtest. Huge pages are few.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace mlkit::strategy {

template <class T>
struct HugePages {
  using value_type = T;
  static constexpr std::size_t page = std::size_t{1} << 21;

  HugePages() = default;
  template <class U>
  HugePages(const HugePages<U>&) {}

  T* allocate(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T) - page) throw std::bad_alloc();
    const std::size_t bytes = count * sizeof(T);
    const bool large = bytes >= 2 * page;
    void* memory =
        large ? std::aligned_alloc(page, (bytes + page - 1) / page * page) : std::malloc(bytes);
    if (memory == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    if (large) madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: without it all works as well
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t) { std::free(memory); }

  // Numbers that are about to be written need no zeros before.
  template <class U>
  void construct(U* place) {
    ::new (static_cast<void*>(place)) U;
  }
  template <class U, class... Values>
  void construct(U* place, Values&&... values) {
    ::new (static_cast<void*>(place)) U(std::forward<Values>(values)...);
  }

  template <class U>
  bool operator==(const HugePages<U>&) const {
    return true;
  }
};

// A vector whose new elements have no value.
template <class T>
using Long = std::vector<T, HugePages<T>>;

}  // namespace mlkit::strategy
