// TensorBoard's event files, read back: what the writer of a resumed run must know of those before it, and tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

namespace ringtron {

struct ReadEvent {
  double wall_time = 0;
  std::int64_t step = 0;
  std::string_view file_version;
  bool session_start = false;
  std::string_view tag;         // of the summary's value; empty: none
  std::optional<float> scalar;  // texts have none
};

// Calls `use` for each whole event of the file, in order. What another program wrote is read as far as it is
// understood; a torn or damaged record ends the file, as for every reader. False if the file could not be opened.
bool read_events(const std::filesystem::path& path, const std::function<void(const ReadEvent&)>& use);

}  // namespace ringtron
