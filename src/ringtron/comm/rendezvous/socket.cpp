// Sockets: resolve, listen, connect.
#include "ringtron/comm/rendezvous/socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

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

bool is_loopback(const addrinfo& address) {
  if (address.ai_family == AF_INET) {
    const auto& at = reinterpret_cast<const sockaddr_in&>(*address.ai_addr);
    return ntohl(at.sin_addr.s_addr) >> 24 == 127;
  }
  return address.ai_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(*address.ai_addr).sin6_addr);
}

Addresses every_address(int port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(nullptr, std::to_string(port).c_str(), &hints, &found);
  return Addresses(error == 0 ? found : nullptr, &::freeaddrinfo);
}

// Adds a socket at `address`, at the port that the earlier ones have. 0, or the error.
int add_listener(Listeners& listeners, const addrinfo& address) {
  Descriptor socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return errno;
  sockaddr_storage at{};
  std::memcpy(&at, address.ai_addr, address.ai_addrlen);
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on,
               sizeof(on));  // a port whose last connections are still fading away
  in_port_t* port = &reinterpret_cast<sockaddr_in&>(at).sin_port;
  if (address.ai_family == AF_INET6) {
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    port = &reinterpret_cast<sockaddr_in6&>(at).sin6_port;
  }
  *port = htons(static_cast<in_port_t>(listeners.port));
  socklen_t length = address.ai_addrlen;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), length) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&at), &length) != 0) {
    return errno;
  }
  listeners.port = ntohs(*port);
  listeners.sockets.push_back(std::move(socket));
  return 0;
}

int end_of_connect(int socket, std::chrono::milliseconds limit) {
  pollfd wait{socket, POLLOUT, 0};
  if (::poll(&wait, 1, static_cast<int>(limit.count())) <= 0) return ETIMEDOUT;
  int error = 0;
  socklen_t length = sizeof(error);
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

// A port among those that the system gives to outgoing connections, with nobody listening, may be given to the very
// connection that connects there: it then talks to itself.
bool is_itself(int socket) {
  sockaddr_storage own{}, peer{};
  socklen_t own_length = sizeof(own), peer_length = sizeof(peer);
  return ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_length) == 0 &&
         ::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &peer_length) == 0 && own_length == peer_length &&
         std::memcmp(&own, &peer, own_length) == 0;
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Descriptor::~Descriptor() { reset(); }

void Descriptor::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

std::string endpoint_text(const std::string& host, int port) {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

Listeners listen_at(const std::string& host, int port, bool one_machine) {
  Listeners out{.port = port};
  int error = 0;
  const auto add_all = [&](const Addresses& addresses) {
    for (const addrinfo* address = addresses.get(); address != nullptr && error != EADDRINUSE;
         address = address->ai_next)
      error = add_listener(out, *address);
  };
  const Addresses named = resolve(host, port, SOCK_STREAM);
  if (one_machine || !is_loopback(*named)) add_all(named);
  if (out.sockets.empty() && error != EADDRINUSE) add_all(every_address(port));
  if (error == EADDRINUSE) return {.port = port, .port_in_use = true};
  if (out.sockets.empty()) {
    throw CommError(
        fmt::format("rendezvous: cannot listen at {}: {}", endpoint_text(host, port), std::strerror(error)));
  }
  return out;
}

Descriptor connect_to(const std::string& host, int port, std::chrono::milliseconds limit, std::string& why) {
  const Addresses addresses = resolve(host, port, SOCK_STREAM);
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    Descriptor socket(::socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int error = socket.valid() && ::connect(socket.get(), address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) error = end_of_connect(socket.get(), limit);
    if (error == 0 && is_itself(socket.get())) error = ECONNREFUSED;
    if (error == 0) {
      const int on = 1;
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      return socket;
    }
    why = std::strerror(error);
  }
  return {};
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
        ::getnameinfo(reinterpret_cast<sockaddr*>(&local), length, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) ==
            0) {
      return text;
    }
  }
  return "127.0.0.1";
}

std::set<int> listening_sockets() {
  std::set<int> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const std::string name = entry.path().filename();
    int descriptor = -1, listens = 0;
    std::from_chars(name.data(), name.data() + name.size(), descriptor);
    socklen_t length = sizeof(listens);
    if (::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens != 0)
      found.insert(descriptor);
  }
  return found;
}

void drop_new_connections(int listener) {
  sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog program{.len = 1, .filter = &nothing};
  static_cast<void>(::setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
}

}  // namespace ringtron
