// What a benchmark must know before it times anything: that the results are right, and how exact they are.
#pragma once

#include "benchmarks/context_parallel/setting.h"

namespace ringtron::benchmark {

// Outputs and gradients of every transport and mask against one rank's, same kernel and type, on a short
// sequence. False, and said which, where one differs by more than the type's rounding explains. Collective.
bool outputs_agree(const Setting& setting);

// Table: relative error of out, dq, dk and dv in bf16 against an fp32 reference, on one rank and with each
// transport.
void print_errors(const Setting& setting);

}  // namespace ringtron::benchmark
