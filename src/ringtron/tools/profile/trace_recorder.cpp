#include "ringtron/tools/profile/trace_recorder.h"

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

std::vector<int> communicating_steps(const Schedule& schedule) {
  std::vector<int> steps;
  for (const Operation& operation : schedule.operations) {
    if (std::holds_alternative<Exchange>(operation.what)) steps.push_back(operation.step);
  }
  return steps;
}

}  // namespace

TraceRecorder::TraceRecorder(at::Device device, const RankSchedules& schedules)
    : clock_(device),
      forward_(communicating_steps(schedules.forward)),
      backward_(communicating_steps(schedules.backward)) {}

std::size_t TraceRecorder::mark() {
  clock_.mark();
  return marks_++;
}

bool TraceRecorder::communicates(int step) const {
  const std::vector<int>& steps = in_backward_ ? backward_ : forward_;
  return std::ranges::find(steps, step) != steps.end();
}

void TraceRecorder::begin(std::string_view what, int step) {
  if (!recording_) return;
  const std::size_t now = mark();
  open_.push_back({std::string(what), in_backward_, step, 0, now, now});
}

void TraceRecorder::end() {
  if (!recording_) return;
  RT_CHECK(!open_.empty(), "an event of the trace ends that has not begun");
  Interval interval = std::move(open_.back());
  open_.pop_back();
  interval.end = mark();
  note_messages(interval);
  done_.push_back(std::move(interval));
}

// Messages travel from the end of "start messages" to the end of "wait" of the same step. An exchange of heads is
// complete when it returns: it is its own message.
void TraceRecorder::note_messages(const Interval& interval) {
  if (interval.name == "to heads" || interval.name == "to sequence") {
    done_.push_back({"exchange", in_backward_, interval.step, 1, interval.begin, interval.end});
  }
  if (!communicates(interval.step)) return;
  if (interval.name == "start messages") {
    under_way_.push_back({"exchange", in_backward_, interval.step, 1, interval.end, interval.end});
  } else if (interval.name == "wait") {
    const auto first = std::find_if(under_way_.begin(), under_way_.end(),
                                    [&](const Interval& sent) { return sent.step == interval.step; });
    if (first == under_way_.end()) return;
    first->end = interval.end;
    done_.push_back(*first);
    under_way_.erase(first);
  }
}

void TraceRecorder::begin_pass(const char* name) {
  const std::size_t now = mark();
  open_.push_back({name, in_backward_, -1, 0, now, now});
}

void TraceRecorder::end_pass() {
  RT_CHECK(open_.size() == 1, "{} events of the trace are open at the end of a pass", open_.size());
  Interval pass = std::move(open_.back());
  open_.clear();
  pass.end = mark();
  done_.push_back(std::move(pass));
}

void TraceRecorder::begin_forward() {
  recording_ = true;
  in_backward_ = false;
  begin_pass("forward");
}

void TraceRecorder::begin_backward() {
  end_pass();
  in_backward_ = true;
  begin_pass("backward");
}

std::vector<TraceEvent> TraceRecorder::take() {
  end_pass();
  recording_ = false;
  const std::vector<double> at = clock_.seconds();
  std::vector<TraceEvent> events;
  for (const Interval& i : done_) {
    events.push_back(
        {i.name, i.backward ? "backward" : "forward", i.step, at[i.begin], at[i.end] - at[i.begin], i.lane});
  }
  return events;
}

}  // namespace ringtron
