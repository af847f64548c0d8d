// Making a table, and reading and changing single posteriors.
#include "serving/posterior_table.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace mlkit::serving {
namespace {

double clamped(double parameter) {
  return std::clamp(parameter, beta::smallest_parameter, beta::largest_parameter);
}

std::uint32_t as_count(double pulls) {
  constexpr double most = std::numeric_limits<std::uint32_t>::max();
  return static_cast<std::uint32_t>(std::min(std::round(pulls), most));
}

// Not below what nothing was added to; what was withdrawn may have been replaced meanwhile.
double reduced(double parameter, double amount, double least) {
  return std::max(parameter - amount, std::min(parameter, least));
}

constexpr double least_of_pair = 1e-9;

[[noreturn]] void refuse(const char* what, std::uint64_t capacity) {
  throw TableFull("the posterior table is full: it has room for " + std::to_string(capacity) + " " +
                  what);
}

}  // namespace

PosteriorTable PosteriorTable::create(const std::string& path, const Sizes& capacity, Prior prior,
                                      double shrinkage, Forgetting forgetting) {
  const Header header = make_header(capacity, prior, shrinkage, forgetting);
  MappedFile file = MappedFile::create(path, Layout(capacity).bytes);
  std::memcpy(file.data(), &header, sizeof header);
  return {std::move(file), header};
}

PosteriorTable PosteriorTable::open(const std::string& path) {
  MappedFile file = MappedFile::open(path);
  check_file(file.data(), file.size(), path);
  Header header;
  std::memcpy(&header, file.data(), sizeof header);
  return {std::move(file), header};
}

PosteriorTable::PosteriorTable(MappedFile file, const Header& header)
    : file_(std::move(file)),
      capacity_(header.capacity),
      prior_(header.prior),
      shrinkage_(header.shrinkage),
      forgetting_(header.forgetting),
      hash_(header.keys),
      layout_(header.capacity),
      arm_index_(section<std::uint64_t>(layout_.arm_index), HashIndex::slots_for(capacity_.arms)),
      context_index_(section<std::uint64_t>(layout_.context_index),
                     HashIndex::slots_for(capacity_.contexts)),
      pair_index_(section<std::uint64_t>(layout_.posterior_index),
                  HashIndex::slots_for(capacity_.posteriors)),
      arms_(section<ArmRecord>(layout_.arms)),
      pairs_(section<PosteriorRecord>(layout_.posteriors)),
      pair_pulls_(section<std::uint32_t>(layout_.pulls)),
      ids_(file_.data() + layout_.ids) {}

Sizes PosteriorTable::used() const {
  const Sizes& used = header().used;
  return {std::min(acquire(used.arms), capacity_.arms),
          std::min(acquire(used.contexts), capacity_.contexts),
          std::min(acquire(used.posteriors), capacity_.posteriors), acquire(used.id_bytes)};
}

std::uint64_t PosteriorTable::count_arms() const {
  const std::uint64_t records = used().arms;
  return records - std::min(acquire(header().removed), records);
}

std::string_view PosteriorTable::id(std::uint32_t unit) const {
  if (unit >= layout_.id_units) return {};
  const std::byte* start = ids_ + unit * Layout::id_unit;
  std::uint16_t length;
  std::memcpy(&length, start, sizeof length);
  if (length > max_id_bytes || unit + Layout::units_of(length) > layout_.id_units) return {};
  return {reinterpret_cast<const char*>(start + sizeof length), length};
}

std::string_view PosteriorTable::arm_id(std::uint32_t arm) const {
  const ArmRecord* record = arm_record(arm);
  return record ? id(record->id) : std::string_view();
}

PosteriorTable::Number PosteriorTable::find_arm(std::uint64_t hash, std::string_view wanted) const {
  return arm_index_.find(hash, [&](Number arm) { return has_id(arm, wanted); });
}

PosteriorTable::Number PosteriorTable::find_live_arm(std::string_view wanted) const {
  const Number arm = find_arm(hash_(wanted), wanted);
  return is_live(arm) ? arm : 0;
}

PosteriorTable::Number PosteriorTable::find_context(std::uint64_t hash,
                                                    std::string_view wanted) const {
  return context_index_.find(hash, [&](Number context) { return id(context) == wanted; });
}

PosteriorTable::Number PosteriorTable::find_pair(std::uint64_t hash, Pair pair) const {
  return pair_index_.find(hash, [&](Number number) {
    const PosteriorRecord* record = pair_record(number);
    return record && record->context == pair.context && record->arm == pair.arm;
  });
}

std::optional<Posterior> PosteriorTable::arm_at(Number arm, double weight) const {
  Posterior found{};
  if (!copy_parameters(arm, found.a, found.b, weight)) return std::nullopt;
  found.pulls = read(arm_record(arm)->pulls);
  return found;
}

std::optional<Posterior> PosteriorTable::stored_pair(Number number) const {
  const PosteriorRecord* record = pair_record(number);
  if (!record) return std::nullopt;
  return Posterior{read(record->a), read(record->b),
                   static_cast<double>(read(pair_pulls_[number - 1u]))};
}

std::optional<Posterior> PosteriorTable::pair_at(Number number, const Posterior& own,
                                                 double weight) const {
  std::optional<Posterior> pair = stored_pair(number);
  if (!pair) return std::nullopt;
  if (forgets()) {
    if (!std::isfinite(pair->a) || !std::isfinite(pair->b)) return std::nullopt;
    const Posterior start = start_of_pair(own.a, own.b);
    pair->a = clamped(start.a + weight * pair->a);
    pair->b = clamped(start.b + weight * pair->b);
  }
  if (!valid_parameter(pair->a) || !valid_parameter(pair->b)) return std::nullopt;
  return pair;
}

std::optional<Posterior> PosteriorTable::arm(std::string_view wanted, double weight) const {
  const Number arm = find_live_arm(wanted);
  return arm ? arm_at(arm, weight) : std::nullopt;
}

std::optional<Posterior> PosteriorTable::pair(std::string_view context, std::string_view arm,
                                              double weight) const {
  const Pair pair{find_context(hash_(context), context), find_live_arm(arm)};
  const auto own = pair.context && pair.arm ? arm_at(pair.arm, weight) : std::nullopt;
  if (!own) return std::nullopt;
  return pair_at(find_pair(hash_(pair.context, pair.arm), pair), *own, weight);
}

std::optional<Posterior> PosteriorTable::stored(std::optional<std::string_view> context,
                                                std::string_view arm_text) const {
  const Number arm = find_live_arm(arm_text);
  if (!arm) return std::nullopt;
  if (!context) {
    const ArmRecord& record = *arm_record(arm);
    return Posterior{read(record.a), read(record.b), read(record.pulls)};
  }
  const Pair pair{find_context(hash_(*context), *context), arm};
  if (!pair.context) return std::nullopt;
  return stored_pair(find_pair(hash_(pair.context, arm), pair));
}

std::vector<NamedPosterior> PosteriorTable::arms(std::optional<std::string_view> after,
                                                 std::size_t limit, double weight) const {
  std::vector<NamedPosterior> found;
  visit_arms(weight, [&](std::string_view arm, Posterior posterior) {
    if (!after || arm > *after) found.push_back({arm, posterior});
  });
  const auto cut = found.begin() + static_cast<std::ptrdiff_t>(std::min(limit, found.size()));
  std::partial_sort(found.begin(), cut, found.end(),
                    [](const auto& x, const auto& y) { return x.arm < y.arm; });
  found.erase(cut, found.end());
  return found;
}

std::vector<std::string_view> PosteriorTable::removed_arms() const {
  std::vector<std::string_view> removed;
  const std::uint64_t count = used().arms;
  for (Number arm = 1; arm <= count; ++arm) {
    const std::string_view name = arm_id(arm);
    if (!is_live(arm) && find_arm(hash_(name), name) == arm) removed.push_back(name);
  }
  return removed;
}

void PosteriorTable::require_room(const Sizes& more) const {
  if (!file_.writable()) throw std::runtime_error("the posterior table is open for reading only");
  const Sizes now = used();
  if (now.arms + more.arms > capacity_.arms) refuse("arms", capacity_.arms);
  if (now.contexts + more.contexts > capacity_.contexts) refuse("contexts", capacity_.contexts);
  if (now.posteriors + more.posteriors > capacity_.posteriors)
    refuse("(context, arm) posteriors", capacity_.posteriors);
  if (now.id_bytes + more.id_bytes > capacity_.id_bytes) refuse("bytes of ids", capacity_.id_bytes);
}

std::uint32_t PosteriorTable::add_id(std::string_view text) {
  const auto length = static_cast<std::uint16_t>(text.size());
  const std::uint32_t unit = next_id_unit_;
  std::byte* start = ids_ + unit * Layout::id_unit;
  std::memcpy(start, &length, sizeof length);
  std::memcpy(start + sizeof length, text.data(), length);
  next_id_unit_ += static_cast<std::uint32_t>(Layout::units_of(length));
  publish(header().used.id_bytes, header().used.id_bytes + length);
  return unit;
}

PosteriorTable::Number PosteriorTable::add_arm_record(std::uint32_t id_unit, Posterior posterior) {
  std::uint64_t& count = header().used.arms;
  const auto arm = static_cast<Number>(count + 1);
  const std::string_view text = id(id_unit);
  ArmRecord& record = arms_[count];
  record = {posterior.a, posterior.b, posterior.pulls,
            id_unit,     1,           static_cast<std::uint16_t>(text.size()),
            {}};
  text.copy(record.id_start, sizeof record.id_start);
  publish(count, count + 1);
  return arm;
}

PosteriorTable::Number PosteriorTable::add_arm(std::uint64_t hash, std::string_view text,
                                               Posterior posterior) {
  const Number arm = add_arm_record(add_id(text), posterior);
  arm_index_.insert(hash, arm);
  return arm;
}

PosteriorTable::Number PosteriorTable::add_context(std::uint64_t hash, std::string_view text) {
  const Number context = add_id(text);
  context_index_.insert(hash, context);
  publish(header().used.contexts, header().used.contexts + 1);
  return context;
}

PosteriorTable::Number PosteriorTable::add_pair(std::uint64_t hash, Pair pair,
                                                Posterior posterior) {
  std::uint64_t& count = header().used.posteriors;
  const auto number = static_cast<Number>(count + 1);
  pairs_[count] = {pair.context, pair.arm, posterior.a, posterior.b};
  pair_pulls_[count] = as_count(posterior.pulls);
  pair_index_.insert(hash, number);
  publish(count, count + 1);
  return number;
}

void PosteriorTable::put_arm(std::string_view text, Posterior posterior, double at) {
  if (forgets()) {
    const double scale = 1 / weight(at);
    posterior.a = (posterior.a - prior_.a) * scale;
    posterior.b = (posterior.b - prior_.b) * scale;
  }
  const std::uint64_t hash = hash_(text);
  const Number arm = find_arm(hash, text);
  require_room({is_live(arm) ? 0u : 1u, 0, 0, arm ? 0 : text.size()});
  if (is_live(arm)) {
    ArmRecord& record = *arm_record(arm);
    write(record.a, posterior.a);
    write(record.b, posterior.b);
    write(record.pulls, posterior.pulls);
  } else if (arm) {
    // A record of its own, so that the pairs of the removed arm stay hidden.
    const Number fresh = add_arm_record(arm_record(arm)->id, posterior);
    arm_index_.replace(hash, fresh, [arm](Number number) { return number == arm; });
  } else {
    add_arm(hash, text, posterior);
  }
}

bool PosteriorTable::remove_arm(std::string_view text) {
  require_room({});
  ArmRecord* record = arm_record(find_live_arm(text));
  if (!record) return false;
  publish(record->live, std::uint16_t{0});
  publish(header().removed, header().removed + 1);
  return true;
}

void PosteriorTable::put_evidence(std::optional<std::string_view> context, std::string_view arm,
                                  Posterior evidence) {
  if (context) {
    put_pair(*context, arm, evidence);
  } else {
    put_arm(arm, {prior_.a, prior_.b, 0}, forgetting_.base);  // may make the record
    ArmRecord& record = *arm_record(find_live_arm(arm));
    write(record.a, evidence.a);
    write(record.b, evidence.b);
    write(record.pulls, evidence.pulls);
  }
}

void PosteriorTable::put_pair(std::string_view context, std::string_view arm_text,
                              Posterior posterior) {
  const Number arm = find_live_arm(arm_text);
  if (!arm) throw std::invalid_argument("the arm of the pair is not in the table");
  const std::uint64_t context_hash = hash_(context);
  Pair pair{find_context(context_hash, context), arm};
  const Number number = pair.context ? find_pair(hash_(pair.context, arm), pair) : 0;
  require_room({0, pair.context ? 0u : 1u, number ? 0u : 1u, pair.context ? 0 : context.size()});
  if (!pair.context) pair.context = add_context(context_hash, context);
  if (!number) {
    add_pair(hash_(pair.context, arm), pair, posterior);
    return;
  }
  set_pair(number, posterior);
}

void PosteriorTable::set_pair(Number number, const Posterior& posterior) {
  write(pair_record(number)->a, posterior.a);
  write(pair_record(number)->b, posterior.b);
  write(pair_pulls_[number - 1u], as_count(posterior.pulls));
}

namespace {

// How many failures a reward stands for, where the arm was examined with a given probability only:
// what is missing to 1 counts by the probability that it was examined and not taken, the E step of
// the position-based model (Chuklin, Markov and de Rijke, "Click Models for Web Search", 2015).
double failures(double a, double b, double reward, double examined) {
  if (examined == 1) return 1 - reward;
  const double missed = examined * (b / (a + b));
  return (1 - reward) * missed / (missed + (1 - examined));
}

}  // namespace

bool PosteriorTable::add_reward(std::optional<std::string_view> context, std::string_view text,
                                double reward, const Earned& earned) {
  const std::uint64_t arm_hash = hash_(text);
  const std::uint64_t context_hash = context ? hash_(*context) : 0;
  Number arm = find_arm(arm_hash, text);
  if (arm ? !is_live(arm) : earned.withdrawn) return false;
  Pair pair{context ? find_context(context_hash, *context) : 0, arm};
  Number number = arm && pair.context ? find_pair(hash_(pair.context, arm), pair) : 0;

  if (earned.withdrawn) {
    withdraw(arm, number, reward, earned);
    return true;
  }
  const bool new_context = context && !pair.context;
  require_room({arm ? 0u : 1u, new_context ? 1u : 0u, context && !number ? 1u : 0u,
                (arm ? 0 : text.size()) + (new_context ? context->size() : 0)});
  const Posterior fresh = forgets() ? Posterior{} : Posterior{prior_.a, prior_.b, 0};
  if (!arm) pair.arm = arm = add_arm(arm_hash, text, fresh);
  if (new_context) pair.context = add_context(context_hash, *context);
  ArmRecord& record = *arm_record(arm);
  const Posterior own = *arm_at(arm, weight(earned.at));
  if (context) {
    const Posterior start = forgets() ? Posterior{} : start_of_pair(own.a, own.b);
    if (!number) number = add_pair(hash_(pair.context, arm), pair, start);
    add_to_pair(number, own, reward, earned);
  }
  const Posterior sum = with({record.a, record.b, record.pulls}, own, reward, earned);
  write(record.a, sum.a);
  write(record.b, sum.b);
  write(record.pulls, sum.pulls);
  return true;
}

Posterior PosteriorTable::with(const Posterior& stored, const Posterior& now, double reward,
                               const Earned& earned) const {
  const double failed = failures(now.a, now.b, reward, earned.examined);
  if (forgets()) {
    const double scale = 1 / weight(earned.at);
    return {stored.a + scale * reward, stored.b + scale * failed, stored.pulls + 1};
  }
  return {clamped(stored.a + reward), clamped(stored.b + failed), stored.pulls + 1};
}

Posterior PosteriorTable::without(const Posterior& stored, const Posterior& now, Prior least,
                                  double reward, const Earned& earned) const {
  const double scale = 1 / weight(earned.at);
  const double failed = failures(now.a, now.b, reward, earned.examined);
  return {reduced(stored.a, scale * reward, least.a), reduced(stored.b, scale * failed, least.b),
          std::max(stored.pulls - 1, 0.0)};
}

Posterior PosteriorTable::start_of_pair(double a, double b) const {
  // As mlkit.bandit.posterior.shrunk: not 1 - mean, which is 0 when the mean rounds to 1.
  const double counts = a + b;
  return {clamped(shrinkage_ * a / counts), clamped(shrinkage_ * b / counts), 0};
}

void PosteriorTable::add_to_pair(Number number, const Posterior& own, double reward,
                                 const Earned& earned) {
  const auto now = pair_at(number, own, weight(earned.at));
  set_pair(number, with(*stored_pair(number), now.value_or(own), reward, earned));
}

void PosteriorTable::withdraw(Number arm, Number pair, double reward, const Earned& earned) {
  const Posterior own = *arm_at(arm, weight(earned.at));
  ArmRecord& record = *arm_record(arm);
  const Prior least = forgets() ? Prior{0, 0} : prior_;
  const Posterior rest = without({record.a, record.b, record.pulls}, own, least, reward, earned);
  if (pair) {
    const Prior start = forgets() ? Prior{0, 0} : Prior{least_of_pair, least_of_pair};
    const auto now = pair_at(pair, own, weight(earned.at));
    set_pair(pair, without(*stored_pair(pair), now.value_or(own), start, reward, earned));
  }
  write(record.a, rest.a);
  write(record.b, rest.b);
  write(record.pulls, rest.pulls);
}

}  // namespace mlkit::serving
