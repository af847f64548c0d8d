#include "serving/direct_answer.hpp"

#include <array>
#include <charconv>

namespace mlkit::serving {
namespace {

// CRC-32 of ISO 3309, as zlib has it.
constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0u);
    table[byte] = value;
  }
  return table;
}

std::uint32_t crc32(std::string_view text) {
  static constexpr auto table = make_crc_table();
  std::uint32_t value = 0xffffffffu;
  for (const char c : text)
    value = value >> 8 ^ table[(value ^ static_cast<unsigned char>(c)) & 0xff];
  return ~value;
}

void append_big_endian(std::string& out, std::uint32_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift & 0xff));
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
  append_big_endian(out, static_cast<std::uint32_t>(best.size()), 2);
  for (const Scored& each : best) append_big_endian(out, crc32(candidates[each.candidate]), 4);
}

}  // namespace mlkit::serving
