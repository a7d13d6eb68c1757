// What one rank does in a context-parallel attention, as data: a list of steps.
//
// A step: start its messages, attend to what is held while they travel, wait, add what has arrived. Strategies
// differ only in their plan; plan_runner.cpp runs any plan, plan_check.h proves one, and the tools and tests read
// them without LibTorch. Names: a block is the keys and values of one rank, in the order in which it stores them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/head_shares.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron {

enum class Payload {
  key_value,               // rows of K and V, in the type of the blocks
  key_value_gradient,      // what the sender's own attends gave to dK and dV of these rows, in fp16 where blocks are, else
                           // in the accumulate type
  key_value_gradient_sum,  // the sum so far of several ranks' gradients, in the accumulate type
};

// kv, dkv, sum of dkv.
std::string_view to_text(Payload payload);

// `rows` of the block of `owner`, to or from `peer`.
struct Message {
  int peer = 0;
  Payload payload = Payload::key_value;
  int owner = 0;
  PositionRange rows;
  bool operator==(const Message&) const = default;
};

// In place of an owner: all blocks, put in sequence order, so that row i is position i. Single blocks are not held after it.
inline constexpr int kWholeSequence = -1;
// In place of a sample: all samples of the micro-batch.
inline constexpr int kEverySample = -1;

// Rows `q` of this rank's queries against rows `kv` of one held block.
struct Attend {
  PositionRange q;
  int owner = 0;
  PositionRange kv;
  Band band;  // over the rows named here
  int sample = kEverySample;
  HeadPart heads = HeadPart::all;
  bool operator==(const Attend&) const = default;
};

// The same rows with all heads.
Attend of_all_heads(Attend attend);

struct Step {
  bool communicates = false;  // true on all ranks or on none, also on one that has no message
  std::vector<Message> sends;
  std::vector<Message> receives;
  std::vector<Attend> attends;
};

// Forward: each attend gives (out, log-sum-exp), merged in the order listed into the rows of `q`.
// Backward: each attend gives dq, added to the rows of `q`, and dK, dV, added to the sum of the rows' owner. A sum
// that is sent is the one before the step, and is no longer held after it; a received one is added after the
// step's own.
// Rows of K and V that have arrived are held until the last step that attends to them or sends them on.
struct ExchangePlan {
  int rank = 0;
  int ranks = 1;
  std::vector<Step> steps;
  // On all ranks or on none: all blocks are put together as the whole sequence, so rows of K and V travel in parts that
  // are neighbours there, and each part arrives in its place.
  bool gathers = false;
};

// What the plans of all ranks of a group are made from. One mask per sample, or one for all samples.
struct PlanRequest {
  const SequenceLayout& layout;
  std::span<const AttentionMask> masks;
};

struct PlanOfRank {
  ExchangePlan forward, backward;
};

// The ring. Dense masks: at step i rank r holds the block of rank r-i and passes it to r+1. The backward begins with
// the block that the forward ended with, of rank r+1, and turns the other way: at step i rank r holds the block of
// r+1+i, and its gradient sum follows one step behind and ends at its owner. There each step but the first is two: what
// travels waits for the end of the attend before, so some heads (a filler) come first, which need not wait and fill that end.
// Windows and documents: a rank needs a part of a few blocks only, so their owners send it these rows (a halo) in
// the step before they are attended to, nothing is passed on, and gradients go back the same way.
// The order of merges is a function of positions and the number of ranks, never of arrival.
PlanOfRank plan_p2p(const PlanRequest& request, int rank);

// Every rank sends its block to all others at once and meanwhile attends to its own; then it attends to the whole
// sequence, one rectangle per range of its queries. Backward: the same, but a part of what a rank attends to of its own comes
// last, while the gradients of the others' keys go to their owners: some of the heads (with a filler before, as on the ring), or
// under documents and windows all of its ranges but the first.
PlanOfRank plan_all_gather(const PlanRequest& request, int rank);

// Whether the plan's backward begins with the block that the forward ended with.
bool keeps_last_block(const PlanRequest& request);

// Rows sent, of each payload. A row: K and V, or dK and dV, of one position and all samples.
struct RowsSent {
  std::int64_t key_value = 0;
  std::int64_t gradient = 0;
  std::int64_t gradient_sum = 0;

  void add(const Message& message);
};
RowsSent rows_sent(const ExchangePlan& plan);

// The positions of rows of a block: of `owner`, or of the whole sequence.
std::vector<PositionRange> positions_of(const SequenceLayout& layout, int owner, const PositionRange& rows);

// Cells of the mask that the plan attends to, of one head, summed over samples; `samples` counts for kEverySample. Parts of the
// heads are one attend.
std::int64_t attended_area(const ExchangePlan& plan, std::int64_t samples);

// One line per step, rows as positions:
//   step 1: q 0-5 18-23 x kv of 3 [6-11] | send kv of 3 [6-11 12-17] to 1 | receive kv of 2 [...] from 3
std::string to_string(const ExchangePlan& plan, const SequenceLayout& layout);

}  // namespace ringtron
