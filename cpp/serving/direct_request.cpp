#include "serving/direct_request.hpp"

#include <charconv>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "serving/id_hash.hpp"

namespace mlkit::serving {
namespace {

bool is_id(std::string_view text) { return !text.empty() && text.size() <= max_id_bytes; }

class Reader {
 public:
  // The buffer is for strings without their escapes; it never moves, since they are shorter.
  Reader(std::string_view text, std::string& buffer)
      : at_(text.data()), end_(at_ + text.size()), buffer_(buffer) {
    buffer_.clear();
  }

  bool is_ascii() const { return is_ascii_; }

  // Skip white space, then take a character if it is the next one.
  bool take(char wanted) {
    skip_space();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }

  bool is_ended() {
    skip_space();
    return at_ == end_;
  }

  bool take_string(std::string_view& found) {
    if (!take('"')) return false;
    const char* start = at_;
    skip_plain();
    if (at_ == end_) return false;
    if (*at_ == '\\') return take_escaped(start, found);
    if (*at_ != '"') return false;
    found = {start, static_cast<std::size_t>(at_++ - start)};
    return true;
  }

  // Take the ids of a list, after its bracket, if they are plain strings with nothing but a comma
  // and at most a space between them. False: they are not, and nothing was taken.
  bool take_plain_ids(std::size_t most, std::vector<std::string_view>& found) {
#if defined(__SSE2__)
    // All quotes are looked for first: to go from each to the next takes twice as long, as the
    // processor cannot begin with one before it knows where the one before ends.
    const char* open = nullptr;   // the start of a string
    const char* close = at_ - 1;  // the quote that ended one, or the bracket
    for (const char* block = at_; block < end_; block += 64) {
      const auto [quotes, others] = stops_in(block);
      const std::uint64_t before_others = others ? (others & -others) - 1 : ~std::uint64_t{0};
      for (std::uint64_t left = quotes & before_others; left; left &= left - 1) {
        const char* quote = block + __builtin_ctzll(left);
        if (open) {
          if (found.size() == most || !is_id({open, quote})) return refuse(found);
          found.emplace_back(open, quote);
          close = quote;
          open = nullptr;
        } else if (is_between(close, quote, found.empty())) {
          open = quote + 1;
        } else {
          return end_list(close, found);
        }
      }
      if (others) break;
    }
    if (!open) return end_list(close, found);
#endif
    return refuse(found);
  }

  bool take_word(std::string_view word) {
    skip_space();
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(word))
      return false;
    at_ += word.size();
    return true;
  }

  // Take an integer that is neither negative nor larger than 64 bits. What follows it, such as a
  // fraction, is left for the next call to refuse.
  bool take_whole(std::uint64_t& found) {
    skip_space();
    const char* start = at_;
    const auto [stop, error] = std::from_chars(at_, end_, found);
    at_ = stop;
    return error == std::errc{} && (*start != '0' || stop - start == 1);
  }

 private:
  static bool refuse(std::vector<std::string_view>& found) {
    found.clear();
    return false;
  }

  // Whether an id may begin at a quote that follows the end of one, or the bracket.
  static bool is_between(const char* close, const char* quote, bool is_first) {
    const auto gap = quote - close;
    if (is_first) return gap == 1;
    return close[1] == ',' && (gap == 2 || (gap == 3 && close[2] == ' '));
  }

  bool end_list(const char* close, std::vector<std::string_view>& found) {
    if (found.empty() || close + 1 == end_ || close[1] != ']') return refuse(found);
    at_ = close + 1;
    return true;
  }

#if defined(__SSE2__)
  struct Stops {
    std::uint64_t quotes, others;
  };

  // Where the next 64 characters are quotes, and where backslashes or control characters.
  Stops stops_in(const char* text) {
    char padded[64];
    if (end_ - text < 64) {
      std::memset(padded, ' ', sizeof padded);
      std::memcpy(padded, text, static_cast<std::size_t>(end_ - text));
      text = padded;
    }
    Stops stops{};
    __m128i any = _mm_setzero_si128();
    for (int at = 0; at < 64; at += 16) {
      const __m128i some = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text + at));
      const auto mask = [at](__m128i where) {
        return std::uint64_t{static_cast<unsigned>(_mm_movemask_epi8(where))} << at;
      };
      stops.quotes |= mask(is(some, '"'));
      stops.others |= mask(_mm_or_si128(is(some, '\\'), is_control(some)));
      any = _mm_or_si128(any, some);
    }
    is_ascii_ &= _mm_movemask_epi8(any) == 0;
    return stops;
  }

  static __m128i is(__m128i text, char c) { return _mm_cmpeq_epi8(text, _mm_set1_epi8(c)); }
  static __m128i is_control(__m128i text) {
    return _mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(0x1f)), text);
  }
#endif

  // Take the rest of a string from its first escape on.
  bool take_escaped(const char* start, std::string_view& found) {
    // What is taken is at most as long as what it is taken from, here and in all strings before.
    if (buffer_.capacity() < buffer_.size() + static_cast<std::size_t>(end_ - start)) {
      if (!buffer_.empty()) return false;
      buffer_.reserve(static_cast<std::size_t>(end_ - start));
    }
    const std::size_t begin = buffer_.size();
    while (at_ != end_ && *at_ == '\\') {
      buffer_.append(start, at_);
      if (!take_escape()) return false;
      start = at_;
      skip_plain();
    }
    if (at_ == end_ || *at_ != '"') return false;
    buffer_.append(start, at_++);
    found = std::string_view(buffer_).substr(begin);
    return true;
  }

  // Take an escape of a character that an answer need not escape.
  bool take_escape() {
    if (end_ - at_ >= 2 && at_[1] == '/') {
      at_ += 2;
      buffer_.push_back('/');
      return true;
    }
    std::uint32_t code = 0, low = 0;
    if (!take_unit(code)) return false;
    if (code >= 0xd800 && code < 0xdc00) {
      if (!take_unit(low) || low < 0xdc00 || low > 0xdfff) return false;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code <= 0xdfff) {
      return false;
    }
    if (code < 0x20 || code == '"' || code == '\\') return false;
    append_utf8(code);
    return true;
  }

  // Take \uXXXX.
  bool take_unit(std::uint32_t& found) {
    if (end_ - at_ < 6 || at_[0] != '\\' || at_[1] != 'u') return false;
    const auto [stop, error] = std::from_chars(at_ + 2, at_ + 6, found, 16);
    if (error != std::errc{} || stop != at_ + 6) return false;
    at_ = stop;
    return true;
  }

  void append_utf8(std::uint32_t code) {
    const auto add = [this](std::uint32_t byte) { buffer_.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
      add(code);
      return;
    }
    if (code < 0x800) {
      add(0xc0 | code >> 6);
    } else if (code < 0x10000) {
      add(0xe0 | code >> 12);
      add(0x80 | (code >> 6 & 0x3f));
    } else {
      add(0xf0 | code >> 18);
      add(0x80 | (code >> 12 & 0x3f));
      add(0x80 | (code >> 6 & 0x3f));
    }
    add(0x80 | (code & 0x3f));
  }

  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  // Go on to a quote, a backslash, a control character, or the end.
  void skip_plain() {
#if defined(__SSE2__)
    for (; end_ - at_ >= 16; at_ += 16) {
      const __m128i text = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at_));
      const __m128i ends = _mm_or_si128(is(text, '"'), is(text, '\\'));
      const int stops = _mm_movemask_epi8(_mm_or_si128(ends, is_control(text)));
      is_ascii_ &= _mm_movemask_epi8(text) == 0;
      if (stops) {
        at_ += __builtin_ctz(static_cast<unsigned>(stops));
        return;
      }
    }
#endif
    for (; at_ != end_; ++at_) {
      const auto byte = static_cast<unsigned char>(*at_);
      if (byte == '"' || byte == '\\' || byte < 0x20) return;
      is_ascii_ &= byte < 0x80;
    }
  }

  const char* at_;
  const char* end_;
  std::string& buffer_;
  bool is_ascii_ = true;
};

bool read_candidates(Reader& reader, std::size_t most, std::vector<std::string_view>& found) {
  if (!reader.take('[')) return false;
  if (reader.take_plain_ids(most, found)) return reader.take(']');
  do {
    std::string_view id;
    if (found.size() == most || !reader.take_string(id) || !is_id(id)) return false;
    found.push_back(id);
  } while (reader.take(','));
  return reader.take(']');
}

bool read_context(Reader& reader, std::optional<std::string_view>& found) {
  if (reader.take_word("null")) return true;
  std::string_view id;
  if (!reader.take_string(id) || !is_id(id)) return false;
  found = id;
  return true;
}

bool read_k(Reader& reader, std::size_t most, std::uint64_t& found) {
  return reader.take_whole(found) && found >= 1 && found <= most;
}

bool read_seed(Reader& reader, std::optional<std::uint64_t>& found) {
  if (reader.take_word("null")) return true;
  return reader.take_whole(found.emplace());
}

enum Field : unsigned {
  candidates = 1,
  context = 2,
  k = 4,
  seed = 8,
  features = 16,
  propensities = 32
};

// Read the value of a field; 0: the field or its value is not a usual one.
unsigned read_field(std::string_view name, Reader& reader, const DirectBounds& bounds,
                    DirectRequest& request) {
  const auto read = [](bool is_usual, Field field) -> unsigned {
    return is_usual ? field : Field{};
  };
  if (name == "candidates")
    return read(read_candidates(reader, bounds.max_candidates, request.candidates), candidates);
  if (name == "context") return read(read_context(reader, request.context), context);
  if (name == "k") return read(read_k(reader, bounds.max_k, request.k), k);
  if (name == "seed") return read(read_seed(reader, request.seed), seed);
  if (name == "features") return read(reader.take_word("null"), features);
  if (name == "propensities") return read(reader.take_word("false"), propensities);
  return 0;
}

}  // namespace

bool read_direct(std::string_view body, const DirectBounds& bounds, DirectRequest& request) {
  request.context.reset();
  request.candidates.clear();
  request.k = bounds.default_k;
  request.seed.reset();
  Reader reader(body, request.unescaped);
  if (!reader.take('{')) return false;
  unsigned seen = 0;
  do {
    std::string_view name;
    if (!reader.take_string(name) || !reader.take(':')) return false;
    const unsigned field = read_field(name, reader, bounds, request);
    if (!field || (seen & field)) return false;
    seen |= field;
  } while (reader.take(','));
  request.is_ascii = reader.is_ascii();
  return reader.take('}') && reader.is_ended() && (seen & candidates);
}

}  // namespace mlkit::serving
