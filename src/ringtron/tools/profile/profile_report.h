// What profile_cp found, as a table for people and JSON for programs. Times are seconds of one attention
// layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ringtron {

// Of a list of times, by rank (nearest-rank method): half of them are not above p50.
struct Percentiles {
  double p50 = 0, p90 = 0, p99 = 0, least = 0, most = 0;
};
Percentiles percentiles(std::vector<double> values);  // not empty

// One transport, forward and backward of one layer. Of ranks' times the slowest one's, repeat by repeat.
struct TransportProfile {
  std::string transport;              // word of --cp-comm-type
  std::string layers;                 // the configuration's layers that use it: "0-11", or "" for none
  std::vector<std::int64_t> planned;  // bytes sent by each rank, from its plan
  std::vector<std::int64_t> counted;  // bytes that it gave to the communicator
  Percentiles step;                   // forward and backward
  Percentiles forward;
  double local_seconds = 0;      // the same work with no message sent (median)
  double transfer_seconds = 0;   // all messages with nothing else to do (median)
  double tflops = 0;             // per rank, cells of the mask only, at the median step
  double against_one_rank = 0;   // tflops / one rank's
  double predicted_seconds = 0;  // by transport_choice.h

  double exposed_seconds() const;  // what the step is longer than its local work, at least 0
  double hidden_seconds() const;   // the rest of the transfer
};

// Equal work without context parallelism: the same kernels on a prefix of the sequence with 1/n of the cells.
struct OneRankProfile {
  std::int64_t rows = 0;
  Percentiles step;
  double tflops = 0;
};

struct CpProfile {
  std::string machine;  // device, processes, type
  std::string layer;    // shapes, mask, layout
  std::int64_t sequence_length = 0;
  int ranks = 1;
  int repeats = 0;
  double area_imbalance = 1.0;  // of the layout, as p2p and all_gather divide the work
  OneRankProfile one_rank;
  std::vector<TransportProfile> transports;
  std::string choice;  // what auto would take, and why
};

// The first lines say what is measured and need no times; the table has the rest.
std::vector<std::string> profile_heading(const CpProfile& profile);
std::vector<std::string> profile_table(const CpProfile& profile);
std::string profile_json(const CpProfile& profile);

// One line for each rank whose counted bytes are not the planned ones; empty when all are.
std::vector<std::string> byte_faults(const CpProfile& profile);

}  // namespace ringtron
