// Feed the parsers of untrusted bytes with documents and random changes of them.
//   fuzz_parsers COUNT [SEED]
// Each input is a block of exactly its size, so that AddressSanitizer sees a read beyond its end.
// The inputs are the same for the same seed; whoever builds with clang can link libFuzzer instead.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "records/decode.hpp"
#include "serving/direct_request.hpp"

namespace {

using Random = std::mt19937_64;

const std::vector<std::string_view> kDocuments = {
    R"({"context":"user-1","candidates":["a","b","c"],"k":2,"seed":18446744073709551615})",
    R"({"candidates":["\u00e9","a\/b","\"",""],"context":null,"k":1})",
    R"( { "k" : 20 , "candidates" : [ "x" ] , "features" : null , "propensities" : false } )",
    R"({"time":"2024-02-29T23:59:59.000000001Z","ticker":"A","close":1.5e-3,"size":-7})",
    R"({"ticker":"B","time":1709251199000,"close":12,"side":"buy","mixed":9223372036854775807})",
    R"({"time":-1,"ticker":"","close":-0.0,"size":1e309})",
};
const std::vector<std::string_view> kPieces = {
    "\"",     "\\u",       "\\ud800",
    "{",      "}",         "[",
    "]",      ",",         ":",
    "null",   "true",      "-",
    "e",      ".",         "1e999",
    "\xff",   "\xc3",      "99999999999999999999",
    "\"k\":", "\"time\":", "2024-13-45T99:99:99Z",
};

std::size_t below(Random& random, std::size_t bound) { return bound ? random() % bound : 0; }

// Change a document in one place: a byte, a piece, a cut, or a part of another document.
void change(std::string& text, Random& random) {
  const std::size_t at = below(random, text.size() + 1);
  switch (below(random, 5)) {
    case 0:
      if (at < text.size()) text[at] = static_cast<char>(random());
      break;
    case 1:
      text.insert(at, kPieces[below(random, kPieces.size())]);
      break;
    case 2:
      text.resize(at);
      break;
    case 3:
      text.erase(at, below(random, 8));
      break;
    default: {
      const std::string_view other = kDocuments[below(random, kDocuments.size())];
      text.insert(at, other.substr(below(random, other.size()), below(random, 40)));
    }
  }
}

std::uint64_t requests = 0, records = 0;  // how many were read

void parse(std::string_view text) {
  const std::unique_ptr<char[]> block(new char[text.size()]);
  if (!text.empty()) std::memcpy(block.get(), text.data(), text.size());
  const std::string_view input(block.get(), text.size());
  mlkit::serving::DirectRequest request;
  if (mlkit::serving::read_direct(input, {50, 20, 10}, request)) {
    ++requests;
    std::size_t length = request.unescaped.size();
    for (const auto& each : request.candidates) length += each.size();
    if (length > 2 * input.size()) std::abort();  // A view leads out of the body.
  }
  mlkit::records::Decoder alone("ticker");
  if (!alone.take(input)) return;
  ++records;
  alone.finish();
}

// A batch of records, whose later ones differ from the first.
void parse_batch(const std::vector<std::string>& batch) {
  std::vector<std::unique_ptr<char[]>> blocks;
  mlkit::records::Decoder decoder("ticker");
  for (const std::string& each : batch) {
    blocks.emplace_back(new char[each.size()]);
    if (!each.empty()) std::memcpy(blocks.back().get(), each.data(), each.size());
    if (!decoder.take({blocks.back().get(), each.size()})) return;
  }
  for (const auto& column : decoder.finish()) {
    for (const auto& text : column.texts)
      if (text.data() && std::memchr(text.data(), '\n', text.size())) std::abort();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100000;
  Random random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  for (std::uint64_t each = 0; each < count; ++each) {
    std::vector<std::string> batch;
    for (std::size_t row = below(random, 3) + 1; row; --row) {
      batch.emplace_back(kDocuments[below(random, kDocuments.size())]);
      for (std::size_t changes = below(random, 4); changes; --changes) change(batch.back(), random);
      parse(batch.back());
    }
    parse_batch(batch);
  }
  std::printf("%llu inputs: %llu requests and %llu records were read\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(requests),
              static_cast<unsigned long long>(records));
  return requests && records ? 0 : 1;  // Without any, the documents are not those of the parsers.
}
