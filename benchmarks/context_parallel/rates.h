// The timed parts of the benchmark. All are collective and print on rank 0.
#pragma once

#include <map>
#include <vector>

#include "benchmarks/context_parallel/setting.h"

namespace ringtron::benchmark {

// Rates of one shape, TFLOP/s per rank.
struct OwnRates {
  Heads heads;
  std::int64_t tokens = 0;  // per rank
  std::map<CpTransport, double> tflops;
};

// Rate per rank / rate of the same kernel on one rank with equal work, for each transport, heads and tokens
// per rank. Returns our rates.
std::vector<OwnRates> print_rates(const Setting& setting);

// Where documents begin in a made-up sequence: nine short ones for each long one.
std::vector<std::int64_t> documents_of(std::int64_t length);

// Rate with documents (nine short ones for each long one) / our own rate of one causal sequence of the same
// length; beside it the same ratio of one rank alone, which no transport can pass by much.
void print_documents(const Setting& setting);

// Milliseconds that a rank's host takes to make layout and plan for a micro-batch with documents of its own,
// on 8 and 16 ranks, however many there are here. On rank 0 alone.
void print_planning(const Setting& setting);

// Time of the transport that auto chooses / time of the fastest, over at least 12 shapes.
void print_auto(const Setting& setting);

}  // namespace ringtron::benchmark
