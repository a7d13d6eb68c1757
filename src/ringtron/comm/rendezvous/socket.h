// The few socket calls that the meeting of ranks needs, with errors as exceptions.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <utility>
#include <vector>

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

// "host:port", with brackets around an IPv6 address.
std::string endpoint_text(const std::string& host, int port);

// Non-blocking sockets that listen at one port, one for each address.
struct Listeners {
  std::vector<Descriptor> sockets = {};
  int port = 0;
  bool port_in_use = false;  // then there are no sockets
};

// Listens at the addresses of `host`, not at all of this machine's, except where `host` is none of them (a virtual
// address) or is a loopback name while ranks come from other machines (`one_machine` false). Port 0: one that the
// system chooses. Throws ConfigError if the name does not resolve, CommError if it cannot listen for another reason
// than that the port is taken.
Listeners listen_at(const std::string& host, int port, bool one_machine);

// One try at every address of `host`, up to `limit` each. Not valid, with the reason in `why`, if nobody answers;
// ConfigError if the name does not resolve.
Descriptor connect_to(const std::string& host, int port, std::chrono::milliseconds limit, std::string& why);

// The address of this machine from which `host` is reached, "127.0.0.1" for this machine itself where it is
// known by a loopback name. Sends nothing. Throws ConfigError if the name does not resolve.
std::string local_address_towards(const std::string& host);

// The descriptors at which this process listens now.
std::set<int> listening_sockets();

// Nobody gets through to this listening socket any more: the kernel drops what asks for a connection, before it costs
// the process anything. Connections that stand are not touched. Where the kernel refuses such a filter, all stays as it
// was.
void drop_new_connections(int listener);

}  // namespace ringtron
