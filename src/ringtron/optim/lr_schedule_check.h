// Which schedules are legal, and how one is written in a checkpoint. Internal to optim/.
#pragma once

#include "ringtron/optim/lr_schedule.h"

namespace ringtron {

// Throws ConfigError that lists all contradictions.
void check_lr_schedule(const LrScheduleOptions& options);

ScheduleState schedule_options_to_state(const LrScheduleOptions& options);
// Throws ConfigError if a key is missing or is not a number.
LrScheduleOptions schedule_options_from_state(const ScheduleState& state);
// Why the command line's value of a key of the state is not the checkpoint's, in words of the flags.
std::string schedule_difference(const std::string& key, const std::string& here, const std::string& there);
std::int64_t schedule_integer(const ScheduleState& state, const std::string& key);

}  // namespace ringtron
