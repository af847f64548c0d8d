// Choice of instruction set at run time.
//
// Kernels are compiled once for each set (see kernels.cmake); callers ask `selected()` and
// call the matching namespace.
#pragma once

#include <string>
#include <vector>

namespace mlkit::simd {

enum class Isa { baseline, avx2, avx512 };

const char* name(Isa isa);

// The sets that this machine (processor and operating system) can run, narrowest first.
std::vector<Isa> available();

// The set that the kernels use: the widest one, or the one that MLKIT_SIMD names.
// Throws std::invalid_argument if MLKIT_SIMD names an unknown set or one that is not available.
// The variable is read at each call, so that a test can change it.
Isa selected();

}  // namespace mlkit::simd
