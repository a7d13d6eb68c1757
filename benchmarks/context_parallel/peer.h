// Rates of another program on the same machine, and ours against them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "benchmarks/context_parallel/rates.h"
#include "benchmarks/context_parallel/setting.h"

namespace ringtron::benchmark {

struct PeerRate {
  Heads heads;
  std::int64_t tokens = 0;  // per rank
  std::string mode;
  double tflops = 0;  // per rank, operations counted as ours
};

struct Peer {
  std::string program, device, type;  // type: bf16 or fp32
  int ranks = 0, warmup = 0, repeats = 0;
  std::int64_t unix_time = 0;  // when it ended
  std::vector<PeerRate> rates;

  // Of the peer's fastest mode; nullptr where it has none.
  const PeerRate* best(const Heads& heads, std::int64_t tokens) const;
};

// What benchmarks/torch_context_parallel.py wrote. Throws IoError for a file that cannot be read, ConfigError
// for one that is not such a file or holds no rate.
Peer read_peer(const std::string& path);

// ConfigError where device, ranks, type or repeats differ: a ratio would say nothing.
void check_comparable(const Peer& peer, const Setting& setting);

// Table: our rate of each transport / that of the peer's best mode. Prints on rank 0.
void print_against_peer(const Setting& setting, const Peer& peer, const std::vector<OwnRates>& own);

}  // namespace ringtron::benchmark
