// The few socket calls that liveness and rendezvous need, with errors as exceptions.
#pragma once

#include <string>
#include <utility>

namespace ringtron {

// Owns one file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

// A socket that listens on all interfaces at a port the system chooses, and that port.
std::pair<Descriptor, int> listen_anywhere();

// Throws CommError if nobody answers, ConfigError if the name does not resolve.
Descriptor connect_to(const std::string& host, int port);

// The address of this machine from which `host` is reached, "127.0.0.1" for this machine itself where it is
// known by a loopback name. Sends nothing. Throws ConfigError if the name does not resolve.
std::string local_address_towards(const std::string& host);

}  // namespace ringtron
