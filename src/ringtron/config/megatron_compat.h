// The flags of Megatron-LM that are not Ringtron options, each with a verdict and its reason.
//
// Accepted: the flag only picks an implementation, or adds detail to a log; leaving it out changes neither
// the result, nor the memory a run needs, nor the files it leaves. Such a line goes on with a notice.
// Refused: everything else. A run that silently ignored such a flag would not be the run that was asked for.
#pragma once

#include <span>
#include <string_view>

#include "ringtron/config/option.h"

namespace ringtron {

enum class ForeignVerdict {
  accepted,  // no effect; a notice
  warned,    // no effect, and the user should know; a warning
  refused,   // an error with the reason
};

struct ForeignFlag {
  std::string_view name;  // "--fp16"; a trailing * stands for a family: "--moe-*"
  ForeignVerdict verdict;
  std::string_view reason;
  Arity arity = Arity::none;   // how many values to skip; of a refused flag all that follow are skipped
  std::string_view only = {};  // the value with which it has no effect; any other is refused. Empty: all have none
};

std::span<const ForeignFlag> accepted_flags();  // verdicts accepted and warned
std::span<const ForeignFlag> refused_flags();

// The entry for `name` (hyphens), families included, or nullptr.
const ForeignFlag* find_foreign_flag(std::string_view name);

}  // namespace ringtron
