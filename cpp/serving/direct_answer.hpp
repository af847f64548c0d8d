// The answer of POST /predict as JSON, byte by byte as the general encoder writes it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "serving/posterior_table.hpp"
#include "serving/thompson.hpp"

namespace mlkit::serving {

// Append a number from 0 to 1: the shortest digits that are read back as the same number, in
// positional notation from 1e-5.
void append_number(std::string& out, double value);

// Append `"arms":[...],"scores":[...],"unknown":{...}}`. The ids are UTF-8 without characters that
// JSON has to escape.
void append_answer(std::string& out, std::span<const std::string_view> candidates,
                   std::span<const Scored> best, const Unknown& unknown);

// Append the ids as a list.
void append_candidates(std::string& out, std::span<const std::string_view> candidates);

// Append what a decision id says of the arms that were shown: their number in 2 bytes, and the
// CRC-32 of each id in 4, big-endian. There are fewer than 2^16.
void append_shown(std::string& out, std::span<const std::string_view> candidates,
                  std::span<const Scored> best);

}  // namespace mlkit::serving
