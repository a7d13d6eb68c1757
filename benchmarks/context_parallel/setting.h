// Where the benchmark runs, and what it was asked for.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/comm/rendezvous/rendezvous.h"
#include "ringtron/launch/launch_environment.h"
#include "ringtron/tools/profile/layer_bench.h"

namespace ringtron::benchmark {

struct Heads {
  std::int64_t query, key_value, size;
  std::string name() const;  // "32/4 of 128"
};

struct Options {
  std::vector<std::int64_t> tokens;  // per rank
  std::vector<Heads> heads;          // multi-head, and eight query heads to one key/value head
  std::vector<std::string> parts;    // outputs always come first
  Repeats repeats;
  int head_ranks = 2;       // A of a2a+p2p
  std::string trace;        // where traces go, or empty
  std::string peer;         // file of another program's rates, or empty
  bool silent = false;      // of the comparison of outputs: no message is sent, to see that it is found
  bool peer_copies = true;  // RendezvousOptions::peer_copies
  bool help = false;
};

// All ranks, one per GPU where there are GPUs.
struct Setting {
  LaunchEnvironment environment;
  at::Device device = at::kCPU;
  at::ScalarType type = at::kFloat;  // bf16 on GPUs
  std::unique_ptr<Rendezvous> rendezvous;
  std::unique_ptr<Communicator> group;
  Options options;

  // p2p, all_gather, a2a; where head_ranks leave a ring of several, a2a+p2p too.
  std::vector<CpTransport> transports() const;
  // What all attention here is made with.
  CpAttentionOptions attention_options() const;

  std::string machine() const;  // name of the GPU, or of the CPU
  bool speaks() const { return environment.rank == 0; }
  void say(const std::string& line) const;  // on rank 0
  // One layer, causal; `documents` of the one sample, or none.
  LayerSetup layer(const Heads& heads, std::int64_t length, CpLayout layout = CpLayout::zigzag,
                   const std::vector<std::int64_t>& documents = {}) const;
};

// The same layer for a rank that has the whole sequence for itself.
LayerSetup of_one_rank(const LayerSetup& layer);

extern const char* const kHelp;

// Meets the other ranks. Throws ConfigError for a flag that it does not know.
Setting make_setting(std::vector<std::string> words, const LaunchEnvironment& environment);

// Machine, versions, repeats: what a table means nothing without.
void print_heading(const Setting& setting);

}  // namespace ringtron::benchmark
