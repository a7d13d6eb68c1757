#include "ringtron/context_parallel/schedule/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ringtron/context_parallel/schedule/varlen_batches.h"

namespace ringtron {
namespace {

// Bytes of one row of some heads: one position, all samples.
struct RowBytes {
  const AttentionShape& shape;
  std::int64_t query(const HeadShare& share) const {
    return share.q.length() * shape.samples * shape.key_size * shape.element_bytes;
  }
  std::int64_t out(const HeadShare& share) const {
    return share.q.length() * shape.samples * shape.value_size * shape.element_bytes;
  }
  std::int64_t key_value(const HeadShare& share, std::int64_t element_bytes) const {
    return share.kv.length() * shape.samples * (shape.key_size + shape.value_size) * element_bytes;
  }
};

// One exchange of heads of `rank` of the whole group.
SizedExchange sized(const HeadExchange& exchange, const Schedule& schedule, const SequenceLayout& whole, int rank,
                    const RowBytes& row) {
  const auto& heads = schedule.heads;
  const int members = static_cast<int>(heads.size()), own = rank % members;
  // A key/value head of one rank only travels in the model's type: it is rounded once, at the end of all sums.
  const std::int64_t gradient_bytes = heads_are_replicated(heads) ? row.shape.sum_bytes : row.shape.element_bytes;
  const bool forward = schedule.pass == Pass::forward;
  // Of one row of some heads: on the way to who has them, and back.
  const auto to_heads = [&](const HeadShare& share) {
    return forward ? row.query(share) + row.key_value(share, row.shape.element_bytes) : row.out(share);
  };
  const auto to_sequence = [&](const HeadShare& share) {
    return forward ? row.out(share) : row.query(share) + row.key_value(share, gradient_bytes);
  };
  SizedExchange sizes;
  for (int member = 0; member < members; ++member) {
    if (member == own) continue;
    const HeadShare &mine = heads[static_cast<std::size_t>(own)], &theirs = heads[static_cast<std::size_t>(member)];
    const int peer = rank - own + member;
    const std::int64_t my_rows = whole.local_length(rank), their_rows = whole.local_length(peer);
    if (exchange.to_heads) {
      sizes.sends.push_back({peer, my_rows * to_heads(theirs)});
      sizes.receives.push_back({peer, their_rows * to_heads(mine)});
    } else {
      sizes.sends.push_back({peer, their_rows * to_sequence(mine)});
      sizes.receives.push_back({peer, my_rows * to_sequence(theirs)});
    }
  }
  return sizes;
}

std::string text_of(const std::vector<PositionRange>& ranges) {
  std::string text;
  for (const PositionRange& range : ranges) {
    text += fmt::format("{}{}-{}", text.empty() ? "" : " ", range.begin, range.end - 1);
  }
  return text;
}

std::string text_of(const Band& band) {
  if (band.is_all()) return "";
  if (band.is_causal()) return " causal";
  const auto bound = [](std::int64_t b) { return b == Band::kUnbounded ? std::string("all") : std::to_string(b); };
  return fmt::format(" band {},{}", bound(band.left), bound(band.right));
}

// An operation in words.
class Words {
 public:
  explicit Words(const Schedule& schedule) : schedule_(schedule) {}

  std::string operator()(const Exchange& exchange) const {
    std::string text = "exchange:";
    for (const Transfer& t : exchange.sends) text += fmt::format(" | send {} to {}", rows(t), t.peer);
    for (const Transfer& t : exchange.receives) text += fmt::format(" | receive {} from {}", rows(t), t.peer);
    return text;
  }
  std::string operator()(const Wait& wait) const { return fmt::format("wait for exchange {}", wait.exchange); }
  std::string operator()(const Launch& launch) const {
    std::string text =
        fmt::format("launch: q {} x {}{}",
                    text_of(slice_ranges(schedule_.layout.of(schedule_.rank), launch.q.begin, launch.q.length())),
                    rows(launch.buffer, launch.kv),
                    launch.batch ? fmt::format(" {} tiles", launch.batch->tiles.size()) : text_of(launch.band));
    if (launch.sample != kAllSamples) text += fmt::format(" sample {}", launch.sample);
    return text;
  }
  std::string operator()(const Merge& merge) const {
    if (merge.gradient < 0) return fmt::format("merge launch {}", merge.launch);
    return fmt::format("add launch {} to dq and {}", merge.launch, rows(merge.gradient, merge.rows));
  }
  std::string operator()(const MoveRows& move) const {
    const Buffer& to = schedule_.buffer(move.to);
    return fmt::format("{} {} to buffer {}", to.content == Payload::key_value ? "copy" : "add",
                       rows(move.from, {0, schedule_.buffer(move.from).length()}), move.to);
  }
  std::string operator()(const Release& release) const { return fmt::format("release buffer {}", release.buffer); }
  std::string operator()(const HeadExchange& exchange) const {
    return exchange.to_heads ? "exchange: to heads" : "exchange: to sequence";
  }

 private:
  std::string rows(const Transfer& transfer) const {
    std::string text;
    for (const PositionRange& range : transfer.rows) text += (text.empty() ? "" : " ") + rows(transfer.buffer, range);
    return text;
  }
  std::string rows(int buffer, const PositionRange& rows) const {
    const Buffer& b = schedule_.buffer(buffer);
    const std::string owner = b.owner == kWholeSequence ? "all" : std::to_string(b.owner);
    return fmt::format("{} of {} [{}]", to_text(b.content), owner, text_of(positions_of(schedule_, buffer, rows)));
  }

  const Schedule& schedule_;
};

}  // namespace

std::int64_t Buffer::length() const { return total_length(rows); }
std::int64_t Transfer::length() const { return total_length(rows); }

std::int64_t total_bytes(const std::vector<SizedMessage>& messages) {
  std::int64_t bytes = 0;
  for (const SizedMessage& message : messages) bytes += message.bytes;
  return bytes;
}

std::vector<SizedExchange> exchanges_of(const Schedule& schedule, const SequenceLayout& whole, int rank,
                                        const AttentionShape& shape) {
  const RowBytes row{shape};
  const HeadShare& mine = schedule.heads.at(static_cast<std::size_t>(rank) % schedule.heads.size());
  const auto message = [&](const Transfer& transfer) {
    const bool sums = schedule.buffer(transfer.buffer).content == Payload::key_value_gradient;
    return SizedMessage{transfer.peer,
                        transfer.length() * row.key_value(mine, sums ? shape.sum_bytes : shape.element_bytes)};
  };
  std::vector<SizedExchange> exchanges;
  for (const Operation& operation : schedule.operations) {
    if (const auto* heads = std::get_if<HeadExchange>(&operation.what))
      exchanges.push_back(sized(*heads, schedule, whole, rank, row));
    const auto* exchange = std::get_if<Exchange>(&operation.what);
    if (exchange == nullptr) continue;
    SizedExchange& sizes = exchanges.emplace_back();
    for (const Transfer& transfer : exchange->sends) sizes.sends.push_back(message(transfer));
    for (const Transfer& transfer : exchange->receives) sizes.receives.push_back(message(transfer));
  }
  return exchanges;
}

TransportBytes bytes_of(const RankSchedules& schedules, const SequenceLayout& whole, int rank,
                        const AttentionShape& shape) {
  const auto sent = [&](const Schedule& schedule) {
    std::int64_t bytes = 0;
    for (const SizedExchange& exchange : exchanges_of(schedule, whole, rank, shape))
      bytes += total_bytes(exchange.sends);
    return bytes;
  };
  return {sent(schedules.forward), sent(schedules.backward)};
}

std::int64_t cells_of(const Launch& launch, std::int64_t samples) {
  if (launch.batch) return launch.batch->cells(samples);
  return launch.band.area(launch.q.length(), launch.kv.length()) * (launch.sample == kAllSamples ? samples : 1);
}

std::vector<PositionRange> positions_of(const Schedule& schedule, int buffer, const PositionRange& rows) {
  const Buffer& b = schedule.buffer(buffer);
  std::vector<PositionRange> positions;
  for (const PositionRange& part : slice_ranges(b.rows, rows.begin, rows.length())) {
    for (const PositionRange& range : positions_of(schedule.layout, b.owner, part)) positions.push_back(range);
  }
  return positions;
}

bool is_of_messages(const Operation& operation) {
  return std::holds_alternative<Exchange>(operation.what) || std::holds_alternative<Wait>(operation.what) ||
         std::holds_alternative<MoveRows>(operation.what) || std::holds_alternative<HeadExchange>(operation.what);
}

std::string to_string(const Schedule& schedule) {
  std::string text;
  for (const Operation& operation : schedule.operations) {
    text += fmt::format("{:>3} {}\n", operation.step, std::visit(Words(schedule), operation.what));
  }
  return text;
}

}  // namespace ringtron
