#include "records/decode.hpp"

#include <limits>

#include "records/cursor.hpp"
#include "records/times.hpp"

namespace mlkit::records {

namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

void fill(Column& column, std::size_t rows) {
  if (column.filled < rows) column.is_whole = false;
  if (column.is_text) {
    column.texts.resize(rows);
  } else {
    column.reals.resize(rows, unknown);
    column.integers.resize(rows);
  }
}

bool add_text(Column& column, std::size_t row, std::string_view text) {
  if (column.filled == 0) column.is_text = true;
  if (!column.is_text) return false;
  fill(column, row);
  column.texts.push_back(text);
  return true;
}

bool add_number(Column& column, std::size_t row, const Number& number) {
  if (column.is_text) return false;
  fill(column, row);
  column.is_whole = column.is_whole && number.is_whole;
  column.reals.push_back(number.is_whole ? double(number.integer) : number.real);
  column.integers.push_back(number.integer);
  return true;
}

bool read_any_time(Cursor& cursor, std::int64_t& time) {
  if (std::string_view text; cursor.next_is('"')) return cursor.text(text) && read_time(text, time);
  Number number;
  return cursor.number(number) && number.is_whole && read_time(number.integer, time);
}

}  // namespace

bool Decoder::take(std::string_view record) {
  Cursor cursor(record);
  has_time_ = has_key_ = false;
  expected_ = 0;
  if (!cursor.take('{')) return false;
  do {
    std::string_view name;
    if (!cursor.text(name) || !cursor.take(':') || !field(name, cursor)) return false;
  } while (cursor.take(','));
  return cursor.take('}') && cursor.is_at_end() && has_time_ && has_key_;
}

// False for a name that the record has twice, too: the last one counts then.
bool Decoder::field(std::string_view name, Cursor& cursor) {
  if (name == key_) {
    std::string_view key;
    if (has_key_ || !cursor.text(key) || key.empty()) return false;
    keys_.push_back(key);
    return has_key_ = true;
  }
  if (name == "time") {
    std::int64_t time = 0;
    if (has_time_ || !read_any_time(cursor, time)) return false;
    times_.push_back(time);
    return has_time_ = true;
  }
  Column& wanted = column(name);
  // The row's number: those of time and key may have come, or not yet.
  const std::size_t row = has_time_ ? times_.size() - 1 : times_.size();
  if (wanted.filled > row) return false;
  std::string_view text;
  Number number;
  const bool fits = cursor.next_is('"') ? cursor.text(text) && add_text(wanted, row, text)
                                        : cursor.number(number) && add_number(wanted, row, number);
  wanted.filled = row + 1;
  return fits;
}

Column& Decoder::column(std::string_view name) {
  if (expected_ < columns_.size() && columns_[expected_].name == name) return columns_[expected_++];
  for (std::size_t n = 0; n < columns_.size(); ++n) {
    if (columns_[n].name != name) continue;
    expected_ = n + 1;
    return columns_[n];
  }
  columns_.push_back({});
  columns_.back().name = name;
  expected_ = columns_.size();
  return columns_.back();
}

std::vector<Column>& Decoder::finish() {
  for (Column& each : columns_) fill(each, times_.size());
  return columns_;
}

}  // namespace mlkit::records
