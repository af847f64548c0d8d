// The state of a pair monitor as bytes.
#include <array>

#include "monitor/monitor.hpp"

namespace mlkit::monitor {

namespace {

constexpr std::array<char, 8> magic{'m', 'l', 'k', 'i', 't', 'P', 'M', '1'};

[[noreturn]] void refuse(const char* why) { throw std::invalid_argument(why); }

// The bytes between the mark of the version and the checksum.
std::string_view body_of(std::string_view bytes) {
  if (bytes.substr(0, magic.size()) != std::string_view(magic.data(), magic.size()))
    refuse("these are not the bytes of a monitor of this version");
  std::uint64_t sum = 0;
  if (bytes.size() < magic.size() + sizeof sum) refuse("the saved state is damaged");
  const std::string_view sealed = bytes.substr(0, bytes.size() - sizeof sum);
  std::memcpy(&sum, bytes.data() + sealed.size(), sizeof sum);
  if (sum != strategy::checksum(sealed)) refuse("the saved state is damaged");
  return sealed.substr(magic.size());
}

}  // namespace

void Monitor::archive(strategy::Archive& archive) {
  archive.fields(tickers_, settings_.decay, settings_.min_bars, settings_.window, bars_);
  archive.require(tickers_ >= 2 && tickers_ <= most_tickers && settings_.decay > 0.0 &&
                  settings_.decay <= 1.0 && settings_.min_bars >= 2 &&
                  settings_.min_bars <= most_bars && settings_.window >= 0 &&
                  settings_.window <= most_bars && bars_ >= 0 && bars_ < std::int64_t{1} << 62);
  for (auto* each : {&base_, &log_, &kept_.log, &kept_.normalised, &kept_.change})
    archive.values(*each);
  archive.values(kept_.crossed);
  archive.values(blocks_);
}

std::string Monitor::save() {
  strategy::Archive archive;
  auto mark = magic;
  archive.value(mark);
  this->archive(archive);
  std::string bytes = archive.take();
  const std::uint64_t sum = strategy::checksum(bytes);
  bytes.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  return bytes;
}

Monitor Monitor::load(std::string_view bytes) {
  strategy::Archive archive(body_of(bytes));
  Monitor monitor;
  monitor.archive(archive);
  archive.require_end();
  archive.require(monitor.blocks_.size() >= monitor.pairs() / lanes);  // before memory is taken
  const std::size_t blocks = monitor.lay_out();
  const std::size_t columns = monitor.padded_, slots = std::size_t(monitor.settings_.window);
  const Slots& kept = monitor.kept_;
  for (const auto* each : {&monitor.base_, &monitor.log_}) archive.require(each->size() == columns);
  for (const auto* each : {&kept.log, &kept.normalised, &kept.change})
    archive.require(each->size() == slots * columns);
  archive.require(monitor.blocks_.size() == blocks && kept.crossed.size() == slots * blocks);
  return monitor;
}

}  // namespace mlkit::monitor
