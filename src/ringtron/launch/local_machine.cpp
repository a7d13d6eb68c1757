#include "ringtron/launch/local_machine.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/launch/core_share.h"

namespace ringtron {
namespace {

bool executable(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
}

// On all addresses, of IPv6 and IPv4 at once where the machine has both.
bool can_listen(int port) {
  int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage address = {};
  socklen_t length = sizeof(sockaddr_in6);
  if (fd >= 0) {
    const int off = 0;
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<std::uint16_t>(port));
  } else {
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    auto& v4 = reinterpret_cast<sockaddr_in&>(address);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<std::uint16_t>(port));
    length = sizeof(sockaddr_in);
  }
  const bool ok = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0 && ::listen(fd, 1) == 0;
  const int reason = errno;
  ::close(fd);
  errno = reason;
  return ok;
}

}  // namespace

int usable_cores() { return usable_cores(own_core_claim()); }

int usable_gpus(const EnvironmentLookup& env) {
  if (const std::optional<std::string> visible = env("CUDA_VISIBLE_DEVICES")) {
    if (trim(*visible).empty() || trim(*visible) == "-1") return 0;
    return static_cast<int>(std::ranges::count(*visible, ',')) + 1;
  }
  std::error_code ignored;
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", ignored)) {
    const std::string name = entry.path().filename();
    const std::string_view digits = std::string_view(name).substr(std::min<std::size_t>(name.size(), 6));
    const bool numbered = !digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos;
    if (name.starts_with("nvidia") && numbered) ++count;
  }
  return count;
}

int free_port() {
  // Below the ports from which the system serves connections that ask for any: those come and go in thousands while
  // ranks connect, and one of them could take the port before rank 0 listens. Each process begins its search elsewhere.
  constexpr int kFirst = 20000, kCount = 12000, kTries = 200;
  static std::atomic<int> next = static_cast<int>(::getpid()) * 37;
  for (int i = 0; i < kTries; ++i) {
    const int port = kFirst + next++ % kCount;
    if (can_listen(port)) return port;
  }
  throw IoError(
      fmt::format("cannot find a free port from {} on: {}; give --master-port", kFirst, std::strerror(errno)));
}

std::string find_program(const std::string& name, const EnvironmentLookup& env) {
  if (name.find('/') != std::string::npos) {
    if (executable(name)) return name;
    throw ConfigError(fmt::format("expected a program that can be run, got {}: {}; check the path and its permissions",
                                  name, std::strerror(::access(name.c_str(), X_OK) == 0 ? EISDIR : errno)));
  }
  std::error_code ignored;
  const std::filesystem::path own_folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  if (executable(own_folder / name)) return own_folder / name;
  for (const std::string& folder : split(env("PATH").value_or(""), ':')) {
    const std::filesystem::path candidate = std::filesystem::path(folder.empty() ? "." : folder) / name;
    if (executable(candidate)) return candidate;
  }
  throw ConfigError(
      fmt::format("program {}: found neither in {} nor in PATH; give its path", name, own_folder.string()));
}

}  // namespace ringtron
