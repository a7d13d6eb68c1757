// Wall time for logs, steady time for durations.
#pragma once

#include <chrono>
#include <string>

namespace ringtron {

using SteadyClock = std::chrono::steady_clock;

// Seconds since `start`.
double seconds_since(SteadyClock::time_point start);

// Local time as "2026-08-22 10:11:12.123456", the form of Megatron's log lines.
std::string local_timestamp();

}  // namespace ringtron
