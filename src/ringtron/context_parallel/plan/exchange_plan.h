// What one rank does in a context-parallel attention, as data: a list of steps.
//
// A step: start its messages, compute the block tasks on what is held while they travel, wait, add what has arrived.
// Transports differ only in their plan. What exactly runs, buffer by buffer, is the schedule that it is lowered to
// (schedule/schedule.h). Names: a block is the keys and values of one rank, in the order in which it stores them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron {

enum class Payload {
  key_value,           // rows of K and V, in the model's type
  key_value_gradient,  // the sum so far of what ranks gave to dK and dV of these rows, in the accumulate type
};

// kv, dkv.
std::string_view to_text(Payload payload);

// `rows` of the block of `owner`, to or from `peer`.
struct Message {
  int peer = 0;
  Payload payload = Payload::key_value;
  int owner = 0;
  PositionRange rows;
  bool operator==(const Message&) const = default;
};

// In place of an owner: all blocks, put in sequence order, so that row i is position i. Single blocks are not held
// after it.
inline constexpr int kWholeSequence = -1;
// In place of a sample: all samples of the micro-batch.
inline constexpr int kAllSamples = -1;

// Attention of rows `q` of this rank's queries to rows `kv` of one block that it holds.
struct BlockTask {
  PositionRange q;
  int owner = 0;
  PositionRange kv;
  Band band;  // over the rows named here
  int sample = kAllSamples;
  bool operator==(const BlockTask&) const = default;
};

struct Step {
  bool communicates = false;  // true on all ranks or on none, also on one that has no message
  std::vector<Message> sends;
  std::vector<Message> receives;
  std::vector<BlockTask> tasks;
};

// Forward: each task gives (out, log-sum-exp), merged in the order listed into the rows of `q`.
// Backward: each task gives dq, added to the rows of `q`, and dK, dV, added to the sum of the rows' owner. A sum
// that is sent is the one before the step, and is no longer held after it; a received one is added after the
// step's own.
// Rows of K and V that have arrived are held until the last step that reads them or sends them on.
struct ExchangePlan {
  int rank = 0;
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

struct RankPlan {
  ExchangePlan forward, backward;
  // Whose block the forward saves and the backward begins with: the rank's own, or one that it received.
  int saved_owner = 0;
};

// Ring attention. Dense masks: at step i rank r holds the block of rank r-i and passes it to r+1. The backward begins
// with the block that the forward ended with, of rank r+1, and turns the other way: at step i rank r holds the block of
// r+1+i, and its gradient sum follows one step behind and ends at its owner.
// Windows and documents: a rank needs a part of a few blocks only, so their owners send it these rows (a halo) in
// the step before they are read, nothing is passed on, and gradients go back the same way.
// The order of merges is a function of positions and the number of ranks, never of arrival.
RankPlan plan_p2p(const PlanRequest& request, int rank);

// Every rank sends its block to all others at once and meanwhile computes on its own; then on all blocks at once, put
// in sequence order. Backward: the first of its own ranges hides the gather, the others the way home of the gradients
// of the others' keys.
RankPlan plan_all_gather(const PlanRequest& request, int rank);

// What plans are made of: the tasks of the queries of `rank` on the block of `owner`, by the masks; and the whole block
// of `owner` to or from `peer`, nothing when it is empty.
std::vector<BlockTask> tasks_between(const PlanRequest& request, int rank, int owner);
void append_block(std::vector<Message>& messages, int peer, Payload payload, int owner, const SequenceLayout& layout);

// The positions of rows of a block: of `owner`, or of the whole sequence.
std::vector<PositionRange> positions_of(const SequenceLayout& layout, int owner, const PositionRange& rows);

}  // namespace ringtron
