// What must hold between the options of one run, and the values that follow from others.
//
// Rules are tables in rules_<group>.cpp, shared by the trainer, tools and library users. Pure functions of
// their arguments: every rank that has the same Config gets the same answer.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ringtron/config/config.h"
#include "ringtron/config/notice.h"

namespace ringtron {

// Everything that is wrong with `config` for a run of `world_size` ranks, each with expected, got and what to
// do; empty when all is well. `config` may be as parsed or filled in. Rules over a flag in `already_reported`
// stay silent.
std::vector<std::string> validate(const Config& config, int world_size,
                                  std::span<const std::string> already_reported = {});

// Throws ConfigError with `faults`, numbered, if there are any.
void throw_faults(const std::vector<std::string>& faults);

struct FilledConfig {
  Config config;
  std::vector<Notice> notices;  // what was changed that the user may not expect
};

// Fills what is 0 or empty and follows from other options: ffn and head size, query groups, biases, global
// batch, schedule length, split, and switches sequence parallelism off when TP = 1. Doing it twice is
// doing it once. Meant for a valid config; of an invalid one it fills what it can. The vocabulary is not among it: what
// is complete is a ResolvedConfig (resolved_config.h).
FilledConfig fill_defaults(const Config& config, int world_size);

// Ranks that see different sequences: world / (TP * CP * PP). 0 if that does not divide.
int data_parallel_size(const ParallelConfig& parallel, int world_size);

}  // namespace ringtron
