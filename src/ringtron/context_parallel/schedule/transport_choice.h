// --cp-comm-type auto: which transport will be fastest for a layer, predicted from its plans.
//
// Every transport's schedule is made and its steps are priced: attention by its cells, messages by their bytes, and of
// each step's messages only the part that is longer than its attention counts. So windows, documents, layouts, heads
// that do not divide and replicated key/value heads are in the prediction as they are in the plan, and nothing is said
// twice.
//
//   const TransportChoice choice = choose_transport({{layout, masks}, shape, 0, speeds});
//   print_line("--cp-comm-type auto: {}", to_string(choice));
//
// Pure: equal input gives an equal choice. All ranks must give equal input, so speeds that were measured come from one
// rank (transport_measure.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/context_parallel/schedule/schedule.h"

namespace ringtron {

// What one rank can send, each way, while all ranks of the group do the same.
struct LinkSpeed {
  double bytes_per_second = 1e9;
  double seconds_per_exchange = 1e-4;  // of a grouped exchange, however many messages are in it
  double hidden_share = 1.0;  // of a transfer that costs no time beside attention that takes as long; 0: none is hidden
};

struct AttentionSpeed {
  double forward_flops_per_second = 1e10;   // cells of the mask only
  double backward_flops_per_second = 1e10;  // its operations counted as 2.5 times the forward's
  double seconds_per_block = 1e-5;          // of each call of a kernel, beside its operations
  double copy_bytes_per_second = 1e10;      // read and written together: merging, packing, putting in order
  bool varlen = false;                      // one call for many tiles of documents, see varlen_batches.h
};

// What a host needs to give a device its work, beside which the device works. A layer takes the longer of the two.
struct HostSpeed {
  double seconds_per_pass = 0;      // forward, and again backward
  double seconds_per_block = 0;     // of each call of a kernel, with what is done to its results
  double seconds_per_exchange = 0;  // hosts meet in one
};

struct DeviceSpeeds {
  LinkSpeed link;
  AttentionSpeed attention;
  HostSpeed host = {};
};

// What is assumed where nothing was measured. GPU: two H200 on NVLink. CPU: one core a process, Gloo on one machine.
DeviceSpeeds default_gpu_speeds();
DeviceSpeeds default_cpu_speeds();

struct ChoiceInput {
  PlanRequest request;
  AttentionShape shape;
  int hierarchical_a = 0;  // ranks that share heads under a2a+p2p; 0: no sizes were given, so it is not a candidate
  DeviceSpeeds speeds;
};

// Of one layer, forward and backward, of the slowest rank.
struct TransportPrediction {
  CpTransport transport = CpTransport::p2p;
  double attention_seconds = 0;  // attention, with merges and copies
  double transfer_seconds = 0;   // as if it were alone
  double host_seconds = 0;       // what the host needs
  // The layer: attention_seconds and what of the transfer does not hide, or the host's if that is more.
  double seconds = 0;
  std::int64_t bytes = 0;  // sent by the rank that sends most
  std::string refusal;     // why it is no candidate; empty: it is one
  bool host_bound() const { return host_seconds >= seconds; }
  double exposed_seconds() const { return host_bound() ? 0.0 : seconds - attention_seconds; }
};

struct TransportChoice {
  CpTransport transport = CpTransport::p2p;
  std::vector<TransportPrediction> predictions;  // of all cp_transports(), in their order
  std::string reason;
  const TransportPrediction& of(CpTransport one) const;
};

// Throws ConfigError as make_transport_plan does.
TransportPrediction predict_transport(CpTransport transport, const ChoiceInput& input);

// The least predicted time. Of transports within 2% of it the one that holds least (TransportRow::memory_order).
TransportChoice choose_transport(const ChoiceInput& input);

// p2p (predicted 1.92 ms a layer, forward and backward; all_gather 2.10, a2a 2.31): ring hop hides behind attention
std::string to_string(const TransportChoice& choice);

// Operations of attention on `cells` cells of one head: the two products of the forward, the five of the backward.
double forward_flops(double cells, const AttentionShape& shape);
double backward_flops(double cells, const AttentionShape& shape);

}  // namespace ringtron
