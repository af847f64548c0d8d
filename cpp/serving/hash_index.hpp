// An open-addressing index from hashes to 32-bit numbers that other processes may read while
// its single writer inserts.
//
// A bucket is one cache line of eight slots, filled from the left; a full bucket overflows
// into the next one. A slot is one 64-bit word, tag << 32 | number, published by one store, so
// that a reader sees an entry wholly or not at all. Entries are never taken out (removed arms
// are marked in their records), so a bucket with an empty slot ends a search.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "serving/shared_memory.hpp"

namespace mlkit::serving {

class HashIndex {
 public:
  static constexpr std::uint64_t bucket_slots = 8;

  // Slots that hold `entries` at a load of 4/5.
  static std::uint64_t slots_for(std::uint64_t entries) {
    return (entries * 5 / 4 / bucket_slots + 1) * bucket_slots;
  }

  HashIndex() = default;
  HashIndex(std::uint64_t* slots, std::uint64_t count)
      : slots_(slots), buckets_(count / bucket_slots) {}

  void prefetch(std::uint64_t hash) const { __builtin_prefetch(bucket(home(hash))); }

  // The first number in the home bucket with the hash's tag, or 0: a guess to prefetch by.
  std::uint32_t guess(std::uint64_t hash) const { return first_match(bucket(home(hash)), hash); }

  // The same for the bucket after the home bucket, where an entry of a full one may be.
  void prefetch_next(std::uint64_t hash) const { __builtin_prefetch(bucket(next(home(hash)))); }
  std::uint32_t guess_next(std::uint64_t hash) const {
    return first_match(bucket(next(home(hash))), hash);
  }

  // The first number with the hash's tag for which `match(number)` holds, or 0.
  template <class Match>
  std::uint32_t find(std::uint64_t hash, Match&& match) const {
    const std::uint64_t* slot = find_slot(hash, match);
    return slot ? number(acquire(*slot)) : 0;
  }

  // Add a number above 0. The caller sees to it that fewer than the index's slots are in use.
  void insert(std::uint64_t hash, std::uint32_t value) {
    for (std::uint64_t at = home(hash);; at = next(at))
      for (std::uint64_t i = 0; i < bucket_slots; ++i)
        if (std::uint64_t& slot = bucket(at)[i]; read(slot) == 0) {
          publish(slot, tag(hash) | value);
          return;
        }
  }

  // Replace the number of an entry that exists.
  template <class Match>
  void replace(std::uint64_t hash, std::uint32_t value, Match&& match) {
    const std::uint64_t* slot = find_slot(hash, match);
    publish(const_cast<std::uint64_t&>(*slot), tag(hash) | value);
  }

 private:
  static std::uint64_t tag(std::uint64_t hash) { return (hash | 1) << 32; }  // never 0: empty
  static std::uint32_t number(std::uint64_t slot) { return static_cast<std::uint32_t>(slot); }

  std::uint64_t home(std::uint64_t hash) const {
    __extension__ typedef unsigned __int128 Wide;
    return static_cast<std::uint64_t>(static_cast<Wide>(hash) * buckets_ >> 64);
  }
  std::uint64_t next(std::uint64_t at) const { return at + 1 == buckets_ ? 0 : at + 1; }
  std::uint64_t* bucket(std::uint64_t at) const { return slots_ + at * bucket_slots; }

  static std::uint32_t first_match(const std::uint64_t* slots, std::uint64_t hash) {
    const unsigned found = matches(slots, tag(hash));
    return found ? number(acquire(slots[__builtin_ctz(found)])) : 0;
  }

  // Bit i: slot i has the tag. Without branches, as most look-ups find nothing or one entry. What is
  // found is read again.
  static unsigned matches(const std::uint64_t* slots, std::uint64_t wanted) {
#if defined(__SSE2__)
    const auto tags = [slots](std::size_t i) {
      const auto pair = [slots](std::size_t at) {
        return _mm_castsi128_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(slots + at)));
      };
      return _mm_castps_si128(_mm_shuffle_ps(pair(i), pair(i + 2), _MM_SHUFFLE(3, 1, 3, 1)));
    };
    const __m128i tag = _mm_set1_epi32(static_cast<int>(wanted >> 32));
    const __m128i low = _mm_cmpeq_epi32(tags(0), tag), high = _mm_cmpeq_epi32(tags(4), tag);
    return static_cast<unsigned>(_mm_movemask_ps(_mm_castsi128_ps(low)) |
                                 _mm_movemask_ps(_mm_castsi128_ps(high)) << 4);
#else
    unsigned found = 0;
#pragma GCC unroll 8
    for (unsigned i = 0; i < bucket_slots; ++i)
      found |= static_cast<unsigned>((acquire(slots[i]) ^ wanted) >> 32 == 0) << i;
    return found;
#endif
  }

  template <class Match>
  const std::uint64_t* find_slot(std::uint64_t hash, Match& match) const {
    std::uint64_t at = home(hash);
    for (std::uint64_t step = 0; step < buckets_; ++step, at = next(at)) {
      const std::uint64_t* slots = bucket(at);
      for (unsigned found = matches(slots, tag(hash)); found; found &= found - 1) {
        const std::uint64_t* slot = slots + __builtin_ctz(found);
        if (match(number(acquire(*slot)))) return slot;
      }
      if (acquire(slots[bucket_slots - 1]) == 0) return nullptr;
    }
    return nullptr;
  }

  std::uint64_t* slots_ = nullptr;
  std::uint64_t buckets_ = 0;
};

}  // namespace mlkit::serving
