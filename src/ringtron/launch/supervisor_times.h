// How long the supervisor waits for what.
#pragma once

#include <chrono>

namespace ringtron {

// A rank that closes its connections while it unwinds may outlive the peers that fail because of it. So a
// failure that is a consequence waits this long for its cause before the others are ended.
inline constexpr std::chrono::milliseconds kWaitForCause(500);
// The same for a rank that has not said why it failed: another one, most often rank 0, may still be about to.
inline constexpr std::chrono::milliseconds kWaitForWords(1500);
// The same for one whose peer hangs: the others reach their timeouts within a step of it, and the one that does not is
// meant.
inline constexpr std::chrono::milliseconds kWaitForVictims(5000);
// A process that hangs inside the kernel does not die of SIGKILL; we do not wait for it for ever.
inline constexpr std::chrono::milliseconds kWaitForKilled(10'000);
// How often we look whether output that is behind has caught up, and whether a rank can take a signal.
inline constexpr std::chrono::milliseconds kBusyPause(20);

}  // namespace ringtron
