#include "ringtron/train/report/step_timers.h"

#include <utility>

namespace ringtron {
namespace {

struct Part {
  const char* name;
  int level;
};

constexpr Part kParts[kStepParts] = {
    {"forward-backward", 1},
    {"all-grads-sync", 1},
    {"params-all-gather", 1},
    {"optimizer-clip-main-grad", 1},
    {"optimizer-count-zeros", 1},
    {"optimizer-inner-step", 1},
    {"optimizer", 1},
    {"batch-generator", 2},
    {"forward-compute", 2},
    {"backward-compute", 2},
    {"forward-recv", 2},
    {"forward-send", 2},
    {"backward-recv", 2},
    {"backward-send", 2},
};

}  // namespace

const char* step_part_name(StepPart part) { return kParts[static_cast<std::size_t>(part)].name; }
int step_part_level(StepPart part) { return kParts[static_cast<std::size_t>(part)].level; }

StepTimers::Span::Span(StepTimers* timers, StepPart part)
    : timers_(timers != nullptr && step_part_level(part) <= timers->level_ ? timers : nullptr), part_(part) {
  if (timers_ != nullptr) begin_.emplace(timers_->device_);
}

StepTimers::Span::~Span() {
  if (timers_ != nullptr) timers_->now_.add({part_, std::move(*begin_), DeviceMoment(timers_->device_)});
}

StepTimers::Cut StepTimers::cut() { return std::exchange(now_, Cut()); }

// Events are given back as soon as the device is past them, so that there are never more than a few steps' worth.
void StepTimers::Cut::add(Stretch stretch) {
  open_.push_back(std::move(stretch));
  while (!open_.empty() && open_.front().end.has_come()) take_first();
}

void StepTimers::Cut::take_first() {
  const Stretch& first = open_.front();
  sums_[static_cast<std::size_t>(first.part)] += first.end.seconds_since(first.begin);
  open_.pop_front();
}

StepTimes StepTimers::Cut::seconds() {
  while (!open_.empty()) take_first();
  return sums_;
}

}  // namespace ringtron
