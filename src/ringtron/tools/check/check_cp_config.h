// What a command line of pretrain_gpt would run: groups, division of the sequence, memory, traffic; and all
// its faults.
//
// Takes pretrain_gpt's flags, and --world-size N. Launches nothing, allocates nothing, needs neither data nor
// a GPU, and judges by the rules of training (config/validate.h).
#pragma once

#include <span>
#include <string>

namespace ringtron {

struct CheckOutcome {
  std::string text;   // for stdout
  int exit_code = 0;  // kExitOk, or kExitUsage when the text ends with faults
};

// `launched_ranks`: the world size that a launcher's environment names, 0 without one. --world-size comes
// first, TP x CP x PP last. Reads the tokenizer's files where they are there. Also understands --help and
// --support-table.
CheckOutcome check_cp_config(std::span<const std::string> arguments, int launched_ranks);

}  // namespace ringtron
