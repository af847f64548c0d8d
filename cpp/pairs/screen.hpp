// The all-pairs screen: picks the instruction set and spreads the blocks over threads.
#pragma once

#include <functional>

#include "pairs/engle_granger.hpp"

namespace mlkit::pairs {

// Called from the calling thread about ten times a second with the pairs done and in all;
// answers whether to go on.
using Watch = std::function<bool(std::size_t done, std::size_t total)>;

// Computes both directions of all pairs of `count` series of `length` points; `cross` holds
// their inner products. Returns early when `watch` says so.
void screen(const double* series, const double* cross, std::size_t count, std::size_t length,
            Lags lags, std::size_t threads, const Statistics& out, const Watch& watch);

}  // namespace mlkit::pairs
