#include "ringtron/tools/profile/chrome_trace.h"

#include <fmt/format.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using nlohmann::json;

constexpr int kMessages = 1;  // the lane; what a rank computes is lane 0

// The track of each event of a rank: 0 what it computes, 1 messages, 2 and more messages that are under way
// at the same time. Events of one track must not overlap unless one lies within the other.
std::vector<int> tracks_of(const std::vector<TraceEvent>& events) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (events[i].lane == kMessages) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return events[a].begin < events[b].begin; });
  std::vector<int> tracks(events.size(), 0);
  std::vector<double> ends;  // of the last event of each track of messages
  for (const std::size_t i : order) {
    auto free = std::find_if(ends.begin(), ends.end(), [&](double end) { return end <= events[i].begin; });
    if (free == ends.end()) free = ends.insert(ends.end(), 0.0);
    *free = events[i].begin + events[i].duration;
    tracks[i] = kMessages + static_cast<int>(free - ends.begin());
  }
  return tracks;
}

std::string track_name(int rank, int track) {
  if (track == 0) return fmt::format("rank {} compute", rank);
  return track == kMessages ? fmt::format("rank {} messages", rank) : fmt::format("rank {} messages {}", rank, track);
}

json name_of(const char* what, int process, int thread, const std::string& name) {
  return {{"ph", "M"}, {"name", what}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

json event_of(const TraceEvent& event, int process, int thread) {
  return {{"ph", "X"},
          {"name", event.name},
          {"cat", event.pass},
          {"pid", process},
          {"tid", thread},
          {"ts", 1e6 * event.begin},
          {"dur", 1e6 * event.duration},
          {"args", {{"pass", event.pass}, {"step", event.step}}}};
}

}  // namespace

std::string to_text(const std::vector<TraceEvent>& events) {
  json list = json::array();
  for (const TraceEvent& e : events) list.push_back({e.name, e.pass, e.step, e.begin, e.duration, e.lane});
  return list.dump();
}

std::vector<TraceEvent> trace_events_of(const std::string& text) {
  std::vector<TraceEvent> events;
  try {
    for (const json& e : json::parse(text)) {
      events.push_back({e.at(0), e.at(1), e.at(2), e.at(3), e.at(4), e.at(5)});
    }
  } catch (const json::exception& e) {
    throw InternalError(fmt::format("trace events of a rank: {}", e.what()));
  }
  return events;
}

std::string chrome_trace(const std::vector<TraceGroup>& groups) {
  json events = json::array();
  for (std::size_t process = 0; process < groups.size(); ++process) {
    const int pid = static_cast<int>(process);
    events.push_back(name_of("process_name", pid, 0, groups[process].name));
    std::vector<std::vector<int>> tracks;
    int count = kMessages + 1;  // of each rank
    for (const auto& of_rank : groups[process].ranks) {
      tracks.push_back(tracks_of(of_rank));
      for (const int track : tracks.back()) count = std::max(count, track + 1);
    }
    for (std::size_t r = 0; r < tracks.size(); ++r) {
      const int rank = static_cast<int>(r), first = rank * count;
      for (int track = 0; track < count; ++track) {
        events.push_back(name_of("thread_name", pid, first + track, track_name(rank, track)));
      }
      const auto& of_rank = groups[process].ranks[r];
      for (std::size_t i = 0; i < of_rank.size(); ++i)
        events.push_back(event_of(of_rank[i], pid, first + tracks[r][i]));
    }
  }
  return json{{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}}.dump(1);
}

}  // namespace ringtron
