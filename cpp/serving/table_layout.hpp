// The file of a posterior table: a header page, three indexes, three kinds of records, ids.
#pragma once

#include <cstdint>
#include <string>

#include "beta/sampler.hpp"
#include "serving/id_hash.hpp"

namespace mlkit::serving {

struct Sizes {
  std::uint64_t arms, contexts, posteriors, id_bytes;
};

struct Prior {
  double a, b;
};

// How evidence loses weight: to the half in every half-life, in seconds. 0: posteriors are kept
// whole, and keep their weight; infinity: evidence keeps its weight.
struct Forgetting {
  double half_life = 0;
  double base = 0;  // when stored evidence has the weight 1, in seconds since 1970
};

// A NaN is no parameter.
inline bool valid_parameter(double x) {
  return x >= beta::smallest_parameter && x <= beta::largest_parameter;
}

struct Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t header_bytes;
  Sizes capacity;
  Prior prior;
  double shrinkage;
  Forgetting forgetting;
  std::uint64_t keys[IdHash::key_count];
  std::uint64_t checksum;  // of all the fields above
  alignas(64) Sizes used;  // written by the one writer, after what they count
  std::uint64_t removed;   // records of arms that are not there any more
};

// One cache line. Its copy of the start of the id spares most look-ups the way to the id.
struct alignas(64) ArmRecord {
  double a, b, pulls;
  std::uint32_t id;
  std::uint16_t live;
  std::uint16_t id_length;
  char id_start[32];
};
static_assert(sizeof(ArmRecord) == 64);

struct PosteriorRecord {
  std::uint32_t context;  // the context's id; ids are stored once
  std::uint32_t arm;      // the arm's record
  double a, b;
};

// Offsets of the sections in bytes, all multiples of a cache line.
struct Layout {
  explicit Layout(const Sizes& capacity);

  std::uint64_t arm_index, context_index, posterior_index;
  std::uint64_t arms, posteriors, pulls, ids;
  std::uint64_t id_units;  // of id_unit bytes
  std::uint64_t bytes;     // of the whole file

  // An id is stored as a 16-bit length and its bytes, in units of 4 bytes; a 32-bit number of
  // units names it.
  static constexpr std::uint64_t id_unit = 4;
  static constexpr std::uint64_t units_of(std::uint64_t id_length) {
    return (2 + id_length + id_unit - 1) / id_unit;
  }
};

// Make a header with fresh random keys. Throws std::invalid_argument for sizes, prior, shrinkage
// or forgetting out of range.
Header make_header(const Sizes& capacity, Prior prior, double shrinkage, Forgetting forgetting);

// Check that a mapped file is a whole table of this version; throws std::invalid_argument.
void check_file(const std::byte* data, std::uint64_t size, const std::string& path);

}  // namespace mlkit::serving
