// What an engine shows of its state, and the state as bytes.
#include <array>
#include <utility>

#include "strategy/engine.hpp"

namespace mlkit::strategy {

namespace {

constexpr std::array<char, 8> magic{'m', 'l', 'k', 'i', 't', 'P', 'E', '2'};

void archive_rule(Archive& archive, Rule& rule) {
  archive.fields(rule.entry, rule.exit, rule.stop, rule.max_bars);
}

void archive_settings(Archive& archive, Settings& settings) {
  archive_rule(archive, settings.rule);
  archive.value(settings.costs);
  archive.fields(settings.sizing.capital, settings.sizing.gross);
  archive.flag(settings.sizing.log);
  archive.flag(settings.sizing.whole_shares);
  archive.value(settings.limits);
  archive.fields(settings.cash_rate, settings.bars_per_year, settings.delisted_after);
  archive.flag(settings.same_bar);
  archive.flag(settings.carry);
}

}  // namespace

std::vector<Trade> Engine::positions() const {
  std::vector<Trade> found;
  for (std::size_t place : held_) {
    if (slots_[place].open) found.push_back(slots_[place].trade);
  }
  return found;
}

std::vector<Pending> Engine::pending() const {
  std::vector<Pending> found;
  for (std::size_t place : held_) {
    const Slot& slot = slots_[place];
    if (!slot.entering && !slot.leaving) continue;
    found.push_back({slot.number, slot.entering ? slot.trade.decided : -1, slot.entering ? 1 : 0,
                     slot.trade.reason, slot.trade.shares});
  }
  return found;
}

std::vector<View> Engine::views() const {
  std::vector<View> found;
  for (const Slot& slot : slots_) {
    const State& state = slot.state;
    found.push_back({slot.number, state.side, state.locked, state.held, slot.features});
  }
  return found;
}

void Engine::drain() {
  rows_.clear();
  trades_.clear();
  choices_.clear();
}

void Engine::Slot::archive(Archive& archive) {
  archive.fields(number, pair.y, pair.x, pair.stop);
  strategy::archive(archive, pair.signal);
  archive_rule(archive, pair.rule);
  signal.archive(archive);
  archive.fields(state.side, state.locked, state.held, features, trade);
  for (bool* each : {&open, &entering, &leaving, &dead, &counted, &blocked}) archive.flag(*each);
}

void Engine::archive(Archive& archive) {
  archive.fields(bar_, next_number_, now_, ordered_, counted_);
  archive.values(last_);
  archive.values(missing_);
  archive.values(delisted_);
  archive.values(counted_with_);
  archive.values(planned_);
  archive.flag(blocked_);
  const std::size_t count = archive.size(slots_.size(), sizeof(Trade));
  if (archive.reading()) slots_.resize(count, Slot{0, {}, Signal({})});
  for (Slot& slot : slots_) slot.archive(archive);
}

std::string Engine::save() const {
  Engine copy = *this;  // an archive reads and writes by the same fields
  Archive archive;
  auto mark = magic;
  archive.value(mark);
  archive_settings(archive, copy.settings_);
  copy.archive(archive);
  std::string bytes = archive.take();
  std::uint64_t sum = checksum(bytes);
  bytes.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  return bytes;
}

Engine Engine::load(std::string_view bytes, StrategyCallback strategy_callback) {
  const auto refuse = [](const char* why) { throw std::invalid_argument(why); };
  if (bytes.substr(0, magic.size()) != std::string_view(magic.data(), magic.size())) {
    refuse("these are not the bytes of an engine of this version");
  }
  std::uint64_t sum = 0;
  if (bytes.size() < magic.size() + sizeof sum) refuse("the saved state is damaged");
  const std::string_view body = bytes.substr(0, bytes.size() - sizeof sum);
  std::memcpy(&sum, bytes.data() + body.size(), sizeof sum);
  if (sum != checksum(body)) refuse("the saved state is damaged");
  Archive archive(body.substr(magic.size()));
  Settings settings;
  archive_settings(archive, settings);
  Engine engine(0, settings, std::move(strategy_callback));
  engine.archive(archive);
  archive.require_end();
  const std::size_t tickers = engine.last_.size();
  for (const Intervention& each : engine.planned_) {
    archive.require(each.action >= Action::block && each.action <= Action::cancel);
  }
  archive.require(engine.missing_.size() == tickers && engine.delisted_.size() == tickers &&
                  engine.counted_with_.size() == tickers);
  engine.logs_.resize(tickers);
  engine.logged_.assign(tickers, -1);
  for (std::size_t place = 0; place < engine.slots_.size(); ++place) {
    const Slot& slot = engine.slots_[place];
    archive.require(slot.pair.y < tickers && slot.pair.x < tickers);
    engine.earliest_stop_ = std::min(engine.earliest_stop_, slot.pair.stop);
    if (slot.active()) engine.held_.push_back(place);
  }
  return engine;
}

}  // namespace mlkit::strategy
