#include "records/times.hpp"

#include <array>
#include <chrono>
#include <cstddef>

namespace mlkit::records {

namespace {

using std::chrono::day, std::chrono::month, std::chrono::year, std::chrono::year_month_day;

constexpr std::int64_t second = 1'000'000'000;
// Years that nanoseconds in 64 bits hold as a whole.
constexpr std::int64_t first_year = 1678, last_year = 2261;
constexpr std::string_view form = "0000-00-00T00:00:00";

bool has_form(std::string_view text) {
  for (std::size_t n = 0; n < form.size(); ++n) {
    const bool is_digit = text[n] >= '0' && text[n] <= '9';
    if (form[n] == '0' ? !is_digit : text[n] != form[n]) return false;
  }
  return true;
}

std::int64_t digits(std::string_view text) {
  std::int64_t value = 0;
  for (const char each : text) value = 10 * value + (each - '0');
  return value;
}

// Python reads up to six digits of a second, and this package nine; others are left to them.
bool read_fraction(std::string_view text, std::int64_t& nanoseconds) {
  nanoseconds = 0;
  if (text.empty()) return true;
  const std::size_t count = text.size() - 1;
  if (text[0] != '.' || count == 0 || (count > 6 && count != 9)) return false;
  for (const char each : text.substr(1))
    if (each < '0' || each > '9') return false;
  nanoseconds = digits(text.substr(1));
  for (std::size_t n = count; n < 9; ++n) nanoseconds *= 10;
  return true;
}

void append_digits(std::string& out, std::int64_t value, int count) {
  std::array<char, 9> text{};
  for (int n = count; n-- > 0; value /= 10) text[std::size_t(n)] = char('0' + value % 10);
  out.append(text.data(), std::size_t(count));
}

std::int64_t floor_div(std::int64_t value, std::int64_t by) {
  return value / by - (value % by < 0 ? 1 : 0);
}

}  // namespace

bool read_time(std::string_view text, std::int64_t& nanoseconds) {
  if (text.size() <= form.size() || text.back() != 'Z' || !has_form(text)) return false;
  const std::int64_t y = digits(text.substr(0, 4));
  const year_month_day date{year(int(y)), month(unsigned(digits(text.substr(5, 2)))),
                            day(unsigned(digits(text.substr(8, 2))))};
  const std::int64_t h = digits(text.substr(11, 2)), m = digits(text.substr(14, 2)),
                     s = digits(text.substr(17, 2));
  if (y < first_year || y > last_year || !date.ok() || h > 23 || m > 59 || s > 59) return false;
  std::int64_t fraction = 0;
  if (!read_fraction(text.substr(form.size(), text.size() - form.size() - 1), fraction))
    return false;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  nanoseconds = (((days * 24 + h) * 60 + m) * 60 + s) * second + fraction;
  return true;
}

bool read_time(std::int64_t number, std::int64_t& nanoseconds) {
  if (number == INT64_MIN) return false;  // it has no opposite
  const std::int64_t size = number < 0 ? -number : number;
  const std::int64_t unit = size < 100'000'000'000           ? second
                            : size < 100'000'000'000'000     ? 1'000'000
                            : size < 100'000'000'000'000'000 ? 1'000
                                                             : 1;
  return !__builtin_mul_overflow(number, unit, &nanoseconds) && nanoseconds != INT64_MIN;
}

void append_time(std::string& out, std::int64_t nanoseconds) {
  const std::int64_t seconds = floor_div(nanoseconds, second);
  const std::int64_t days = floor_div(seconds, 86'400);
  const std::int64_t of_day = seconds - days * 86'400;
  const year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
  append_digits(out, int(date.year()), 4);
  out += '-';
  append_digits(out, unsigned(date.month()), 2);
  out += '-';
  append_digits(out, unsigned(date.day()), 2);
  out += 'T';
  append_digits(out, of_day / 3600, 2);
  out += ':';
  append_digits(out, of_day / 60 % 60, 2);
  out += ':';
  append_digits(out, of_day % 60, 2);
  if (const std::int64_t rest = nanoseconds - seconds * second; rest != 0) {
    out += '.';
    append_digits(out, rest, 9);
  }
  out += 'Z';
}

}  // namespace mlkit::records
