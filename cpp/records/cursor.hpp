// A place within JSON text: what plain records are made of, by RFC 8259.
#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>
#include <system_error>

namespace mlkit::records {

struct Number {
  bool is_whole = false;
  std::int64_t integer = 0;
  double real = 0.0;
};

class Cursor {
 public:
  explicit Cursor(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  bool take(char wanted) {
    skip_space();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }

  bool next_is(char wanted) {
    skip_space();
    return at_ < end_ && *at_ == wanted;
  }

  bool is_at_end() {
    skip_space();
    return at_ == end_;
  }

  // Text without escapes, in ASCII.
  bool text(std::string_view& found) {
    if (!take('"')) return false;
    const char* const begin = at_;
    while (at_ < end_ && *at_ != '"') {
      const auto byte = static_cast<unsigned char>(*at_);
      if (byte < 0x20 || byte >= 0x80 || byte == '\\') return false;
      ++at_;
    }
    if (at_ == end_) return false;
    found = {begin, std::size_t(at_++ - begin)};
    return true;
  }

  bool number(Number& found) {
    skip_space();
    const char* const begin = at_;
    if (at_ < end_ && *at_ == '-') ++at_;
    const char* const digits = at_;
    if (!skip_digits() || (*digits == '0' && at_ - digits > 1)) return false;
    found.is_whole = true;
    if (at_ < end_ && *at_ == '.') {
      found.is_whole = false;
      ++at_;
      if (!skip_digits()) return false;
    }
    if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
      found.is_whole = false;
      ++at_;
      if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      if (!skip_digits()) return false;
    }
    return found.is_whole ? read(begin, found.integer) : read(begin, found.real);
  }

 private:
  bool skip_digits() {
    const char* const begin = at_;
    while (at_ < end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    return at_ > begin;
  }

  // Fails for what a number of this kind cannot hold.
  template <class Value>
  bool read(const char* begin, Value& value) const {
    const auto [stop, error] = std::from_chars(begin, at_, value);
    return error == std::errc() && stop == at_;
  }

  const char* at_;
  const char* end_;
};

}  // namespace mlkit::records
