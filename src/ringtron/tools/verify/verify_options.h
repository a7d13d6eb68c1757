// The command line of verify_cp.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ringtron/config/notice.h"
#include "ringtron/launch/launch_environment.h"
#include "ringtron/tools/faults/faulty_attention.h"
#include "ringtron/tools/verify/shrink_config.h"

namespace ringtron {

struct VerifyOptions {
  std::string help;  // not empty: print it, nothing else counts
  int world_size = 1;
  CpFault fault = CpFault::none;
  std::string fault_name;  // empty: none
  double tolerance = 1e-10;
  int report_fd = -1;  // of a rank that verify_cp has started: where rank 0 writes the result
  Config given;
  ShrunkConfig small;
  std::vector<Notice> notices;
};

// Throws ConfigError with all that is wrong with pretrain_gpt's flags, or the first of verify_cp's own.
VerifyOptions parse_verify(std::span<const std::string> arguments, const LaunchEnvironment& environment);

}  // namespace ringtron
