// Sockets: resolve, listen, connect.
#include "ringtron/comm/socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses resolve(const std::string& host, int port, int socket_type) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = socket_type;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    throw ConfigError(
        fmt::format("rendezvous: expected an address of rank 0's machine, got \"{}\", which does not "
                    "resolve ({}); correct --master-addr or MASTER_ADDR",
                    host, ::gai_strerror(error)));
  }
  return Addresses(found, &::freeaddrinfo);
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Descriptor::~Descriptor() {
  reset();
}

void Descriptor::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

std::pair<Descriptor, int> listen_anywhere() {
  int family = AF_INET6;
  Descriptor listener(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  socklen_t length = sizeof(sockaddr_in6);
  if (listener.valid()) {  // one IPv6 socket takes IPv4 callers too
    const int off = 0;
    ::setsockopt(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    reinterpret_cast<sockaddr_in6&>(address).sin6_family = AF_INET6;
  }
  if (!listener.valid() || ::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) {
    family = AF_INET;
    listener = Descriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    address = {};
    reinterpret_cast<sockaddr_in&>(address).sin_family = AF_INET;
    length = sizeof(sockaddr_in);
    if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) {
      throw CommError(
          fmt::format("rendezvous: cannot bind a port on this machine: {}", std::strerror(errno)));
    }
  }
  length = sizeof(address);
  if (::listen(listener.get(), SOMAXCONN) != 0 ||
      ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw CommError(fmt::format("rendezvous: cannot listen on this machine: {}", std::strerror(errno)));
  }
  const auto port = family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                       : reinterpret_cast<sockaddr_in&>(address).sin_port;
  return {std::move(listener), ntohs(port)};
}

Descriptor connect_to(const std::string& host, int port) {
  const Addresses addresses = resolve(host, port, SOCK_STREAM);
  int error = 0;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    Descriptor socket(::socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, 0));
    if (socket.valid() && ::connect(socket.get(), address->ai_addr, address->ai_addrlen) == 0) {
      const int on = 1;
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      return socket;
    }
    error = errno;
  }
  throw CommError(
      fmt::format("rendezvous: rank 0 does not answer at {}:{}: {}", host, port, std::strerror(error)));
}

std::string local_address_towards(const std::string& host) {
  const Addresses addresses = resolve(host, 1, SOCK_DGRAM);
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    // Connecting a datagram socket only asks the routing table.
    Descriptor socket(::socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, 0));
    if (!socket.valid() || ::connect(socket.get(), address->ai_addr, address->ai_addrlen) != 0) continue;
    sockaddr_storage local{};
    socklen_t length = sizeof(local);
    char text[NI_MAXHOST];
    if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&local), &length) == 0 &&
        ::getnameinfo(reinterpret_cast<sockaddr*>(&local), length, text, sizeof(text), nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      return text;
    }
  }
  return "127.0.0.1";
}

}  // namespace ringtron
