// Timelines in the JSON that chrome://tracing and ui.perfetto.dev open.
//
// Format: "Trace Event Format" of Chromium; complete events ("X"), times in microseconds, one process per
// group of tracks and one thread per track. A rank has a track for what it computes and one for its messages,
// or more where messages overlap.
#pragma once

#include <string>
#include <vector>

namespace ringtron {

struct TraceEvent {
  std::string name;
  std::string pass;  // forward or backward
  int step = -1;     // of the exchange plan; -1: none
  double begin = 0;  // seconds
  double duration = 0;
  int lane = 0;  // of its rank: 0 what it computes, 1 what travels
};

// Events of one rank as text, for another rank to read, and back. Throws InternalError for other text.
std::string to_text(const std::vector<TraceEvent>& events);
std::vector<TraceEvent> trace_events_of(const std::string& text);

struct TraceGroup {
  std::string name;                            // of the process: the transport
  std::vector<std::vector<TraceEvent>> ranks;  // by rank
};

std::string chrome_trace(const std::vector<TraceGroup>& groups);

}  // namespace ringtron
