// What one rank does in one pass of a context-parallel attention, operation by operation: what runs on the device.
//
// A plan (plan/exchange_plan.h) says what a transport is; lower.h turns it into this: buffers, and a flat list of
// operations in the order in which the one thread of the rank gives them to its device. run/run_forward.cpp interprets
// the list and decides nothing. schedule_check.h proves the schedules of all ranks together; bytes, memory, prices and
// pictures are read off it. Free of LibTorch. Rows are positions of the sequence, for all samples and for the key/value
// heads of this rank.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"
#include "ringtron/context_parallel/plan/gqa_head_shares.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {

struct VarlenBatch;  // varlen_batches.h

enum class Pass { forward, backward };

// K and V of some rows, or the sums of their gradients.
struct Buffer {
  Payload content = Payload::key_value;
  int owner = 0;                    // the rank of whose block the rows are; kWholeSequence: rows are positions
  std::vector<PositionRange> rows;  // of the owner's block, one range below another

  std::int64_t length() const;
  bool operator==(const Buffer&) const = default;
};

// Rows of a buffer, to or from a peer: a rank of the whole group. Several ranges travel one below another; what is
// received is one range. Buffers of gradients are received whole, and what was received is only moved: to the sums of
// this rank.
struct Transfer {
  int peer = 0;
  int buffer = 0;
  std::vector<PositionRange> rows;
  std::int64_t length() const;
};

// One grouped exchange begins; all ranks have the same number of them, in the same order, also a rank without a
// transfer.
struct Exchange {
  std::vector<Transfer> sends, receives;
};

// What the exchange of this number (from 0, in the order of the list) received may be read, what it sent be released.
struct Wait {
  int exchange = 0;
};

// One call of an attention kernel: rows `q` of this rank's queries against rows of a buffer of keys and values.
struct Launch {
  PositionRange q;
  int buffer = 0;
  PositionRange kv;  // rows of the buffer
  Band band;         // over the rows named here; says nothing where there is a batch
  int sample = kAllSamples;
  std::shared_ptr<const VarlenBatch> batch = nullptr;  // many tiles in one call; null: one block
};

// What the launch of this number gave becomes part of the result. Forward: (out, log-sum-exp) is merged into rows `q`.
// Backward: dq is added to rows `q`, dK and dV to `rows` of a buffer of gradients.
struct Merge {
  int launch = 0;
  int gradient = -1;  // forward: -1
  PositionRange rows = {};
};

// Rows of one buffer to their places in another of the same content: copied (keys and values) or added (gradients).
struct RowMove {
  PositionRange from;
  std::int64_t to = 0;
};
struct MoveRows {
  int from = 0, to = 0;
  std::vector<RowMove> moves;
};

// The buffer is not used again.
struct Release {
  int buffer = 0;
};

// The exchange of heads among the A ranks that share them, complete when it returns: to_heads brings [rows of all A, my
// heads] of what is [my rows, all heads], to_sequence the other way. Forward: q, K, V come, out goes. Backward: d_out
// comes, dq, dK and dV go.
struct HeadExchange {
  bool to_heads = true;
};

struct Operation {
  int step = -1;  // of the plan, for pictures; -1: outside it
  std::variant<Exchange, Wait, Launch, Merge, MoveRows, Release, HeadExchange> what;
};

// The most rows that are in memory at once, as the schedule promises.
struct PeakRows {
  std::int64_t key_value = 0;  // beside the buffer that is given, arriving ones included
  std::int64_t gradient = 0;   // all sums
};

struct Schedule {
  Pass pass = Pass::forward;
  int rank = 0;           // within `layout`
  SequenceLayout layout;  // of the groups of ranks that share heads: TransportPlan::inner
  std::vector<Buffer> buffers;
  int given = 0;                 // the buffer of K and V that is there at the beginning
  int saved = 0;                 // forward: the buffer of K and V that is kept for the backward, whose `given` it is
  int result = -1;               // backward: the buffer with the gradients of this rank's own K and V at the end
  std::vector<HeadShare> heads;  // of the A ranks that share them; one: nothing is exchanged
  PeakRows peak;
  std::vector<Operation> operations;

  std::int64_t queries() const { return layout.local_length(rank); }
  const Buffer& buffer(int number) const { return buffers.at(static_cast<std::size_t>(number)); }
};

struct RankSchedules {
  Schedule forward, backward;
};

// One grouped exchange by size.
struct SizedMessage {
  int peer = 0;
  std::int64_t bytes = 0;
};
std::int64_t total_bytes(const std::vector<SizedMessage>& messages);
struct SizedExchange {
  std::vector<SizedMessage> sends, receives;
};
// All exchanges of the schedule of a rank of the whole group, those of heads too, in their order. `whole`: the layout
// of the whole group.
std::vector<SizedExchange> exchanges_of(const Schedule& schedule, const SequenceLayout& whole, int rank,
                                        const AttentionShape& shape);

// What they send, of both passes.
TransportBytes bytes_of(const RankSchedules& schedules, const SequenceLayout& whole, int rank,
                        const AttentionShape& shape);

// The cells of the mask that a launch computes, of one head; over `samples` samples where it computes every one.
std::int64_t cells_of(const Launch& launch, std::int64_t samples);

// The positions of rows of a buffer.
std::vector<PositionRange> positions_of(const Schedule& schedule, int buffer, const PositionRange& rows);

// Whether it belongs to messages. A forward that finds in memory what another one received leaves these out: the
// buffers that they fill are there from the beginning.
bool is_of_messages(const Operation& operation);

// A line for each operation:
//   1 exchange: send kv of 0 [0-5 18-23] to 1 | receive kv of 3 [...] from 3
std::string to_string(const Schedule& schedule);

}  // namespace ringtron
