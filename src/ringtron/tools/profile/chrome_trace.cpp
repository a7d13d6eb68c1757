#include "ringtron/tools/profile/chrome_trace.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using nlohmann::json;

constexpr const char* kLanes[] = {"compute", "messages"};
constexpr int kLaneCount = 2;

json name_of(const char* what, int process, int thread, const std::string& name) {
  return {{"ph", "M"}, {"name", what}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

json event_of(const TraceEvent& event, int process, int rank) {
  return {{"ph", "X"},
          {"name", event.name},
          {"cat", event.pass},
          {"pid", process},
          {"tid", rank * kLaneCount + event.lane},
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
    for (std::size_t r = 0; r < groups[process].ranks.size(); ++r) {
      const int rank = static_cast<int>(r);
      for (int lane = 0; lane < kLaneCount; ++lane) {
        events.push_back(name_of("thread_name", pid, rank * kLaneCount + lane,
                                 fmt::format("rank {} {}", rank, kLanes[lane])));
      }
      for (const TraceEvent& event : groups[process].ranks[r]) events.push_back(event_of(event, pid, rank));
    }
  }
  return json{{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}}.dump(1);
}

}  // namespace ringtron
