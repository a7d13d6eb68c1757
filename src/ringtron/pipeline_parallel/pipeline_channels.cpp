#include "ringtron/pipeline_parallel/pipeline_channels.h"

#include <fmt/format.h>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

constexpr int kFrom = 0;  // place of the sender in a channel's group

}  // namespace

void PipelineChannels::Out::send(at::Tensor tensor) {
  RT_CHECK(group != nullptr, "a message to a stage that does not exist");
  if (under_way_.size() == most) {
    under_way_.front().second.wait();
    under_way_.pop_front();
  }
  Work work = group->broadcast(tensor, kFrom);
  under_way_.emplace_back(std::move(tensor), std::move(work));
}

void PipelineChannels::Out::finish() {
  for (; !under_way_.empty(); under_way_.pop_front()) under_way_.front().second.wait();
}

Work PipelineChannels::In::receive(const at::Tensor& into) {
  RT_CHECK(group != nullptr, "a message from a stage that does not exist");
  return group->broadcast(into, kFrom);
}

PipelineChannels::PipelineChannels(const ParallelState& parallel, const PipelineShape& shape) {
  const int size = parallel.pp_size(), rank = parallel.pp_rank();
  activations_out_.most = gradients_out_.most = static_cast<std::size_t>(shape.most_sends());
  if (size == 1) return;
  const std::vector<int> ranks = parallel.grid().group_of(parallel.rank(), Axis::pipeline);
  // Every rank connects with its two neighbours in the order of the stages, so that none waits in a circle.
  // From the last to the first there are messages of several chunks alone.
  for (int from = 0; from < (shape.chunks > 1 ? size : size - 1); ++from) {
    const int to = (from + 1) % size;
    if (rank != from && rank != to) continue;
    const auto connect = [&](const char* what, int sender, int receiver) {
      groups_.push_back(
          parallel.make_group(fmt::format("pipeline-{}-of-stage-{}", what, from),
                              {ranks[static_cast<std::size_t>(sender)], ranks[static_cast<std::size_t>(receiver)]}));
      groups_.back()->barrier();  // NCCL connects at the first operation, which must not wait then
      return groups_.back().get();
    };
    (rank == from ? activations_out_.group : activations_in_.group) = connect("activations", from, to);
    (rank == from ? gradients_in_.group : gradients_out_.group) = connect("gradients", to, from);
  }
  if (rank == 0 || rank == size - 1) {
    groups_.push_back(parallel.make_group("pipeline-ends", {ranks.front(), ranks.back()}));
    ends_ = groups_.back().get();
  }
}

// In the order of their making, as all ranks do it: NCCL waits for the peer, which must not end another group first.
PipelineChannels::~PipelineChannels() {
  for (std::unique_ptr<Communicator>& group : groups_) group.reset();
}

void PipelineChannels::finish() {
  activations_out_.finish();
  gradients_out_.finish();
}

Communicator& PipelineChannels::ends() const {
  RT_CHECK(ends_ != nullptr, "the ends of a pipeline, asked for on a rank between them");
  return *ends_;
}

}  // namespace ringtron
