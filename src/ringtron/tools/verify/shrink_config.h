// A training run made so small that a laptop does it in seconds, and still the same run in every way that
// context parallelism can get wrong. Integers only.
#pragma once

#include <string>
#include <vector>

#include "ringtron/config/config.h"

namespace ringtron {

struct ShrunkConfig {
  Config config;                     // valid for `world_size`, with nothing left to fill in
  int world_size = 1;                // less than given only by data-parallel replicas
  std::vector<std::string> changes;  // one a line: "--seq-length          8192 -> 64"
};

// `config` is valid for `world_size`. Kept: the layout (TP, CP, SP, rank order, --cp-layout),
// every transport that some layer uses (`auto` stands for all that it may choose), heads per key/value head,
// how heads per tensor rank divide over the ranks that share heads and whether one of these has several
// key/value heads, how the length divides over all ranks, the window as a share of the sequence, documents,
// softmax, norms, activation, positions, dropout, gradient clipping and weight decay. New: sizes, three
// steps, mock data, fp64, Gloo, a constant learning rate; no files are read or written. Replicas beyond two
// are dropped if `drop_replicas`.
ShrunkConfig shrink_config(const Config& config, int world_size, bool drop_replicas);

// The words of --cp-comm-type that some layer may use, each once; `auto` stands for all that it may choose.
std::vector<std::string> transports_of(const ParallelConfig& parallel);

// Ranks that share heads under a2a+p2p; 0: no --hierarchical-context-parallel-sizes.
int hierarchical_a(const ParallelConfig& parallel);

// The same training in one process: what the layout's result is compared with.
Config one_process(const Config& shrunk);

}  // namespace ringtron
