#include "serving/direct_answer.hpp"

#include <array>
#include <charconv>

#include "serving/decision_signer.hpp"
#include "serving/id_hash.hpp"

namespace mlkit::serving {
namespace {

// CRC-32 of ISO 3309, as zlib has it, 8 bytes at a time: row n is for a byte that n others follow
// (Kounavis and Berry, "A Systematic Approach to Building High Performance Software-Based CRC
// Generators", 2005).
using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0u);
    tables[0][byte] = value;
  }
  for (std::size_t row = 1; row < tables.size(); ++row)
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t value = tables[row - 1][byte];
      tables[row][byte] = value >> 8 ^ tables[0][value & 0xff];
    }
  return tables;
}

std::uint32_t crc32(std::string_view text) {
  static constexpr CrcTables tables = make_crc_tables();
  std::uint32_t value = 0xffffffffu;
  for (; text.size() >= 8; text.remove_prefix(8)) {
    const std::uint64_t word = word_at(text.data()) ^ value;
    value = 0;
    for (std::size_t i = 0; i < 8; ++i) value ^= tables[7 - i][word >> (8 * i) & 0xff];
  }
  for (const char c : text)
    value = value >> 8 ^ tables[0][(value ^ static_cast<unsigned char>(c)) & 0xff];
  return ~value;
}

constexpr double smallest_positional = 1e-5;

}  // namespace

void append_number(std::string& out, double value) {
  std::array<char, 64> digits;
  const bool is_positional = value == 0 || value >= smallest_positional;
  const auto format = is_positional ? std::chars_format::fixed : std::chars_format::scientific;
  const char* end = std::to_chars(digits.begin(), digits.end(), value, format).ptr;
  std::string_view text(digits.data(), static_cast<std::size_t>(end - digits.data()));
  if (is_positional) {
    out.append(text);
    if (text.find('.') == text.npos) out.append(".0");
    return;
  }
  // An exponent of one digit has a zero before it here, and none there.
  const auto exponent = text.rfind('-') + 1;
  out.append(text.substr(0, exponent)).append(text.substr(exponent + (text[exponent] == '0')));
}

void append_answer(std::string& out, std::span<const std::string_view> candidates,
                   std::span<const Scored> best, const Unknown& unknown) {
  const char* before = "\"arms\":[\"";
  for (const Scored& each : best) {
    out.append(before).append(candidates[each.candidate]);
    before = "\",\"";
  }
  before = "\"],\"scores\":[";
  for (const Scored& each : best) {
    out.append(before);
    append_number(out, each.draw);
    before = ",";
  }
  const auto count = static_cast<double>(candidates.size());
  out.append("],\"unknown\":{\"contexts\":");
  append_number(out, static_cast<double>(unknown.contexts) / count);
  out.append(",\"arms\":");
  append_number(out, static_cast<double>(unknown.arms) / count);
  out.append("}}");
}

void append_candidates(std::string& out, std::span<const std::string_view> candidates) {
  const char* before = "[\"";
  for (const std::string_view each : candidates) {
    out.append(before).append(each);
    before = "\",\"";
  }
  out.append("\"]");
}

void append_shown(std::string& out, std::span<const std::string_view> candidates,
                  std::span<const Scored> best) {
  append_big_endian(out, best.size(), 2);
  for (const Scored& each : best) append_big_endian(out, crc32(candidates[each.candidate]), 4);
}

}  // namespace mlkit::serving
