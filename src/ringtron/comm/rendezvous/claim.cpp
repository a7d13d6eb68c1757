#include "ringtron/comm/rendezvous/claim.h"

#include <fmt/format.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <exception>
#include <string_view>

#include "ringtron/base/file.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/process.h"

namespace ringtron {
namespace {

// Name and size of every loaded library of LibTorch.
std::string torch_libraries() {
  std::string text;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        const std::string_view path(info->dlpi_name);
        const std::string_view name = path.substr(path.rfind('/') + 1);
        struct stat file{};
        if ((name.starts_with("libtorch") || name.starts_with("libc10")) && ::stat(info->dlpi_name, &file) == 0)
          *static_cast<std::string*>(out) += fmt::format("{} {}\n", name, file.st_size);
        return 0;
      },
      &text);
  return text;
}

std::string own_build() {
  std::string program = "unknown";
  try {
    program = hex64(hash64(MappedFile("/proc/self/exe").bytes()));
  } catch (const std::exception&) {  // without /proc all are equal
  }
  return fmt::format("{}.{:08x}", program, hash64(torch_libraries()) >> 32);
}

}  // namespace

std::string Claim::place() const { return fmt::format("host {}, pid {}", host, pid); }

std::string Claim::who() const { return fmt::format("rank {} ({})", rank, place()); }

Claim own_claim(int rank, int world_size) {
  static const std::string build = own_build();
  return {.rank = rank, .world_size = world_size, .pid = ::getpid(), .host = host_name(), .build = build};
}

std::string same_rank_twice(const Claim& first, const Claim& second) {
  return fmt::format(
      "{} and another process (host {}, pid {}) both say that they are rank {}; number the ranks once each, and start one run "
      "only at a port",
      first.place(), second.host, second.pid, second.rank);
}

std::string conflict(const Claim& first, const Claim& claim) {
  if (claim.world_size != first.world_size) {
    return fmt::format(
        "{} was started with a world size of {}, {} with {}; start all ranks with the same number (WORLD_SIZE)",
        claim.who(), claim.world_size, first.who(), first.world_size);
  }
  if (claim.rank < 0 || claim.rank >= first.world_size) {
    return fmt::format("{} was started in a world of {} ranks; start ranks 0 to {}", claim.who(), first.world_size,
                       first.world_size - 1);
  }
  if (claim.build != first.build) {
    return fmt::format(
        "{} runs another binary than {}: build {} against {} (program.LibTorch); start the same program, with the same LibTorch, "
        "on all machines",
        claim.who(), first.who(), claim.build, first.build);
  }
  return {};
}

}  // namespace ringtron
