#include "beta/batch.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "threads/thread_pool.hpp"

namespace mlkit::beta {

namespace {

template <class Number>
void copy_run(const char* from, std::ptrdiff_t stride, std::size_t count, double* to) {
  for (std::size_t i = 0; i < count; ++i, from += stride) {
    Number value;
    std::memcpy(&value, from, sizeof value);
    to[i] = value;
  }
}

// Doubles of an operand, copied piece by piece only where they are not contiguous.
class Reader {
 public:
  explicit Reader(const Operand& operand) : operand_(operand), contiguous_(operand.contiguous()) {
    if (contiguous_ == nullptr) buffer_.resize(piece);
  }
  const double* read(std::size_t begin, std::size_t count) {
    if (contiguous_ != nullptr) return contiguous_ + begin;
    operand_.copy(begin, count, buffer_.data());
    return buffer_.data();
  }
  static constexpr std::size_t piece = 4 * block_size;

 private:
  const Operand& operand_;
  const double* contiguous_;
  std::vector<double> buffer_;
};

}  // namespace

std::size_t Operand::size() const {
  std::size_t product = 1;
  for (const auto length : shape) product *= static_cast<std::size_t>(length);
  return product;
}

const double* Operand::contiguous() const {
  std::ptrdiff_t expected = sizeof(double);
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis] != 1 && strides[axis] != expected) return nullptr;
    expected *= shape[axis];
  }
  const bool aligned = reinterpret_cast<std::uintptr_t>(data) % alignof(double) == 0;
  const void* const values = data;
  return !single && aligned ? static_cast<const double*>(values) : nullptr;
}

void Operand::copy(std::size_t begin, std::size_t count, double* to) const {
  const std::size_t inner = shape.empty() ? 1 : static_cast<std::size_t>(shape.back());
  const std::ptrdiff_t stride = shape.empty() ? 0 : strides.back();
  while (count != 0) {
    std::size_t row = begin / inner;
    const std::size_t column = begin % inner;
    const char* from = data + static_cast<std::ptrdiff_t>(column) * stride;
    for (std::size_t axis = shape.size(); axis-- > 1;) {
      const auto length = static_cast<std::size_t>(shape[axis - 1]);
      from += static_cast<std::ptrdiff_t>(row % length) * strides[axis - 1];
      row /= length;
    }
    const std::size_t run = std::min(count, inner - column);
    single ? copy_run<float>(from, stride, run, to) : copy_run<double>(from, stride, run, to);
    begin += run, to += run, count -= run;
  }
}

std::size_t first_invalid(const Operand& values) {
  Reader reader(values);
  const std::size_t size = values.size();
  for (std::size_t at = 0; at < size; at += Reader::piece) {
    const std::size_t count = std::min(Reader::piece, size - at);
    const std::size_t found = first_invalid(reader.read(at, count), count);
    if (found != count) return at + found;
  }
  return size;
}

void sample(Key key, std::uint64_t offset, const Operand& a, const Operand& b, double* out,
            std::size_t count, std::size_t thread_count) {
  // Threads take pieces as they come: one that starts late or shares its core draws less.
  std::atomic<std::size_t> next = 0;
  const auto take = [&] {
    Reader first(a), second(b);
    for (std::size_t at; (at = next.fetch_add(Reader::piece)) < count;) {
      const std::size_t size = std::min(Reader::piece, count - at);
      sample(key, offset + at, first.read(at, size), second.read(at, size), out + at, size);
    }
  };
  threads::run_with_helpers(thread_count - 1, take);
}

}  // namespace mlkit::beta
