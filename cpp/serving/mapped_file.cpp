#include "serving/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

namespace mlkit::serving {
namespace {

[[noreturn]] void fail(const char* action, const std::string& path, int error) {
  throw std::filesystem::filesystem_error(action, path,
                                          std::error_code(error, std::generic_category()));
}

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : number_(::open(path.c_str(), flags, 0600)) {
    if (number_ < 0) fail("open", path, errno);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(number_); }
  int number() const { return number_; }

 private:
  int number_;
};

std::byte* map(const Descriptor& file, std::uint64_t size, int protection, int flags,
               const std::string& path) {
  void* data = ::mmap(nullptr, size, protection, MAP_SHARED | flags, file.number(), 0);
  if (data == MAP_FAILED) fail("map", path, errno);
  return static_cast<std::byte*>(data);
}

}  // namespace

MappedFile MappedFile::create(const std::string& path, std::uint64_t size) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) fail("replace", path, errno);
  const Descriptor file(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC);
  // Without reserved blocks a full disk would end the process at a later write (SIGBUS).
  if (const int error = ::posix_fallocate(file.number(), 0, static_cast<off_t>(size))) {
    ::unlink(path.c_str());
    fail("reserve", path, error);
  }
  return {map(file, size, PROT_READ | PROT_WRITE, 0, path), size, true};
}

MappedFile MappedFile::open(const std::string& path) {
  const Descriptor file(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status;
  if (::fstat(file.number(), &status) != 0) fail("inspect", path, errno);
  if (S_ISDIR(status.st_mode)) fail("open", path, EISDIR);
  if (!S_ISREG(status.st_mode) || status.st_size == 0) return {nullptr, 0, false};
  const auto size = static_cast<std::uint64_t>(status.st_size);
  // Populated, since a page fault costs as much as ten look-ups.
  return {map(file, size, PROT_READ, MAP_POPULATE, path), size, false};
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      writable_(other.writable_) {}

MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, size_);
}

}  // namespace mlkit::serving
