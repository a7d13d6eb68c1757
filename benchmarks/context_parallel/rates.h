// The timed parts of the benchmark. All are collective and print on rank 0.
#pragma once

#include "benchmarks/context_parallel/setting.h"

namespace ringtron::benchmark {

// Rate per rank / rate of the same kernel on one rank with equal work, for each transport, heads and tokens
// per rank.
void print_rates(const Setting& setting);

// Rate with documents (nine short ones for each long one) / our own rate of one causal sequence of the same
// length.
void print_documents(const Setting& setting);

// Time of the transport that auto chooses / time of the fastest, over at least 12 shapes.
void print_auto(const Setting& setting);

}  // namespace ringtron::benchmark
