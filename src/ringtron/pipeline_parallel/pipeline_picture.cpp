#include "ringtron/pipeline_parallel/pipeline_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

using Kind = Instruction::Kind;

int duration(Kind kind, const PipelineShape& shape) {
  return kind == Kind::backward && !shape.splits_backward() ? 2 : 1;
}

bool is_work(Kind kind) { return kind == Kind::forward || kind == Kind::backward || kind == Kind::weight_gradient; }

// Forwards, backwards and weight gradients by micro-batch and virtual stage, with the time at which they end.
class Ends {
 public:
  explicit Ends(const PipelineShape& shape) : shape_(shape) {}

  // When what `work` of `rank` needs is there; nothing while it has not run.
  std::optional<int> ready(const Instruction& work, int rank) const {
    const int stage = shape_.virtual_stage(rank, work.chunk);
    if (work.kind == Kind::weight_gradient) return end_of({work.micro_batch, stage, Kind::backward});
    if (work.kind == Kind::forward) return stage == 0 ? 0 : end_of({work.micro_batch, stage - 1, Kind::forward});
    if (stage + 1 < shape_.virtual_stages()) return end_of({work.micro_batch, stage + 1, Kind::backward});
    return end_of({work.micro_batch, stage, Kind::forward});
  }

  void note(const Instruction& work, int rank, int end) {
    ends_[{work.micro_batch, shape_.virtual_stage(rank, work.chunk), work.kind}] = end;
  }

 private:
  using Key = std::tuple<int, int, Kind>;
  std::optional<int> end_of(const Key& key) const {
    const auto found = ends_.find(key);
    return found == ends_.end() ? std::nullopt : std::optional(found->second);
  }

  const PipelineShape shape_;
  std::map<Key, int> ends_;
};

std::string label(const Instruction& work, const PipelineShape& shape) {
  std::string text = fmt::format("{}", work.micro_batch);
  if (shape.chunks > 1) text += static_cast<char>('a' + work.chunk % 26);
  return text;
}

int columns(const PipelineShape& shape) {  // of one unit of time
  const auto longest =
      static_cast<int>(label({Kind::forward, shape.micro_batches - 1, shape.chunks - 1}, shape).size());
  return longest + (shape.splits_backward() ? 3 : 1);
}

}  // namespace

double PipelineTimes::waiting() const {
  double busy = 0;
  for (const auto& pieces : ranks) {
    for (const Piece& piece : pieces) busy += piece.end - piece.begin;
  }
  return end == 0 ? 0.0 : 1.0 - busy / (static_cast<double>(end) * static_cast<double>(ranks.size()));
}

PipelineTimes pipeline_times(const ScheduleOfRank& lists, const PipelineShape& shape) {
  PipelineTimes times;
  std::vector<std::vector<Instruction>> left;
  for (int rank = 0; rank < shape.stages; ++rank) {
    left.push_back(lists(rank));
    std::erase_if(left.back(), [](const Instruction& one) { return !is_work(one.kind); });
  }
  times.ranks.resize(left.size());
  Ends ends(shape);
  for (bool moves = true; moves;) {
    moves = false;
    for (int rank = 0; rank < shape.stages; ++rank) {
      auto& done = times.ranks[static_cast<std::size_t>(rank)];
      const auto& list = left[static_cast<std::size_t>(rank)];
      while (done.size() < list.size()) {
        const Instruction& next = list[done.size()];
        const std::optional<int> ready = ends.ready(next, rank);
        if (!ready) break;
        const int begin = std::max(*ready, done.empty() ? 0 : done.back().end);
        done.push_back({next, begin, begin + duration(next.kind, shape)});
        ends.note(next, rank, done.back().end);
        times.end = std::max(times.end, done.back().end);
        moves = true;
      }
    }
  }
  for (std::size_t rank = 0; rank < left.size(); ++rank)
    RT_CHECK_EQ(times.ranks[rank].size(), left[rank].size(), "instructions that a pipeline could run");
  return times;
}

std::vector<std::string> draw(const PipelineTimes& times, const PipelineShape& shape) {
  const int width = columns(shape);
  std::vector<std::string> lines;
  for (const auto& pieces : times.ranks) {
    std::string line;
    int at = 0;
    const auto wait_until = [&](int begin) {
      for (; at < begin; ++at) line += fmt::format("{:>{}}", ".", width);
    };
    for (const PipelineTimes::Piece& piece : pieces) {
      wait_until(piece.begin);
      const std::string text = label(piece.work, shape);
      const int inside = (piece.end - piece.begin) * width - 3;
      if (piece.work.kind == Kind::forward) line += fmt::format("{:>{}}", text, width);
      if (piece.work.kind == Kind::backward) line += fmt::format(" [{:-^{}}]", text, inside);
      if (piece.work.kind == Kind::weight_gradient) line += fmt::format(" ({:-^{}})", text, inside);
      at = piece.end;
    }
    wait_until(times.end);
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace ringtron
