// The bytes of a state, written and read by one description of its fields.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace mlkit::strategy {

// FNV-1a: finds damage, keeps nobody out.
inline std::uint64_t checksum(std::string_view bytes) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char byte : bytes) hash = (hash ^ std::uint8_t(byte)) * 1099511628211u;
  return hash;
}

// Fields go one by one: bytes of padding have no value, and equal states have equal bytes.
class Archive {
 public:
  Archive() = default;                                                        // writes
  explicit Archive(std::string_view bytes) : reading_(true), left_(bytes) {}  // reads

  bool reading() const { return reading_; }
  std::string take() { return std::move(bytes_); }

  template <class T>
  void value(T& field) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (reading_) {
      require(left_.size() >= sizeof(T));
      std::memcpy(&field, left_.data(), sizeof(T));
      left_.remove_prefix(sizeof(T));
    } else {
      bytes_.append(reinterpret_cast<const char*>(&field), sizeof(T));
    }
  }

  template <class... T>
  void fields(T&... field) {
    (value(field), ...);
  }

  // A truth value as one byte that is 0 or 1.
  void flag(bool& field) {
    std::uint8_t byte = field ? 1 : 0;
    value(byte);
    require(byte <= 1);
    field = byte != 0;
  }

  // The number of elements that follow, each of at least `least` bytes.
  std::size_t size(std::size_t count, std::size_t least) {
    std::uint64_t number = count;
    value(number);
    require(!reading_ || number <= left_.size() / least);
    return std::size_t(number);
  }

  template <class T, class Allocator>
  void values(std::vector<T, Allocator>& all) {
    static_assert(std::is_trivially_copyable_v<T>);
    all.resize(size(all.size(), sizeof(T)));
    if (all.empty()) return;
    const std::size_t bytes = all.size() * sizeof(T);
    if (reading_) {
      std::memcpy(all.data(), left_.data(), bytes);
      left_.remove_prefix(bytes);
    } else {
      bytes_.append(reinterpret_cast<const char*>(all.data()), bytes);
    }
  }

  // Refuse bytes that describe no state.
  void require(bool holds) const {
    if (!holds) throw std::invalid_argument("the saved state is damaged");
  }
  void require_end() const { require(left_.empty()); }

 private:
  bool reading_ = false;
  std::string bytes_;
  std::string_view left_;
};

}  // namespace mlkit::strategy
