#include "ringtron/train/pipeline/pipeline_schedule.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

using Kind = Instruction::Kind;

std::string text_of(const Instruction& instruction) {
  return fmt::format("{} {}.{}", instruction.kind == Kind::forward ? "forward" : "backward", instruction.micro_batch,
                     instruction.chunk);
}

// Follows every micro-batch through a list.
class Follower {
 public:
  Follower(const PipelineShape& shape, int in_flight)
      : chunks_(shape.chunks), in_flight_(in_flight), done_(static_cast<std::size_t>(shape.micro_batches), 0) {}

  void take(const Instruction& instruction) {
    const auto [kind, micro_batch, chunk] = instruction;
    if (micro_batch < 0 || micro_batch >= std::ssize(done_) || chunk < 0 || chunk >= chunks_) {
      faults_.push_back(text_of(instruction) + ": there is no such micro-batch or chunk");
      return;
    }
    int& done = done_[static_cast<std::size_t>(micro_batch)];
    // A micro-batch goes through its chunks and back: that is 2 * chunks turns, in one order.
    const int turn = kind == Kind::forward ? chunk : 2 * chunks_ - 1 - chunk;
    if (turn != done) {
      faults_.push_back(fmt::format("{}: expected as number {} of its micro-batch, got it as number {}",
                                    text_of(instruction), turn, done));
    }
    if (turn == 0) {
      if (micro_batch != begun_)
        faults_.push_back(fmt::format("{}: the data of micro-batch {} is next", text_of(instruction), begun_));
      ++begun_;
      if (++open_ > in_flight_) {
        faults_.push_back(fmt::format("{}: {} micro-batches are in flight, at most {} were promised",
                                      text_of(instruction), open_, in_flight_));
      }
    }
    if (++done == 2 * chunks_) --open_;
  }

  std::vector<std::string> faults() {
    for (std::size_t i = 0; i < done_.size(); ++i) {
      if (done_[i] != 2 * chunks_) {
        faults_.push_back(fmt::format("micro-batch {}: expected {} instructions, got {}", i, 2 * chunks_, done_[i]));
      }
    }
    return std::move(faults_);
  }

 private:
  int chunks_, in_flight_, begun_ = 0, open_ = 0;
  std::vector<int> done_;  // instructions of each micro-batch
  std::vector<std::string> faults_;
};

}  // namespace

std::vector<Instruction> one_forward_one_backward(const PipelineShape& shape, int rank) {
  RT_CHECK(shape.stages == 1 || shape.chunks == 1, "1F1B of {} stages wants one chunk a rank, got {}", shape.stages,
           shape.chunks);
  RT_CHECK(rank >= 0 && rank < shape.stages, "expected a pipeline rank below {}, got {}", shape.stages, rank);
  std::vector<Instruction> list;
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

std::vector<std::string> check_pipeline_schedule(const std::vector<Instruction>& list, const PipelineShape& shape,
                                                 int in_flight) {
  Follower follower(shape, in_flight);
  for (const Instruction& instruction : list) follower.take(instruction);
  return follower.faults();
}

}  // namespace ringtron
