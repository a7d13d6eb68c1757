// What one rank does in a context-parallel attention, as data: a list of steps.
//
// A step: start its messages, attend to the key/value block now held while they travel, merge the results in the order
// listed, wait for the messages. Strategies differ only in their plan (plan_p2p.cpp); plan_runner.cpp runs any plan,
// plan_check.h proves one, and `plan` and the tests read them without LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/context_parallel/sequence_layout.h"

namespace ringtron {

enum class Payload {
  key_value,           // K and V of one rank, in the model's type
  key_value_gradient,  // the sum so far of dK and dV of one rank, in the accumulate type
};

// One message to or from `peer`, about the block of rank `owner`.
struct Message {
  int peer = 0;
  Payload payload = Payload::key_value;
  int owner = 0;
  bool operator==(const Message&) const = default;
};

enum class MaskKind {
  none,    // every query sees every key
  causal,  // query and key rows are the same positions, in ascending order: row i sees rows 0..i
};

// This rank's query chunks `q` against the step owner's key/value chunks `kv`.
struct Attend {
  ChunkSpan q;
  ChunkSpan kv;
  MaskKind mask = MaskKind::none;
  bool operator==(const Attend&) const = default;
};

struct Step {
  int owner = 0;  // whose key/value block is held during the step
  std::vector<Message> sends;
  std::vector<Message> receives;
  std::vector<Attend> attends;
  bool communicates() const { return !sends.empty() || !receives.empty(); }
};

// Forward: each attend gives (out, log-sum-exp), merged at once into the rows of `q`.
// Backward: each attend gives dq, added to the rows of `q`, and dK, dV, added after the wait to the sum for `owner`: the
// one received in this step, or a new one if none was. A sum that is sent is the one of the step before.
struct ExchangePlan {
  int rank = 0;
  int ranks = 1;
  std::vector<Step> steps;
};

// The ring. Forward: at step i rank r holds the block of rank r-i and passes it to r+1. Backward starts from the block
// that the forward ended with, of rank r+1, and turns the other way: at step i rank r holds the block of r+1+i, and the
// gradient sum of a block follows it one step behind and ends at its owner. The order in which a query chunk merges
// key/value chunks is thus a function of its chunk number and the number of ranks, never of arrival.
ExchangePlan plan_p2p_forward(const SequenceLayout& layout, bool causal, int rank);
ExchangePlan plan_p2p_backward(const SequenceLayout& layout, bool causal, int rank);

// Bytes that the plan sends, when one message of each payload has the given size.
std::int64_t bytes_sent(const ExchangePlan& plan, std::int64_t key_value_bytes, std::int64_t gradient_bytes);

// One line per step, with global chunk numbers:
//   step 1: kv of 3 | q 7 x kv 3 4 | send kv 3 to 1 | receive kv 2 from 3
std::string to_string(const ExchangePlan& plan, const SequenceLayout& layout);

}  // namespace ringtron
