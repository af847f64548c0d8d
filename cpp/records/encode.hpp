// Columns as records: a JSON object for each row, without what is missing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mlkit::records {

enum class Kind { time, real, integer, boolean, text };

// A field of the records; text that is missing is a view without data, a number NaN.
struct Field {
  std::string head;  // its name and a colon, as JSON
  Kind kind = Kind::real;
  const double* reals = nullptr;
  const std::int64_t* integers = nullptr;
  const std::uint8_t* booleans = nullptr;
  std::vector<std::string_view> texts;
};

// Appends text in UTF-8 as JSON.
void append_text(std::string& out, std::string_view text);
// Appends a row of the fields.
void append_record(std::string& out, const std::vector<Field>& fields, std::size_t row);

}  // namespace mlkit::records
