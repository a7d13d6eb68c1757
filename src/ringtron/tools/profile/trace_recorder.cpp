#include "ringtron/tools/profile/trace_recorder.h"

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

std::vector<bool> communicating_steps(const ExchangePlan& plan) {
  std::vector<bool> communicates;
  for (const Step& step : plan.steps) communicates.push_back(step.communicates);
  return communicates;
}

}  // namespace

TraceRecorder::TraceRecorder(at::Device device, const TransportPlan& plan)
    : clock_(device),
      exchanges_heads_(plan.head_ranks > 1),
      forward_(communicating_steps(plan.forward)),
      backward_(communicating_steps(plan.backward)) {}

std::size_t TraceRecorder::mark() {
  clock_.mark();
  return marks_++;
}

bool TraceRecorder::communicates(int step) const {
  if (step < 0) return exchanges_heads_;  // outside the plan: the exchange of heads around it
  const std::vector<bool>& steps = in_backward_ ? backward_ : forward_;
  return static_cast<std::size_t>(step) < steps.size() && steps[static_cast<std::size_t>(step)];
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

// Messages travel from the end of "start messages", or of "to heads" and "to sequence", which pack rows and
// then start them, to the end of "wait" of the same step. Several exchanges of heads are waited for in the
// order of their starts.
void TraceRecorder::note_messages(const Interval& interval) {
  if (!communicates(interval.step)) return;
  if (interval.name == "start messages" || interval.name == "to heads" || interval.name == "to sequence") {
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
