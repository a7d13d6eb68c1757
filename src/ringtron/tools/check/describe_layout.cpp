#include "ringtron/tools/check/describe_layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/text.h"
#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/config/size_limits.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/modules/layer_options.h"

namespace ringtron {
namespace {

constexpr std::size_t kShownGroups = 8, kShownParts = 16, kShownRanges = 4;
constexpr std::size_t kGroupColumns = 100;  // of one line
constexpr int kShownRanks = 16;
constexpr std::size_t kShownSizes = 8;  // of a global batch that changes

struct GroupKind {
  AxisSet axes;
  const char* use;
};

const GroupKind kKinds[] = {
    {Axis::data | Axis::context, "sum gradients"},
    {Axis::data, "share out samples"},
    {Axis::context, "share a sequence"},
    {Axis::tensor | Axis::pipeline, "hold one replica's weights"},
    {Axis::tensor, "share each weight matrix"},
    {Axis::pipeline, "hold the stages of the model"},
    {Axis::tensor | Axis::data | Axis::context, "everything but stages"},
    {Axis::tensor | Axis::data, "share weights and samples"},
    {Axis::tensor | Axis::context, "share a sequence and weights"},
};

std::string group_line(const std::string& name, const std::vector<std::vector<int>>& groups, const char* use) {
  std::string members;
  std::size_t shown = 0;
  while (shown < std::min(groups.size(), kShownGroups)) {
    const std::string next = ranks_text(groups[shown]) + " ";
    if (shown > 0 && members.size() + next.size() > kGroupColumns) break;
    members += next;
    ++shown;
  }
  if (shown < groups.size()) members += fmt::format("... {} more ", groups.size() - shown);
  if (groups.front().size() == 1) members = "each rank alone ";
  return fmt::format("{:<10} {:>5} of {:<5} {} ({})", name, groups.size(), groups.front().size(), members, use);
}

std::string ranges_text(const std::vector<PositionRange>& ranges) {
  if (ranges.empty()) return "none";
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < std::min(ranges.size(), kShownRanges); ++i) {
    parts.push_back(fmt::format("{}-{}", ranges[i].begin, ranges[i].end - 1));
  }
  if (ranges.size() > kShownRanges) parts.push_back(fmt::format("... {} more", ranges.size() - kShownRanges));
  return join(parts, " ");
}

}  // namespace

std::string ranks_text(const std::vector<int>& ranks) {
  std::vector<std::string> parts;
  std::size_t i = 0;
  while (i < ranks.size() && parts.size() < kShownParts) {
    std::size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    if (end - i > 2) {
      parts.push_back(fmt::format("{}-{}", ranks[i], ranks[end - 1]));
      i = end;
    } else {
      parts.push_back(std::to_string(ranks[i++]));
    }
  }
  if (i < ranks.size()) parts.push_back(fmt::format("... {} more", ranks.size() - i));
  return "{" + join(parts, ",") + "}";
}

std::string beyond_counting(const Config& given, const ResolvedConfig& config) {
  constexpr int kRanks = 1 << 20, kContextRanks = 1 << 11;
  std::vector<std::string> beyond;
  if (config.world_size() > kRanks) beyond.push_back(fmt::format("ranks {} (at most {})", config.world_size(), kRanks));
  if (config->parallel.context_parallel_size > kContextRanks) {
    beyond.push_back(
        fmt::format("--context-parallel-size {} (at most {})", config->parallel.context_parallel_size, kContextRanks));
  }
  for (std::string& size : sizes_beyond_limits(given, config)) beyond.push_back(std::move(size));
  return join(beyond, ", ");
}

Lines describe_groups(const ProcessGrid& grid, const std::vector<int>& hierarchical_sizes) {
  Lines lines;
  for (const GroupKind& kind : kKinds) {
    lines.push_back(group_line(to_string(kind.axes), grid.groups(kind.axes), kind.use));
    if (!(kind.axes == AxisSet(Axis::context))) continue;
    for (std::size_t level = 0; level < hierarchical_sizes.size(); ++level) {
      const int l = static_cast<int>(level);
      lines.push_back(group_line(fmt::format("cp level {}", l), grid.hierarchical_context_groups(hierarchical_sizes, l),
                                 l == 0 ? "share heads" : "pass keys and values"));
    }
  }
  return lines;
}

SequenceLayout sample_layout(const ResolvedConfig& config) {
  const ParallelConfig& p = config->parallel;
  const AttentionMask masks[] = {sample_mask(config)};
  return make_layout(p.cp_layout, masks, p.context_parallel_size,
                     p.sequence_parallel ? p.tensor_model_parallel_size : 1);
}

Lines describe_sequence(const ResolvedConfig& config) {
  const AttentionMask masks[] = {sample_mask(config)};
  const SequenceLayout layout = sample_layout(config);
  const double area = static_cast<double>(masks[0].area());
  Lines lines = {fmt::format("{} positions, layout {}: cp rank, positions, tokens, share of attention",
                             layout.sequence_length(), layout.name())};
  for (int rank = 0; rank < std::min(layout.ranks(), kShownRanks); ++rank) {
    double own = 0;
    for (const PositionRange& range : layout.of(rank)) own += static_cast<double>(masks[0].area(range));
    lines.push_back(fmt::format("{:>5}  {:<28} {:>8} {:>7.2f}%", rank, ranges_text(layout.of(rank)),
                                layout.local_length(rank), 100.0 * own / area));
  }
  if (layout.ranks() > kShownRanks) lines.push_back(fmt::format("  ... {} more", layout.ranks() - kShownRanks));
  return lines;
}

Lines describe_batch(const ResolvedConfig& config, int data_parallel_size) {
  const std::int64_t global = config->batch.global_batch_size, micro = config->batch.micro_batch_size;
  const std::int64_t at_once = micro * data_parallel_size;
  if (at_once == 0 || global % at_once != 0) return {"not known: see the faults"};
  Lines lines = {
      fmt::format("{} sequences a step = micro-batch {} x data-parallel {} x {} micro-batches; {} tokens a step",
                  global, micro, data_parallel_size, global / at_once, global * config->model.seq_length)};
  const auto result = try_batch_schedule(config->batch, config->model.seq_length);
  const auto* schedule = std::get_if<BatchSchedule>(&result);
  if (schedule == nullptr || schedule->parts().size() == 1) return lines;
  lines.front() += "; so at the end, and in what follows";
  const auto parts = schedule->parts();
  for (const BatchSchedule::Part& part : parts.first(std::min<std::size_t>(parts.size(), kShownSizes))) {
    lines.push_back(fmt::format("  from sample {} on {} a step: {} micro-batches", part.first_sample, part.batch,
                                part.batch / at_once));
  }
  if (parts.size() > kShownSizes) lines.push_back(fmt::format("  ... {} more", parts.size() - kShownSizes));
  lines.push_back(fmt::format("  {} steps in all", schedule->steps_of(config->batch.train_samples)));
  return lines;
}

}  // namespace ringtron
