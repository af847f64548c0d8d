// Constants of the ziggurat for normal draws; make_tables.py explains and computes them.
#pragma once

#include <cstdint>

namespace mlkit::random {

inline constexpr int ziggurat_size = 1024;

// As a double: the layer's width. Low half: the high half of a double, below which the ratio
// of a point to the width is sure to lie under the density.
extern const std::uint64_t ziggurat_layers[ziggurat_size];

extern const double ziggurat_heights[ziggurat_size + 1];

// Where the tail starts, and its ratio to the width of the base layer.
extern const double ziggurat_tail;
extern const double ziggurat_base_ratio;

}  // namespace mlkit::random
