#include "ringtron/launch/user_signals.h"

#include <fmt/format.h>
#include <signal.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

namespace ringtron {

bool can_take(pid_t process, int signal) {
  std::ifstream status(fmt::format("/proc/{}/status", process));
  std::uint64_t taken = 0;
  bool known = false;
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("SigIgn:") && !line.starts_with("SigCgt:")) continue;
    taken |= std::strtoull(line.c_str() + 7, nullptr, 16);
    known = true;
  }
  return !known || (taken >> (signal - 1) & 1) != 0;
}

void UserSignals::deliver() {
  std::erase_if(waiting_, [](const auto& entry) {
    const auto& [signal, process] = entry;
    if (!can_take(process, signal)) return false;
    ::kill(process, signal);
    return true;
  });
}

void UserSignals::forget(pid_t process) {
  std::erase_if(waiting_, [process](const auto& entry) { return entry.second == process; });
}

}  // namespace ringtron
