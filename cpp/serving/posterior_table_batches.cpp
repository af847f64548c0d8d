// The posterior table's work on many keys at once: fetch and load.
//
// Each look-up is a chain of cache misses (index, record, id). They are taken in stages over a
// chunk of keys, each stage asking for the lines that the next one needs, so that the misses
// of a chunk overlap.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include "serving/posterior_table.hpp"

namespace mlkit::serving {
namespace {

constexpr std::size_t chunk = 128;  // of arms, whose records leave room in the first cache
using Hashes = std::array<std::uint64_t, chunk>;

template <class T, class Work>
void for_chunks(std::span<const T> keys, Work&& work) {
  for (std::size_t at = 0; at < keys.size(); at += chunk)
    work(at, keys.subspan(at, std::min(chunk, keys.size() - at)));
}

[[noreturn]] void refuse_row(std::size_t row, std::string_view why, std::string_view id) {
  throw std::invalid_argument("row " + std::to_string(row) + ": arm '" + std::string(id) + "' " +
                              std::string(why));
}

constexpr std::uint64_t copied_at_once = 1 << 12;

struct PairColumns {
  std::vector<std::string_view> contexts, arms;
  std::vector<double> a, b, pulls;

  void clear() {
    contexts.clear();
    arms.clear();
    for (auto* column : {&a, &b, &pulls}) column->clear();
  }
  void add(std::string_view context, std::string_view arm, const Posterior& posterior) {
    contexts.push_back(context);
    arms.push_back(arm);
    a.push_back(posterior.a);
    b.push_back(posterior.b);
    pulls.push_back(posterior.pulls);
  }
};

}  // namespace

void PosteriorTable::find_arms(std::span<const std::string_view> ids, Number* arms) const {
  Hashes hashes;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    hashes[i] = hash_(ids[i]);
    arm_index_.prefetch(hashes[i]);
  }
  const auto prefetch_record = [this](Number arm) {
    if (const ArmRecord* record = arm_record(arm)) __builtin_prefetch(record);
  };
  // Nearly one of ten entries is not in its home bucket.
  std::array<std::uint8_t, chunk> elsewhere;
  std::size_t count = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    arms[i] = arm_index_.guess(hashes[i]);
    if (arms[i]) {
      prefetch_record(arms[i]);
    } else {
      arm_index_.prefetch_next(hashes[i]);
      elsewhere[count++] = static_cast<std::uint8_t>(i);
    }
  }
  for (std::size_t at = 0; at < count; ++at) {
    Number& arm = arms[elsewhere[at]];
    arm = arm_index_.guess_next(hashes[elsewhere[at]]);
    prefetch_record(arm);
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!has_id(arms[i], ids[i])) arms[i] = find_arm(hashes[i], ids[i]);
    if (!is_live(arms[i])) arms[i] = 0;
  }
}

std::size_t PosteriorTable::overlay_pairs(Number context, std::span<const Number> arms, double* a,
                                          double* b, double weight) const {
  Hashes hashes;
  for (std::size_t i = 0; i < arms.size(); ++i) {
    hashes[i] = hash_(context, arms[i]);
    pair_index_.prefetch(hashes[i]);
  }
  for (std::size_t i = 0; i < arms.size(); ++i) {
    const PosteriorRecord* record = pair_record(pair_index_.guess(hashes[i]));
    if (record) __builtin_prefetch(record);
  }
  std::size_t unknown = 0;
  for (std::size_t i = 0; i < arms.size(); ++i) {
    const Number number = arms[i] ? find_pair(hashes[i], {context, arms[i]}) : 0;
    if (const auto pair = pair_at(number, {a[i], b[i], 0}, weight)) {
      a[i] = pair->a;
      b[i] = pair->b;
    } else {
      ++unknown;
    }
  }
  return unknown;
}

Unknown PosteriorTable::fetch(std::optional<std::string_view> context,
                              std::span<const std::string_view> ids, double* a, double* b,
                              double weight) const {
  const Number from = context ? find_context(hash_(*context), *context) : 0;
  Unknown unknown;
  for_chunks(ids, [&](std::size_t at, std::span<const std::string_view> some) {
    std::array<Number, chunk> arms;
    find_arms(some, arms.data());
    for (std::size_t i = 0; i < some.size(); ++i)
      unknown.arms += !copy_parameters(arms[i], a[at + i], b[at + i], weight);
    if (from)
      unknown.contexts += overlay_pairs(from, {arms.data(), some.size()}, a + at, b + at, weight);
  });
  if (context && !from) unknown.contexts = ids.size();
  return unknown;
}

bool PosteriorTable::copy_parameters(Number arm, double& a, double& b, double weight) const {
  a = prior_.a;
  b = prior_.b;
  const ArmRecord* record = arm_record(arm);
  if (!record) return false;
  double arm_a = read(record->a), arm_b = read(record->b);
  if (forgets()) {
    if (!std::isfinite(arm_a) || !std::isfinite(arm_b)) return false;
    constexpr double low = beta::smallest_parameter, high = beta::largest_parameter;
    arm_a = std::clamp(prior_.a + weight * arm_a, low, high);
    arm_b = std::clamp(prior_.b + weight * arm_b, low, high);
  }
  if (!valid_parameter(arm_a) || !valid_parameter(arm_b)) return false;
  a = arm_a;
  b = arm_b;
  return true;
}

AllArms PosteriorTable::fetch_all(std::optional<std::string_view> context, double weight) const {
  const std::uint64_t count = used().arms;
  AllArms all;
  all.arms.reserve(count);
  for (Number arm = 1; arm <= count; ++arm)
    if (is_live(arm)) all.arms.push_back(arm);
  all.a.resize(all.arms.size());
  all.b.resize(all.arms.size());
  for (std::size_t i = 0; i < all.arms.size(); ++i)
    all.unknown.arms += !copy_parameters(all.arms[i], all.a[i], all.b[i], weight);
  const Number from = context ? find_context(hash_(*context), *context) : 0;
  if (from)
    for_chunks(std::span<const Number>(all.arms),
               [&](std::size_t at, std::span<const Number> some) {
                 all.unknown.contexts +=
                     overlay_pairs(from, some, all.a.data() + at, all.b.data() + at, weight);
               });
  else if (context) all.unknown.contexts = all.arms.size();
  return all;
}

void PosteriorTable::load_arms(std::span<const std::string_view> ids, const double* a,
                               const double* b, const double* pulls) {
  for (std::size_t row = 0; row < ids.size(); ++row) {
    const std::uint64_t hash = hash_(ids[row]);
    if (find_arm(hash, ids[row])) refuse_row(row, "is there already", ids[row]);
    require_room({1, 0, 0, ids[row].size()});
    const Prior start = forgets() ? prior_ : Prior{0, 0};
    add_arm(hash, ids[row], {a[row] - start.a, b[row] - start.b, pulls[row]});
  }
}

void PosteriorTable::load_pairs(std::span<const std::string_view> contexts,
                                std::span<const std::string_view> arms, const double* a,
                                const double* b, const double* pulls) {
  for_chunks(arms, [&](std::size_t at, std::span<const std::string_view> some) {
    std::array<Pair, chunk> pairs;
    find_pairs_to_load(contexts.subspan(at, some.size()), some, at, pairs.data());
    Hashes hashes;
    for (std::size_t i = 0; i < some.size(); ++i) {
      hashes[i] = hash_(pairs[i].context, pairs[i].arm);
      pair_index_.prefetch(hashes[i]);
    }
    for (std::size_t i = 0; i < some.size(); ++i) {
      if (find_pair(hashes[i], pairs[i]))
        refuse_row(at + i, "has a posterior for this context already", some[i]);
      require_room({0, 0, 1, 0});
      Posterior pair{a[at + i], b[at + i], pulls[at + i]};
      if (forgets()) {
        const Posterior own = *arm_at(pairs[i].arm, 1);
        const Posterior start = start_of_pair(own.a, own.b);
        pair.a -= start.a;
        pair.b -= start.b;
      }
      add_pair(hashes[i], pairs[i], pair);
    }
  });
}

void PosteriorTable::find_pairs_to_load(std::span<const std::string_view> contexts,
                                        std::span<const std::string_view> arms, std::size_t row,
                                        Pair* pairs) {
  Hashes hashes;
  std::array<Number, chunk> numbers;
  find_arms(arms, numbers.data());
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    hashes[i] = hash_(contexts[i]);
    context_index_.prefetch(hashes[i]);
  }
  for (std::size_t i = 0; i < contexts.size(); ++i)
    if (const Number guess = context_index_.guess(hashes[i]))
      __builtin_prefetch(ids_ + guess * Layout::id_unit);
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    if (!numbers[i]) refuse_row(row + i, "has no posterior of its own", arms[i]);
    Number context = find_context(hashes[i], contexts[i]);
    if (!context) {
      require_room({0, 1, 0, contexts[i].size()});
      context = add_context(hashes[i], contexts[i]);
    }
    pairs[i] = {context, numbers[i]};
  }
}

void PosteriorTable::copy(const PosteriorTable& source) {
  if (forgets() != source.forgets()) throw std::invalid_argument("only one of the tables forgets");
  // Evidence as of this table's base.
  const double scale = source.weight(forgetting_.base);
  const std::uint64_t count = source.used().arms;
  for (Number arm = 1; arm <= count; ++arm) {
    if (!source.is_live(arm)) continue;
    const ArmRecord& record = *source.arm_record(arm);
    const Posterior stored{read(record.a) * scale, read(record.b) * scale, read(record.pulls)};
    put_evidence(std::nullopt, source.arm_id(arm), stored);
  }
  for (const std::string_view arm : source.removed_arms()) {
    put_arm(arm, {prior_.a, prior_.b, 0});
    remove_arm(arm);
  }
  if (forgets()) {
    copy_pairs_of_evidence(source, scale);
    return;
  }
  PairColumns pairs;
  for (std::uint64_t start = 0; start < source.used().posteriors; start += copied_at_once) {
    pairs.clear();
    source.visit_pairs(
        start, start + copied_at_once, 1,
        [&pairs](std::string_view context, std::string_view arm, const Posterior& posterior) {
          pairs.add(context, arm, posterior);
        });
    load_pairs(pairs.contexts, pairs.arms, pairs.a.data(), pairs.b.data(), pairs.pulls.data());
  }
}

void PosteriorTable::copy_pairs_of_evidence(const PosteriorTable& source, double scale) {
  const std::uint64_t count = source.used().posteriors;
  for (Number number = 1; number <= count; ++number) {
    const PosteriorRecord& record = *source.pair_record(number);
    if (!source.is_live(record.arm)) continue;
    Posterior stored = *source.stored_pair(number);
    stored.a *= scale;
    stored.b *= scale;
    put_pair(source.id(record.context), source.arm_id(record.arm), stored);
  }
}

}  // namespace mlkit::serving
