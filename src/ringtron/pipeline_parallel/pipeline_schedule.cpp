#include "ringtron/pipeline_parallel/pipeline_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

using Kind = Instruction::Kind;

void check_rank(const PipelineShape& shape, int rank) {
  RT_CHECK(rank >= 0 && rank < shape.stages, "expected a pipeline rank below {}, got {}", shape.stages, rank);
}

// The micro-batches and chunks of forwards in order: groups of micro-batches, each through one chunk after the other.
PipelineSchedule forwards_in_groups(const PipelineShape& shape, int group) {
  PipelineSchedule list;
  for (int first = 0; first < shape.micro_batches; first += group) {
    const int end = std::min(first + group, shape.micro_batches);
    for (int chunk = 0; chunk < shape.chunks; ++chunk) {
      for (int i = first; i < end; ++i) list.push_back({Kind::forward, i, chunk});
    }
  }
  return list;
}

// `ahead` forwards, then one forward and one backward in turn, then the backwards that are left.
PipelineSchedule in_turn(const PipelineSchedule& forwards, const PipelineSchedule& backwards, std::size_t ahead) {
  PipelineSchedule list(forwards.begin(), forwards.begin() + static_cast<std::ptrdiff_t>(ahead));
  for (std::size_t i = 0; i < backwards.size(); ++i) {
    if (i + ahead < forwards.size()) list.push_back(forwards[i + ahead]);
    list.push_back(backwards[i]);
  }
  return list;
}

// What an instruction takes that another rank makes, and the other way round.
std::optional<Instruction> receive_for(const Instruction& work, const PipelineShape& shape, int rank) {
  const int stage = shape.virtual_stage(rank, work.chunk);
  if (shape.stages == 1) return std::nullopt;
  if (work.kind == Kind::forward && stage > 0)
    return Instruction{Kind::receive_activation, work.micro_batch, work.chunk};
  if (work.kind == Kind::backward && stage + 1 < shape.virtual_stages())
    return Instruction{Kind::receive_gradient, work.micro_batch, work.chunk};
  return std::nullopt;
}

std::optional<Instruction> send_after(const Instruction& work, const PipelineShape& shape, int rank) {
  const int stage = shape.virtual_stage(rank, work.chunk);
  if (shape.stages == 1) return std::nullopt;
  if (work.kind == Kind::forward && stage + 1 < shape.virtual_stages())
    return Instruction{Kind::send_activation, work.micro_batch, work.chunk};
  if (work.kind == Kind::backward && stage > 0) return Instruction{Kind::send_gradient, work.micro_batch, work.chunk};
  return std::nullopt;
}

// Follows all ranks through their lists, each as far as its messages let it.
class Run {
 public:
  Run(const ScheduleOfRank& lists, const PipelineShape& shape, bool forwards_only)
      : shape_(shape), forwards_only_(forwards_only) {
    for (int rank = 0; rank < shape.stages; ++rank) {
      ranks_.emplace_back();
      ranks_.back().list = lists(rank);
      ranks_.back().done.assign(static_cast<std::size_t>(shape.micro_batches * shape.chunks), Done::nothing);
    }
  }

  std::vector<std::string> faults(PipelineFacts* facts) {
    for (bool moves = true; moves && faults_.empty();) {
      moves = false;
      for (int rank = 0; rank < shape_.stages && faults_.empty(); ++rank) {
        while (faults_.empty() && step(rank)) moves = true;
      }
    }
    if (faults_.empty()) tell_unfinished();
    if (faults_.empty() && facts != nullptr) fill(*facts);
    return std::move(faults_);
  }

 private:
  enum class Done { nothing, forward, all };
  struct Channel {
    std::vector<Instruction> sent;   // with the sender's chunk
    std::vector<Instruction> begun;  // receives, with the receiver's chunk
    std::size_t taken = 0;           // of these
  };
  struct Rank {
    std::vector<Instruction> list;
    std::size_t next = 0;
    std::vector<Done> done;  // of each micro-batch and chunk
    int begun = 0;           // micro-batches
    int in_flight = 0, most_in_flight = 0;
    Channel activations, gradients;  // that come in
  };

  Rank& at(int rank) { return ranks_[static_cast<std::size_t>((rank + shape_.stages) % shape_.stages)]; }
  Done& done(Rank& rank, const Instruction& i) {
    return rank.done[static_cast<std::size_t>(i.micro_batch * shape_.chunks + i.chunk)];
  }

  void fault(int rank, const Instruction& instruction, std::string_view what) {
    faults_.push_back(fmt::format("rank {}, {}: {}", rank, to_string(instruction), what));
  }

  // Whether the rank's next instruction could run; it has then.
  bool step(int number) {
    Rank& rank = at(number);
    if (rank.next == rank.list.size()) return false;
    const Instruction next = rank.list[rank.next];
    if (next.micro_batch < 0 || next.micro_batch >= shape_.micro_batches || next.chunk < 0 ||
        next.chunk >= shape_.chunks) {
      fault(number, next, "there is no such micro-batch or chunk");
      return false;
    }
    const bool has_run = run(number, rank, next);
    if (has_run) ++rank.next;
    return has_run;
  }

  bool run(int number, Rank& rank, const Instruction& next) {
    switch (next.kind) {
      case Kind::receive_activation:
      case Kind::receive_gradient:
        begin_receive(number, rank, next);
        return true;
      case Kind::send_activation:
        return send(number, next, at(number + 1).activations, done(rank, next) == Done::forward);
      case Kind::send_gradient:
        return send(number, next, at(number - 1).gradients, done(rank, next) == Done::all);
      case Kind::forward:
        return forward(number, rank, next);
      case Kind::backward:
        return backward(number, rank, next);
    }
    return false;
  }

  bool send(int number, const Instruction& next, Channel& channel, bool is_made) {
    if (!is_made) fault(number, next, "what it sends is not there");
    if (channel.sent.size() >= channel.taken + static_cast<std::size_t>(shape_.most_sends()))
      return false;  // waits for the oldest
    channel.sent.push_back(next);
    return true;
  }

  void begin_receive(int number, Rank& rank, const Instruction& next) {
    Channel& channel = next.kind == Kind::receive_activation ? rank.activations : rank.gradients;
    channel.begun.push_back(next);
    most_receives_ = std::max(most_receives_, static_cast<int>(channel.begun.size() - channel.taken));
    const Instruction work{next.kind == Kind::receive_activation ? Kind::forward : Kind::backward, next.micro_batch,
                           next.chunk};
    if (receive_for(work, shape_, number) != next) fault(number, next, "there is no such message");
  }

  // Whether the message that `work` takes is there; it is taken then.
  bool take(int number, Channel& channel, const Instruction& work) {
    const auto wanted = receive_for(work, shape_, number);
    if (!wanted) return true;
    if (channel.taken == channel.begun.size() || channel.begun[channel.taken] != *wanted) {
      fault(number, work, fmt::format("{} is not the next message that it has begun to receive", to_string(*wanted)));
      return false;
    }
    if (channel.taken == channel.sent.size()) return false;  // on its way
    const bool is_activation = work.kind == Kind::forward;
    const int stage = shape_.virtual_stage(number, work.chunk) + (is_activation ? -1 : 1);
    const Instruction expected{is_activation ? Kind::send_activation : Kind::send_gradient, work.micro_batch,
                               stage / shape_.stages};
    if (channel.sent[channel.taken] != expected) {
      fault(number, work,
            fmt::format("expected {} as message {}, got {}", to_string(expected), channel.taken,
                        to_string(channel.sent[channel.taken])));
      return false;
    }
    ++channel.taken;
    return true;
  }

  // Within a rank that has all stages, the chunk before, or after, must have been.
  bool neighbour_was(Rank& rank, const Instruction& work) {
    if (shape_.stages > 1) return true;
    const bool is_forward = work.kind == Kind::forward;
    const int chunk = work.chunk + (is_forward ? -1 : 1);
    if (chunk < 0 || chunk == shape_.chunks) return true;
    return done(rank, {work.kind, work.micro_batch, chunk}) == (is_forward ? Done::forward : Done::all);
  }

  bool forward(int number, Rank& rank, const Instruction& next) {
    if (done(rank, next) != Done::nothing || !neighbour_was(rank, next)) {
      fault(number, next, "it is not this forward's turn in its micro-batch");
      return false;
    }
    if (next.chunk == 0 && next.micro_batch != rank.begun) {
      fault(number, next, fmt::format("the data of micro-batch {} is next", rank.begun));
      return false;
    }
    if (!take(number, rank.activations, next)) return false;
    if (next.chunk == 0) ++rank.begun;
    done(rank, next) = Done::forward;
    rank.most_in_flight = std::max(rank.most_in_flight, ++rank.in_flight);
    return true;
  }

  bool backward(int number, Rank& rank, const Instruction& next) {
    if (done(rank, next) != Done::forward || !neighbour_was(rank, next)) {
      fault(number, next, "it is not this backward's turn in its micro-batch");
      return false;
    }
    if (!take(number, rank.gradients, next)) return false;
    done(rank, next) = Done::all;
    --rank.in_flight;
    return true;
  }

  void tell_unfinished() {
    for (int number = 0; number < shape_.stages; ++number) {
      Rank& rank = at(number);
      if (rank.next < rank.list.size()) {
        fault(number, rank.list[rank.next], "waits for ever for its message");
        continue;
      }
      const Done end = forwards_only_ ? Done::forward : Done::all;
      const auto missing = std::ranges::count_if(rank.done, [&](Done one) { return one != end; });
      if (missing > 0)
        faults_.push_back(fmt::format("rank {}: {} micro-batches and chunks are not done", number, missing));
      for (const Channel* channel : {&rank.activations, &rank.gradients}) {
        if (channel->taken != channel->sent.size() || channel->taken != channel->begun.size()) {
          faults_.push_back(fmt::format("rank {}: {} messages sent to it, {} receives begun, {} taken", number,
                                        channel->sent.size(), channel->begun.size(), channel->taken));
        }
      }
    }
  }

  void fill(PipelineFacts& facts) const {
    facts.in_flight.clear();
    for (const Rank& rank : ranks_) facts.in_flight.push_back(rank.most_in_flight);
    facts.receives = most_receives_;
  }

  const PipelineShape shape_;
  bool forwards_only_;
  std::vector<Rank> ranks_;
  int most_receives_ = 0;
  std::vector<std::string> faults_;
};

}  // namespace

std::string to_string(const Instruction& instruction) {
  const auto word = [&] {
    switch (instruction.kind) {
      case Kind::forward:
        return "forward";
      case Kind::backward:
        return "backward";
      case Kind::receive_activation:
        return "receive activation";
      case Kind::receive_gradient:
        return "receive gradient";
      case Kind::send_activation:
        return "send activation";
      case Kind::send_gradient:
        return "send gradient";
    }
    return "unknown";
  };
  return fmt::format("{} {}.{}", word(), instruction.micro_batch, instruction.chunk);
}

PipelineSchedule gpipe(const PipelineShape& shape, int rank) {
  PipelineSchedule list = forward_only(shape, rank);
  const std::size_t forwards = list.size();
  for (std::size_t i = forwards; i-- > 0;) list.push_back({Kind::backward, list[i].micro_batch, list[i].chunk});
  return list;
}

PipelineSchedule one_forward_one_backward(const PipelineShape& shape, int rank) {
  RT_CHECK(shape.stages == 1 || shape.chunks == 1, "1F1B of {} stages wants one chunk a rank, got {}", shape.stages,
           shape.chunks);
  check_rank(shape, rank);
  PipelineSchedule list;
  const auto forward = [&](int micro_batch) {
    for (int chunk = 0; chunk < shape.chunks; ++chunk) list.push_back({Kind::forward, micro_batch, chunk});
  };
  const auto backward = [&](int micro_batch) {
    for (int chunk = shape.chunks - 1; chunk >= 0; --chunk) list.push_back({Kind::backward, micro_batch, chunk});
  };
  const int ahead = std::min(shape.stages - 1 - rank, shape.micro_batches);  // forwards before the first backward's own
  for (int i = 0; i < ahead; ++i) forward(i);
  for (int i = 0; i < shape.micro_batches; ++i) {
    if (i + ahead < shape.micro_batches) forward(i + ahead);
    backward(i);
  }
  return list;
}

PipelineSchedule interleaved(const PipelineShape& shape, int rank) {
  check_rank(shape, rank);
  const int group = shape.group_size();
  const int rest = group > 0 ? shape.micro_batches % group : 0;
  RT_CHECK(group >= shape.stages && group <= shape.micro_batches && (rest == 0 || rest >= shape.stages),
           "{} micro-batches in groups of {} for {} stages", shape.micro_batches, group, shape.stages);
  const PipelineSchedule forwards = forwards_in_groups(shape, group);
  PipelineSchedule backwards = forwards;
  for (Instruction& one : backwards) one = {Kind::backward, one.micro_batch, shape.chunks - 1 - one.chunk};
  const int ahead = 2 * (shape.stages - 1 - rank) + (shape.chunks - 1) * group;
  return in_turn(forwards, backwards, std::min(static_cast<std::size_t>(ahead), forwards.size()));
}

PipelineSchedule training_schedule(const PipelineShape& shape, int rank) {
  return shape.stages > 1 && shape.chunks > 1 ? interleaved(shape, rank) : one_forward_one_backward(shape, rank);
}

int most_in_flight(const PipelineShape& shape, int rank) {
  if (shape.stages == 1) return shape.chunks;
  if (shape.chunks == 1) return std::min(shape.stages - rank, shape.micro_batches);
  const std::int64_t ahead = 2 * (shape.stages - 1 - rank) + std::int64_t{shape.chunks - 1} * shape.group_size();
  return static_cast<int>(std::min(ahead + 1, std::int64_t{shape.micro_batches} * shape.chunks));
}

PipelineSchedule forward_only(const PipelineShape& shape, int rank) {
  check_rank(shape, rank);
  return forwards_in_groups(shape, /*group=*/shape.chunks > 1 ? shape.stages : 1);
}

std::vector<Instruction> with_messages(const PipelineSchedule& schedule, const PipelineShape& shape, int rank) {
  std::vector<Instruction> list;
  const auto begin_receive = [&](std::size_t i) {
    if (i >= schedule.size()) return;
    if (const auto receive = receive_for(schedule[i], shape, rank)) list.push_back(*receive);
  };
  begin_receive(0);
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    begin_receive(i + 1);
    list.push_back(schedule[i]);
    if (const auto send = send_after(schedule[i], shape, rank)) list.push_back(*send);
  }
  return list;
}

std::vector<std::string> check_pipeline(const ScheduleOfRank& lists, const PipelineShape& shape, bool forwards_only,
                                        PipelineFacts* facts) {
  return Run(lists, shape, forwards_only).faults(facts);
}

}  // namespace ringtron
