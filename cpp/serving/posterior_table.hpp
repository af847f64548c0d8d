// Beta posteriors of arms and of (context, arm) pairs in a mapped file: one process writes,
// many read at the same time.
//
// What a reader sees: every change at once, in the order of the writer. Records are published
// whole; of a reward, `a`, `b` and `pulls` become visible one after another.
// A table that forgets stores evidence instead of posteriors: what was added to a prior, in the
// weight of its base time. A read adds the evidence, with its weight at that time, to what the
// posterior starts from: the prior, or for a pair the arm's present mean.
// A damaged file never crashes a reader: numbers that point outside their section, and
// parameters that are none, count as absent.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "serving/hash_index.hpp"
#include "serving/id_hash.hpp"
#include "serving/mapped_file.hpp"
#include "serving/table_layout.hpp"

namespace mlkit::serving {

// A capacity of the table is used up; nothing was changed.
struct TableFull : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Posterior {
  double a, b, pulls;
};

// When a reward was earned, and how it counts.
struct Earned {
  double examined = 1;     // how probably the arm was looked at
  double at = 0;           // seconds since 1970; of a table that forgets
  bool withdrawn = false;  // take the reward back instead of adding it
};

struct NamedPosterior {
  std::string_view arm;
  Posterior posterior;
};

// How many candidates of a fetch fell back: to the arm's posterior or beyond; to the prior.
struct Unknown {
  std::size_t contexts = 0, arms = 0;
};

// The posteriors of all arms, in the order of their records.
struct AllArms {
  std::vector<std::uint32_t> arms;
  std::vector<double> a, b;
  Unknown unknown;
};

class PosteriorTable {
 public:
  // The file's only writer.
  static PosteriorTable create(const std::string& path, const Sizes& capacity, Prior prior,
                               double shrinkage, Forgetting forgetting = {});
  // A reader. Throws std::invalid_argument if the file is not a whole table.
  static PosteriorTable open(const std::string& path);

  Sizes capacity() const { return capacity_; }
  Sizes used() const;
  // The number of arms that are there.
  std::uint64_t count_arms() const;
  Prior prior() const { return prior_; }
  double shrinkage() const { return shrinkage_; }
  const Forgetting& forgetting() const { return forgetting_; }
  bool forgets() const { return forgetting_.half_life > 0; }
  // The weight at a time, in seconds since 1970, of evidence whose weight is 1 at the base.
  double weight(double at) const {
    return forgets() ? std::exp2((forgetting_.base - at) / forgetting_.half_life) : 1;
  }

  // Changes: by the writer only, one thread at a time. Ids have at most max_id_bytes and
  // parameters are valid: the caller has checked.

  // Set an arm's posterior; a new arm, or one that was removed, starts without pairs.
  void put_arm(std::string_view arm, Posterior posterior, double at = 0);
  // Forget an arm and its pairs. False if it is not there.
  bool remove_arm(std::string_view arm);
  // Set the evidence of an arm or of a pair whose arm is there, in the weight of the base.
  void put_evidence(std::optional<std::string_view> context, std::string_view arm,
                    Posterior evidence);
  // Set the posterior of a pair whose arm is there; throws std::invalid_argument if it is not. A
  // table that forgets takes it as evidence.
  void put_pair(std::string_view context, std::string_view arm, Posterior posterior);
  // Add a reward in [0, 1] to the arm and to the pair. An arm that was never there starts from
  // the prior; false, and no change, for one that was removed, or where there is nothing to
  // withdraw from.
  bool add_reward(std::optional<std::string_view> context, std::string_view arm, double reward,
                  const Earned& earned = {});

  // New rows; a row that is there already, or whose arm is not, is a std::invalid_argument that
  // names the row. Rows before it stay. A table that forgets takes them as of its base.
  void load_arms(std::span<const std::string_view> ids, const double* a, const double* b,
                 const double* pulls);
  void load_pairs(std::span<const std::string_view> contexts,
                  std::span<const std::string_view> arms, const double* a, const double* b,
                  const double* pulls);
  // Take over all arms (removed ones too) and the pairs of arms that are there.
  void copy(const PosteriorTable& source);

  // Reads, from any process and thread.

  // What they return of a table that forgets is as of a time with this weight.

  std::optional<Posterior> arm(std::string_view arm, double weight = 1) const;
  // What is stored: the same, but of a table that forgets the evidence.
  std::optional<Posterior> stored(std::optional<std::string_view> context,
                                  std::string_view arm) const;
  // Whether an arm is there, or was there and has been removed.
  bool knows(std::string_view arm) const { return find_arm(hash_(arm), arm) != 0; }
  std::optional<Posterior> pair(std::string_view context, std::string_view arm,
                                double weight = 1) const;
  // Up to `limit` arms with ids above `after`, in the order of their UTF-8 bytes.
  std::vector<NamedPosterior> arms(std::optional<std::string_view> after, std::size_t limit,
                                   double weight = 1) const;
  std::vector<std::string_view> removed_arms() const;
  // Write the parameters of each (context, arm), else of the arm, else of the prior.
  Unknown fetch(std::optional<std::string_view> context, std::span<const std::string_view> arms,
                double* a, double* b, double weight = 1) const;
  AllArms fetch_all(std::optional<std::string_view> context, double weight = 1) const;
  std::string_view arm_id(std::uint32_t arm) const;

  // Call visit(arm id, posterior) for each arm, in the order of their records.
  template <class Visit>
  void visit_arms(double weight, Visit&& visit) const;
  // Call visit(context id, arm id, posterior) for each pair of a present arm in a range of
  // records, cut to the records in use.
  template <class Visit>
  void visit_pairs(std::uint64_t start, std::uint64_t stop, double weight, Visit&& visit) const;

 private:
  // Numbers of records in indexes count from 1, as 0 marks an empty slot.
  using Number = std::uint32_t;
  struct Pair {
    Number context, arm;
  };

  PosteriorTable(MappedFile file, const Header& header);
  template <class T>
  T* section(std::uint64_t offset) const {
    return reinterpret_cast<T*>(file_.data() + offset);
  }
  Header& header() const { return *section<Header>(0); }

  // The record of a number, or nullptr for a number that is 0 or out of range.
  ArmRecord* arm_record(Number arm) const {
    return arm - 1u < capacity_.arms ? arms_ + (arm - 1u) : nullptr;
  }
  PosteriorRecord* pair_record(Number pair) const {
    return pair - 1u < capacity_.posteriors ? pairs_ + (pair - 1u) : nullptr;
  }
  bool is_live(Number arm) const {
    const ArmRecord* record = arm_record(arm);
    return record && acquire(record->live);
  }
  bool has_id(Number arm, std::string_view wanted) const {
    const ArmRecord* record = arm_record(arm);
    if (!record || record->id_length != wanted.size()) return false;
    if (wanted.size() > sizeof record->id_start) return id(record->id) == wanted;
    return same_bytes(record->id_start, wanted.data(), wanted.size());
  }
  std::string_view id(std::uint32_t unit) const;

  Number find_arm(std::uint64_t hash, std::string_view id) const;
  Number find_live_arm(std::string_view id) const;
  Number find_context(std::uint64_t hash, std::string_view id) const;
  Number find_pair(std::uint64_t hash, Pair pair) const;
  std::optional<Posterior> arm_at(Number arm, double weight) const;
  // The pair's posterior, where `own` is that of its arm.
  std::optional<Posterior> pair_at(Number number, const Posterior& own, double weight) const;
  std::optional<Posterior> stored_pair(Number number) const;

  void require_room(const Sizes& more) const;
  std::uint32_t add_id(std::string_view id);
  Number add_arm_record(std::uint32_t id, Posterior posterior);
  Number add_arm(std::uint64_t hash, std::string_view id, Posterior posterior);
  Number add_context(std::uint64_t hash, std::string_view id);
  Number add_pair(std::uint64_t hash, Pair pair, Posterior posterior);
  Posterior start_of_pair(double a, double b) const;
  // What to store after a reward, or after one is withdrawn; `now` is the posterior at its time.
  Posterior with(const Posterior& stored, const Posterior& now, double reward,
                 const Earned& earned) const;
  Posterior without(const Posterior& stored, const Posterior& now, Prior least, double reward,
                    const Earned& earned) const;
  void add_to_pair(Number number, const Posterior& own, double reward, const Earned& earned);
  void withdraw(Number arm, Number pair, double reward, const Earned& earned);
  void set_pair(Number number, const Posterior& posterior);

  // Of at most one chunk of keys, see posterior_table_batches.cpp.
  void find_arms(std::span<const std::string_view> ids, Number* arms) const;
  std::size_t overlay_pairs(Number context, std::span<const Number> arms, double* a, double* b,
                            double weight) const;
  bool copy_parameters(Number arm, double& a, double& b, double weight) const;
  void copy_pairs_of_evidence(const PosteriorTable& source, double scale);
  void find_pairs_to_load(std::span<const std::string_view> contexts,
                          std::span<const std::string_view> arms, std::size_t row, Pair* pairs);

  MappedFile file_;
  Sizes capacity_;
  Prior prior_;
  double shrinkage_;
  Forgetting forgetting_;
  IdHash hash_;
  Layout layout_;
  HashIndex arm_index_, context_index_, pair_index_;
  ArmRecord* arms_;
  PosteriorRecord* pairs_;
  std::uint32_t* pair_pulls_;
  std::byte* ids_;
  std::uint32_t next_id_unit_ = 1;  // the writer's; unit 0 names no id
};

template <class Visit>
void PosteriorTable::visit_arms(double weight, Visit&& visit) const {
  const std::uint64_t count = used().arms;
  for (Number arm = 1; arm <= count; ++arm)
    if (is_live(arm))
      if (const auto posterior = arm_at(arm, weight)) visit(id(arm_record(arm)->id), *posterior);
}

template <class Visit>
void PosteriorTable::visit_pairs(std::uint64_t start, std::uint64_t stop, double weight,
                                 Visit&& visit) const {
  const std::uint64_t end = std::min(stop, used().posteriors);
  for (std::uint64_t i = start; i < end; ++i) {
    const PosteriorRecord& record = pairs_[i];
    const auto own = is_live(record.arm) ? arm_at(record.arm, weight) : std::nullopt;
    if (!own) continue;
    if (const auto pair = pair_at(static_cast<Number>(i + 1), *own, weight))
      visit(id(record.context), id(arm_record(record.arm)->id), *pair);
  }
}

}  // namespace mlkit::serving
