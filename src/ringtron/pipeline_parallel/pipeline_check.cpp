// Proves lists of instructions by following them. See check_pipeline() in pipeline_schedule.h.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "ringtron/pipeline_parallel/pipeline_messages.h"

namespace ringtron {
namespace {

using Kind = Instruction::Kind;

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
  enum class Done { nothing, forward, inputs, all };  // inputs: their gradients
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
        return send(number, next, at(number - 1).gradients, done(rank, next) >= Done::inputs);
      case Kind::forward:
        return forward(number, rank, next);
      case Kind::backward:
        return backward(number, rank, next);
      case Kind::weight_gradient:
        return weight_gradient(number, rank, next);
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
    done(rank, next) = Done::inputs;
    if (!shape_.splits_backward()) end(rank, next);
    return true;
  }

  bool weight_gradient(int number, Rank& rank, const Instruction& next) {
    if (!shape_.splits_backward() || done(rank, next) != Done::inputs) {
      fault(number, next, "it is not this weight gradient's turn in its micro-batch");
      return false;
    }
    end(rank, next);
    return true;
  }

  void end(Rank& rank, const Instruction& next) {
    done(rank, next) = Done::all;
    --rank.in_flight;
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

std::vector<std::string> check_pipeline(const ScheduleOfRank& lists, const PipelineShape& shape, bool forwards_only,
                                        PipelineFacts* facts) {
  return Run(lists, shape, forwards_only).faults(facts);
}

}  // namespace ringtron
