// Times of records: ISO 8601 in UTC, and numbers since 1970 whose size tells their unit.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mlkit::records {

// Reads `YYYY-MM-DDTHH:MM:SS[.fraction]Z`; false for other forms, and beyond 64 bits.
bool read_time(std::string_view text, std::int64_t& nanoseconds);
// Reads seconds, milliseconds, microseconds or nanoseconds since 1970.
bool read_time(std::int64_t number, std::int64_t& nanoseconds);
// Appends a time, as short as it can be.
void append_time(std::string& out, std::int64_t nanoseconds);

}  // namespace mlkit::records
