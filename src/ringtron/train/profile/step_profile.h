// Where the time of training steps went, by class of kernel: a table from the events of a profiler. Without LibTorch.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

// What ran on the device, or on a CPU one operation, from `begin` to `end` in nanoseconds of one clock.
struct ProfiledEvent {
  std::string name;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t lane = 0;  // stream or thread: events of one lane lie beside each other or inside one another
};

// "matrix products", "attention", "messages", "optimizer", ...; of a CUDA kernel or copy, or of an operation of
// LibTorch.
std::string_view class_of_event(std::string_view name);

// A line of the table. Seconds are those of the events themselves, without what ran inside them.
struct ProfileRow {
  std::string name;
  double seconds = 0.0;
  std::int64_t events = 0;
};

struct StepProfile {
  std::vector<ProfileRow> classes;  // the most seconds first
  std::vector<ProfileRow> events;   // by name, the most seconds first
  double busy = 0.0;                // seconds in which at least one lane had something
};

StepProfile profile_of(std::span<const ProfiledEvent> events);

// Lines to print: of each class the time of one step, its share of the steps' wall time, and events a step; how long
// nothing ran; the `most` longest names below. `wall`: seconds of all `steps` together.
std::vector<std::string> profile_table(const StepProfile& profile, int steps, double wall, std::size_t most = 8);

}  // namespace ringtron
