#include "threads/thread_pool.hpp"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

namespace mlkit::threads {

namespace {

// A call that still wants helpers.
struct Job {
  const std::function<void()>& work;
  std::size_t wanted;
  std::atomic<std::size_t> running = 0;
  std::exception_ptr failure = nullptr;  // of the first helper that failed
};

class ThreadPool {
 public:
  void run(std::size_t helpers, const std::function<void()>& work) {
    Job job{work, helpers};
    offer(job);
    std::exception_ptr failure;
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
    await(job);
    if (!failure) failure = job.failure;
    if (failure) std::rethrow_exception(failure);
  }

 private:
  void offer(Job& job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(&job);
    try {
      for (; size_ < job.wanted; ++size_) start();
    } catch (const std::system_error&) {
      // The machine gives no more threads: those that there are do the work.
    }
    for (std::size_t i = 0; i < job.wanted; ++i) wake_.notify_one();
  }

  // Python's signal handlers belong to the main thread: helpers block all signals.
  void start() {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([this] { help(); }).detach();
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  [[noreturn]] void help() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return !jobs_.empty(); });
      Job& job = *jobs_.front();
      ++job.running;
      if (--job.wanted == 0) jobs_.pop_front();
      lock.unlock();
      std::exception_ptr failure;
      try {
        job.work();
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure && !job.failure) job.failure = failure;
      --job.running;  // the last use of the job: its owner may go on
      ended_.notify_all();
    }
  }

  void await(Job& job) {
    std::unique_lock lock(mutex_);
    std::erase(jobs_, &job);
    lock.unlock();
    // A helper's last piece is short: sleeping would cost more than looking again.
    for (int look = 0; look < 20'000 && job.running != 0; ++look) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    lock.lock();  // also orders the job's end after the helper's last use of it
    ended_.wait(lock, [&job] { return job.running == 0; });
  }

  std::mutex mutex_;
  std::condition_variable wake_, ended_;
  std::deque<Job*> jobs_;
  std::size_t size_ = 0;
};

// Never destroyed: its threads sleep until the process ends.
ThreadPool* pool = nullptr;

void renew() { pool = new ThreadPool; }

ThreadPool& the_pool() {
  static const bool made = [] {
    renew();
    pthread_atfork(nullptr, nullptr, renew);  // threads do not survive a fork
    return true;
  }();
  static_cast<void>(made);
  return *pool;
}

}  // namespace

void run_with_helpers(std::size_t helpers, const std::function<void()>& work) {
  if (helpers == 0) return work();
  the_pool().run(helpers, work);
}

}  // namespace mlkit::threads
