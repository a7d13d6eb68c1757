#include "ringtron/pipeline_parallel/pipeline_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "ringtron/base/check.h"
#include "ringtron/pipeline_parallel/pipeline_messages.h"

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

}  // namespace

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

std::string to_string(const Instruction& instruction) {
  const auto word = [&] {
    switch (instruction.kind) {
      case Kind::forward:
        return "forward";
      case Kind::backward:
        return "backward";
      case Kind::weight_gradient:
        return "weight gradient";
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

PipelineSchedule zero_bubble(const PipelineShape& shape, int rank) {
  RT_CHECK(shape.stages > 1 && shape.chunks == 1, "zero-bubble wants several stages of one chunk each, got {} of {}",
           shape.stages, shape.chunks);
  check_rank(shape, rank);
  PipelineSchedule list;
  int made = 0;  // weight gradients
  const auto weight_gradient = [&] { list.push_back({Kind::weight_gradient, made++, 0}); };
  for (const Instruction& one : one_forward_one_backward(shape, rank)) {
    list.push_back(one);
    if (one.kind == Kind::backward && one.micro_batch >= rank) weight_gradient();
  }
  while (made < shape.micro_batches) weight_gradient();
  return list;
}

PipelineSchedule training_schedule(const PipelineShape& shape, int rank) {
  if (shape.stages == 1) return one_forward_one_backward(shape, rank);
  switch (shape.schedule) {
    case PipelineScheduleKind::one_forward_one_backward:
      return shape.chunks > 1 ? interleaved(shape, rank) : one_forward_one_backward(shape, rank);
    case PipelineScheduleKind::gpipe:
      return gpipe(shape, rank);
    case PipelineScheduleKind::zero_bubble:
      return zero_bubble(shape, rank);
  }
  RT_CHECK(false, "a pipeline schedule of no name");
}

int most_in_flight(const PipelineShape& shape, int rank) {
  if (shape.stages == 1) return shape.chunks;
  if (shape.schedule == PipelineScheduleKind::gpipe) return shape.micro_batches * shape.chunks;
  if (shape.schedule == PipelineScheduleKind::zero_bubble) return std::min(shape.stages, shape.micro_batches);
  if (shape.chunks == 1) return std::min(shape.stages - rank, shape.micro_batches);
  const std::int64_t ahead = 2 * (shape.stages - 1 - rank) + std::int64_t{shape.chunks - 1} * shape.group_size();
  return static_cast<int>(std::min(ahead + 1, std::int64_t{shape.micro_batches} * shape.chunks));
}

int most_left(const PipelineShape& shape, int rank) {
  return shape.splits_backward() ? std::min(rank + 1, shape.micro_batches) : 0;
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

}  // namespace ringtron
