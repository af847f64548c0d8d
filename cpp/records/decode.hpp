// Plain records of a topic as columns: JSON objects of numbers and text, all of a batch at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mlkit::records {

// A field of the records. What is missing is NaN, or a view without data.
struct Column {
  std::string name;
  bool is_text = false;
  bool is_whole = true;  // every record has it, and it is an integer in all of them
  std::vector<double> reals;
  std::vector<std::int64_t> integers;
  std::vector<std::string_view> texts;
  std::size_t filled = 0;  // rows up to the last one that has it
};

// Decodes records whose values are text in ASCII without escapes, and numbers. Views of text are
// into the records, which have to outlive it.
class Decoder {
 public:
  explicit Decoder(std::string key) : key_(std::move(key)) {}

  // Takes a record; false if it is none, or one of another kind: then the batch is of no use here.
  bool take(std::string_view record);
  // Returns the columns besides time and key, in the order in which their names have come.
  std::vector<Column>& finish();

  const std::vector<std::int64_t>& times() const { return times_; }  // nanoseconds since 1970
  const std::vector<std::string_view>& keys() const { return keys_; }

 private:
  bool field(std::string_view name, class Cursor& cursor);
  Column& column(std::string_view name);

  std::string key_;
  std::vector<std::int64_t> times_;
  std::vector<std::string_view> keys_;
  std::vector<Column> columns_;
  std::size_t expected_ = 0;  // where the next field is, if this record is like the last one
  bool has_time_ = false, has_key_ = false;
};

}  // namespace mlkit::records
