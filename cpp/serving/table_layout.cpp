#include "serving/table_layout.hpp"

#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <stdexcept>

#include "serving/hash_index.hpp"

namespace mlkit::serving {
namespace {

constexpr char magic[8] = {'m', 'l', 'k', 'i', 't', 'P', 'T', '\n'};
constexpr std::uint32_t version = 2;
constexpr std::uint64_t header_bytes = 4096;
constexpr std::uint64_t max_records = std::numeric_limits<std::uint32_t>::max() - 1;
static_assert(sizeof(Header) <= header_bytes);

std::uint64_t aligned(std::uint64_t bytes) { return (bytes + 63) / 64 * 64; }

std::uint64_t id_units_for(const Sizes& capacity) {
  // Unit 0 names no id. An id of n bytes takes at most (n + 5) / 4 units.
  return 1 + (capacity.id_bytes + 5 * (capacity.arms + capacity.contexts)) / Layout::id_unit;
}

bool within_limits(const Sizes& capacity) {
  return capacity.arms <= max_records && capacity.contexts <= max_records &&
         capacity.posteriors <= max_records && capacity.id_bytes <= max_records * Layout::id_unit &&
         id_units_for(capacity) <= max_records;
}

bool valid_rules(const Prior& prior, double shrinkage) {
  return valid_parameter(prior.a) && valid_parameter(prior.b) && valid_parameter(shrinkage);
}

bool valid_forgetting(const Forgetting& forgetting) {
  return forgetting.half_life >= 0 && std::isfinite(forgetting.base);
}

// FNV-1a, 64 bits.
std::uint64_t checksum(const Header& header) {
  std::uint64_t sum = 0xcbf29ce484222325u;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  for (std::size_t i = 0; i < offsetof(Header, checksum); ++i)
    sum = (sum ^ bytes[i]) * 0x100000001b3u;
  return sum;
}

void fill_with_entropy(std::uint64_t* keys) {
  std::random_device entropy;
  for (std::size_t i = 0; i < IdHash::key_count; ++i)
    keys[i] = std::uint64_t{entropy()} << 32 | entropy();
}

const char* defect(const std::byte* data, std::uint64_t size) {
  if (size < header_bytes) return "it is shorter than a header";
  Header header;
  std::memcpy(&header, data, sizeof header);
  if (std::memcmp(header.magic, magic, sizeof magic) != 0) return "it starts with other bytes";
  if (header.version != version) return "its version is not 2";
  if (header.checksum != checksum(header)) return "its header is damaged";
  if (header.header_bytes != header_bytes || !within_limits(header.capacity) ||
      !valid_rules(header.prior, header.shrinkage) || !valid_forgetting(header.forgetting))
    return "its header is inconsistent";
  if (size != Layout(header.capacity).bytes) return "it is truncated or was extended";
  return nullptr;
}

}  // namespace

Layout::Layout(const Sizes& capacity) {
  std::uint64_t at = header_bytes;
  const auto section = [&at](std::uint64_t length) {
    const std::uint64_t start = at;
    at += aligned(length);
    return start;
  };
  arm_index = section(HashIndex::slots_for(capacity.arms) * 8);
  context_index = section(HashIndex::slots_for(capacity.contexts) * 8);
  posterior_index = section(HashIndex::slots_for(capacity.posteriors) * 8);
  arms = section(capacity.arms * sizeof(ArmRecord));
  posteriors = section(capacity.posteriors * sizeof(PosteriorRecord));
  pulls = section(capacity.posteriors * sizeof(std::uint32_t));
  id_units = id_units_for(capacity);
  ids = section(id_units * id_unit);
  bytes = at;
}

Header make_header(const Sizes& capacity, Prior prior, double shrinkage, Forgetting forgetting) {
  if (!within_limits(capacity))
    throw std::invalid_argument(
        "a table holds fewer than 2^32 arms, contexts and posteriors, "
        "and 16 GiB of ids");
  if (!valid_parameter(prior.a) || !valid_parameter(prior.b))
    throw std::invalid_argument("prior: both parameters must be from 1e-300 to 1e15");
  if (!valid_parameter(shrinkage))
    throw std::invalid_argument("shrinkage must be above 0 and at most 1e15 pseudo-counts");
  if (!valid_forgetting(forgetting))
    throw std::invalid_argument("half_life must be at least 0, and base a number of seconds");
  Header header{};
  std::memcpy(header.magic, magic, sizeof magic);
  header.version = version;
  header.header_bytes = header_bytes;
  header.capacity = capacity;
  header.prior = prior;
  header.shrinkage = shrinkage;
  header.forgetting = forgetting;
  fill_with_entropy(header.keys);
  header.checksum = checksum(header);
  return header;
}

void check_file(const std::byte* data, std::uint64_t size, const std::string& path) {
  if (const char* what = defect(data, size))
    throw std::invalid_argument(path + ": not a posterior table of this version: " + what);
}

}  // namespace mlkit::serving
