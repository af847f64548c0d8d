#include "serving/decision_signer.hpp"

namespace mlkit::serving {
namespace {

constexpr unsigned version = 2, with_context = 128;
constexpr std::string_view digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void append_base64(std::string& out, std::string_view raw) {
  const auto byte = [raw](std::size_t i) {
    return i < raw.size() ? std::uint32_t{static_cast<unsigned char>(raw[i])} : 0u;
  };
  const std::size_t begin = out.size();
  out.resize(begin + (raw.size() * 4 + 2) / 3);
  char* to = out.data() + begin;
  char* const end = out.data() + out.size();
  for (std::size_t i = 0; to != end; i += 3) {
    const std::uint32_t bits = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    for (int shift = 18; shift >= 0 && to != end; shift -= 6) *to++ = digits[bits >> shift & 63];
  }
}

}  // namespace

void append_big_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift & 0xff));
}

void DecisionSigner::append(std::string& out, std::string_view shown,
                            std::optional<std::string_view> context, double at, unsigned kind) {
  raw_.clear();
  append_big_endian(raw_, kind | version | (context ? with_context : 0u), 1);
  append_big_endian(raw_, static_cast<std::uint64_t>(at * 1000), 6);
  append_big_endian(raw_, ++nonce_, 8);
  raw_.append(shown);
  if (context) raw_.append(*context);
  const auto mac = mac_(raw_);
  raw_.append(mac.data(), mac.size());
  append_base64(out, raw_);
}

}  // namespace mlkit::serving
