// Access to numbers that one process writes while others read them.
#pragma once

#include <atomic>

namespace mlkit::serving {

// A reader may see a number alone: it orders nothing.
template <class T>
T read(const T& shared) {
  static_assert(std::atomic_ref<T>::is_always_lock_free);
  return std::atomic_ref<T>(const_cast<T&>(shared)).load(std::memory_order_relaxed);
}

template <class T>
void write(T& shared, T value) {
  std::atomic_ref<T>(shared).store(value, std::memory_order_relaxed);
}

// Who acquires a published number sees all that was written before it was published.
template <class T>
T acquire(const T& shared) {
  return std::atomic_ref<T>(const_cast<T&>(shared)).load(std::memory_order_acquire);
}

template <class T>
void publish(T& shared, T value) {
  std::atomic_ref<T>(shared).store(value, std::memory_order_release);
}

}  // namespace mlkit::serving
