// Internal to comm: memory that several processes of one machine share.
//
// The memory has no name in any file system: one process makes it and tells the others its address by other means, and
// it is gone when the last of them is, however they end.
#pragma once

#include <cstddef>
#include <string>

namespace ringtron {

class SharedMemory {
 public:
  // Zeroed. Throws IoError if the system refuses.
  static SharedMemory make(std::size_t bytes);
  // What `address` of another live process names. Throws IoError if this process cannot see it (another machine,
  // container or user), or if it is not `bytes` long.
  static SharedMemory open(const std::string& address, std::size_t bytes);

  ~SharedMemory();
  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&&) = delete;

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  // For open() in another process, while this object lives; of the maker alone.
  std::string address() const;

 private:
  SharedMemory(int file, std::size_t bytes);

  int file_;
  std::size_t size_;
  std::byte* data_ = nullptr;
};

}  // namespace ringtron
