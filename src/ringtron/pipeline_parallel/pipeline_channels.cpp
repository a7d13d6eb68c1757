#include "ringtron/pipeline_parallel/pipeline_channels.h"

#include <fmt/format.h>

#include "ringtron/base/check.h"

namespace ringtron {
PipelineChannels::PipelineChannels(const ParallelState& parallel, const PipelineShape& shape, at::Device device) {
  const int size = parallel.pp_size(), rank = parallel.pp_rank();
  const auto most = static_cast<std::size_t>(shape.most_sends());
  if (size == 1) return;
  const std::vector<int> ranks = parallel.grid().group_of(parallel.rank(), Axis::pipeline);
  // Every rank connects with its two neighbours in the order of the stages, so that none waits in a circle.
  // From the last to the first there are messages of several chunks alone.
  for (int from = 0; from < (shape.chunks > 1 ? size : size - 1); ++from) {
    const int to = (from + 1) % size;
    if (rank != from && rank != to) continue;
    const auto connect = [&](const char* what, int sender, int receiver, std::optional<MessageSender>& out,
                             std::optional<MessageReceiver>& in) {
      groups_.push_back(
          parallel.make_group(fmt::format("pipeline-{}-of-stage-{}", what, from),
                              {ranks[static_cast<std::size_t>(sender)], ranks[static_cast<std::size_t>(receiver)]}));
      Communicator& group = *groups_.back();
      const MessageWay way = connect_messages(group, device);
      if (rank == sender)
        out.emplace(group, way, most);
      else
        in.emplace(group, way, device);
    };
    connect("activations", from, to, activations_out_, activations_in_);
    connect("gradients", to, from, gradients_out_, gradients_in_);
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
  for (std::optional<MessageSender>* out : {&activations_out_, &gradients_out_})
    if (*out) (*out)->finish();
}

Communicator& PipelineChannels::ends() const {
  RT_CHECK(ends_ != nullptr, "the ends of a pipeline, asked for on a rank between them");
  return *ends_;
}

}  // namespace ringtron
