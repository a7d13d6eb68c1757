#include "ringtron/telemetry/tensorboard/event_history.h"

#include <algorithm>
#include <system_error>

#include "ringtron/telemetry/tensorboard/event_reader.h"

namespace ringtron {

bool counts_samples(std::string_view tag) { return tag.ends_with(" vs samples"); }

std::vector<std::string> event_file_names(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::string name = at->path().filename().string();
    if (name.find("tfevents") != std::string::npos) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

EventHistory read_event_history(const std::filesystem::path& folder) {
  EventHistory history;
  const auto number_of = [&](std::string_view tag) {
    const auto found = std::find(history.sample_tags.begin(), history.sample_tags.end(), tag);
    const auto number = static_cast<std::size_t>(found - history.sample_tags.begin());
    if (found == history.sample_tags.end()) history.sample_tags.emplace_back(tag);
    return number;
  };
  const auto note = [&](const ReadEvent& event) {
    if (event.session_start) {
      history.last_iteration = std::min(history.last_iteration, event.step - 1);
      std::erase_if(history.sample_points, [&](const SamplePoint& p) { return p.samples >= event.step; });
    } else if (counts_samples(event.tag)) {
      if (event.scalar)
        history.sample_points.push_back({number_of(event.tag), event.step, event.wall_time, *event.scalar});
    } else if (!event.tag.empty()) {
      history.last_iteration = std::max(history.last_iteration, event.step);
    }
  };
  for (const std::string& name : event_file_names(folder)) read_events(folder / name, note);
  return history;
}

}  // namespace ringtron
