#include "records/encode.hpp"

#include <array>
#include <charconv>

#include "records/times.hpp"

namespace mlkit::records {

namespace {

template <class Number>
void append_number(std::string& out, Number number) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  out.append(text.data(), end);
}

// The shortest digits that read back as the same number; it stays one with a fraction.
void append_real(std::string& out, double number) {
  const std::size_t begin = out.size();
  append_number(out, number);
  if (out.find_first_of(".e", begin) == std::string::npos) out += ".0";
}

bool is_missing(const Field& field, std::size_t row) {
  if (field.kind == Kind::text) return field.texts[row].data() == nullptr;
  return field.kind == Kind::real && field.reals[row] != field.reals[row];
}

void append_value(std::string& out, const Field& field, std::size_t row) {
  switch (field.kind) {
    case Kind::time:
      out += '"';
      append_time(out, field.integers[row]);
      out += '"';
      return;
    case Kind::real:
      return append_real(out, field.reals[row]);
    case Kind::integer:
      return append_number(out, field.integers[row]);
    case Kind::boolean:
      out += field.booleans[row] != 0 ? "true" : "false";
      return;
    case Kind::text:
      return append_text(out, field.texts[row]);
  }
}

}  // namespace

void append_text(std::string& out, std::string_view text) {
  constexpr std::string_view hexadecimal = "0123456789abcdef";
  out += '"';
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte < 0x20) {
      out += "\\u00";
      out += hexadecimal[byte >> 4];
      out += hexadecimal[byte & 15];
    } else {
      if (each == '"' || each == '\\') out += '\\';
      out += each;
    }
  }
  out += '"';
}

void append_record(std::string& out, const std::vector<Field>& fields, std::size_t row) {
  char before = '{';
  for (const Field& each : fields) {
    if (is_missing(each, row)) continue;
    out += before;
    before = ',';
    out += each.head;
    append_value(out, each, row);
  }
  out += '}';
}

}  // namespace mlkit::records
