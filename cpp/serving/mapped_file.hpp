// A file mapped into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace mlkit::serving {

// Errors of the system are std::filesystem::filesystem_error with the path.
class MappedFile {
 public:
  // A new file of zeros with its blocks reserved, mapped for reading and writing. A file that
  // was there is unlinked first: who has it mapped keeps it.
  static MappedFile create(const std::string& path, std::uint64_t size);
  // A present file, mapped for reading.
  static MappedFile open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::byte* data() const { return data_; }
  std::uint64_t size() const { return size_; }
  bool writable() const { return writable_; }

 private:
  MappedFile(std::byte* data, std::uint64_t size, bool writable)
      : data_(data), size_(size), writable_(writable) {}

  std::byte* data_;
  std::uint64_t size_;
  bool writable_;
};

}  // namespace mlkit::serving
