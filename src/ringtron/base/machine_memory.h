// How much memory this process may still take on this machine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace ringtron {

// Bytes: the least of what the kernel would give without killing anybody (free memory, caches that can go, swap), of
// what the limits of the control groups around this process leave (containers, batch systems), and of what `ulimit -v`
// leaves. All processes of the machine, or of the control group, share the first two. Nothing where the system does not
// say. `root`: where /proc and /sys are, for tests.
std::optional<std::int64_t> memory_available(const std::filesystem::path& root = "/");

}  // namespace ringtron
