// What the event files in a folder say already, as a reader of TensorBoard sees them. Internal to telemetry/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

// Tags that count samples instead of iterations.
bool counts_samples(std::string_view tag);

struct SamplePoint {
  std::size_t tag = 0;  // number in EventHistory::sample_tags
  std::int64_t samples = 0;
  double wall_time = 0;
  float value = 0;
};

struct EventHistory {
  std::int64_t last_iteration = -1;  // the largest step of tags that count iterations; -1: there is none
  std::vector<std::string> sample_tags;
  std::vector<SamplePoint> sample_points;  // of tags that count samples, in order
};

// Reads all event files of the folder in the order of their names. A session start takes away all points from its step
// on, as TensorBoard's readers do. What cannot be read counts as absent.
EventHistory read_event_history(const std::filesystem::path& folder);

// Names of the folder's event files, sorted; none if it cannot be read.
std::vector<std::string> event_file_names(const std::filesystem::path& folder);

}  // namespace ringtron
