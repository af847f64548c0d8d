// Threads that share the work of a call.
#pragma once

#include <cstddef>
#include <functional>

namespace mlkit::threads {

// Run `work` on this thread and, at the same time, on up to `helpers` others; return when all
// that began have ended. `work` takes piece after piece of the whole until none is left, so a
// helper that has not begun by the time this thread is done is not waited for.
//
// The helpers wait between calls: waking one costs less than half of starting one. They serve
// all callers of the process, and a child process after a fork starts its own. The first
// exception that `work` throws is thrown again here.
void run_with_helpers(std::size_t helpers, const std::function<void()>& work);

}  // namespace mlkit::threads
