#include "ringtron/config/pipeline/stage_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <limits>
#include <string_view>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr std::size_t kLongestLayout = std::size_t{1} << 20;  // of one that repeats itself

StageSplit wrong(std::string fault) { return {{}, std::move(fault)}; }

// Layers of each virtual stage, counted as whole layers.
StageSplit of_counts(const std::vector<int>& counts) {
  StageSplit split;
  int first = 0;
  for (const int count : counts) {
    split.stages.push_back({first, count, split.stages.empty(), false});
    first += count;
  }
  split.stages.back().output = true;
  return split;
}

// The layout without repetitions and commas: "E(t|)*2,L" is "Et|t|L". Nothing and a fault where it cannot be read.
std::string unrolled(std::string_view layout, std::string& fault) {
  std::string out;
  std::size_t group = std::string::npos;  // where an open group begins in `out`
  std::size_t item = std::string::npos;   // where what a * would repeat begins in `out`
  for (std::size_t i = 0; i < layout.size(); ++i) {
    const char c = layout[i];
    if (c == ',' || c == ' ') continue;
    if (c == '(') {
      if (group != std::string::npos) return fault = "a group within a group", "";
      group = out.size();
      item = std::string::npos;
    } else if (c == ')') {
      if (group == std::string::npos) return fault = "a ) without its (", "";
      item = group;
      group = std::string::npos;
    } else if (c == '*') {
      std::size_t end = i + 1;
      int times = 0;
      for (; end < layout.size() && std::isdigit(static_cast<unsigned char>(layout[end])) != 0; ++end)
        times = std::min(times * 10 + (layout[end] - '0'), static_cast<int>(kLongestLayout) + 1);
      if (item == std::string::npos || times == 0) return fault = "a * that repeats nothing, or no times", "";
      const std::string piece = out.substr(item);
      if (out.size() + piece.size() * static_cast<std::size_t>(times) > kLongestLayout)
        return fault = "more than a million letters", "";
      for (int k = 1; k < times; ++k) out += piece;
      item = std::string::npos;
      i = end - 1;
    } else if (c == 'E' || c == 't' || c == 'L' || c == '|') {
      item = out.size();
      out += c;
    } else if (c == 'm') {
      return fault = "m (multi-token prediction), which is not built", "";
    } else {
      return fault = fmt::format("'{}'", c), "";
    }
  }
  if (group != std::string::npos) return fault = "a ( without its )", "";
  return out;
}

StageSplit of_layout(const ParallelConfig& parallel, const ModelConfig& model) {
  const auto refuse = [&](const std::string& got) {
    return wrong(
        fmt::format("--pipeline-model-parallel-layout: expected E (embedding), t (layer), L (loss) and | "
                    "between stages, with (...)*n to repeat, got {} in {}",
                    got, parallel.pipeline_model_parallel_layout));
  };
  std::string fault;
  const std::string letters = unrolled(parallel.pipeline_model_parallel_layout, fault);
  if (!fault.empty()) return refuse(fault);
  std::vector<std::string> pieces = split(letters, '|');
  const int ranks = parallel.pipeline_model_parallel_size;
  if (pieces.size() % static_cast<std::size_t>(ranks) != 0) {
    return refuse(
        fmt::format("{} stages, which --pipeline-model-parallel-size {} does not divide,", pieces.size(), ranks));
  }
  const auto layers = std::ranges::count(letters, 't');
  if (layers != model.num_layers)
    return refuse(fmt::format("{} layers, where the model has {},", layers, model.num_layers));
  if (letters.empty() || letters.front() != 'E' || std::ranges::count(letters, 'E') != 1)
    return refuse("no single E as the first letter");
  if (letters.back() != 'L' || std::ranges::count(letters, 'L') != 1) return refuse("no single L as the last letter");
  if (ranks == 1) return of_counts({model.num_layers});
  std::vector<int> counts;
  for (const std::string& piece : pieces) counts.push_back(static_cast<int>(std::ranges::count(piece, 't')));
  return of_counts(counts);
}

// Virtual stages of each rank; 0 and a fault in `out` where they cannot be.
int virtual_stages(const ParallelConfig& p, int layers_of_rank, StageSplit& out) {
  if (p.num_virtual_stages_per_pipeline_rank > 0) return p.num_virtual_stages_per_pipeline_rank;
  const int of_stage = p.num_layers_per_virtual_pipeline_stage;
  if (of_stage == 0) return 1;
  if (layers_of_rank % of_stage != 0) {
    out =
        wrong(fmt::format("--num-layers-per-virtual-pipeline-stage: expected a number that divides the {} layers of a "
                          "pipeline rank, got {}",
                          layers_of_rank, of_stage));
    return 0;
  }
  return layers_of_rank / of_stage;
}

}  // namespace

StageSplit split_into_stages(const ParallelConfig& p, const ModelConfig& model) {
  const int ranks = p.pipeline_model_parallel_size;
  if (!p.pipeline_model_parallel_layout.empty()) return of_layout(p, model);
  const auto most = std::int64_t{model.num_layers} + 2;  // stages: one each, and one for each end
  if (ranks > most || std::int64_t{p.num_virtual_stages_per_pipeline_rank} * ranks > most) {
    return wrong(fmt::format("expected no more pipeline stages than {} layers, got {}", model.num_layers,
                             std::int64_t{std::max(1, p.num_virtual_stages_per_pipeline_rank)} * ranks));
  }
  const int first = p.decoder_first_pipeline_num_layers, last = p.decoder_last_pipeline_num_layers;
  const int embedding = p.account_for_embedding_in_pipeline_split ? 1 : 0,
            loss = p.account_for_loss_in_pipeline_split ? 1 : 0;
  // Layers, and ends that count as one, of the ranks whose number no flag tells.
  const int fixed = (first > 0 ? 1 : 0) + (last > 0 ? 1 : 0);
  const int others = ranks - fixed;
  const std::int64_t rest = std::int64_t{model.num_layers} - first - last + embedding + loss;
  if (others < 0 || rest < 0 || (others == 0 && rest != 0)) {
    return wrong(
        fmt::format("expected first and last stages that the {} layers of {} pipeline ranks can have, got {} and {}",
                    model.num_layers, ranks, first, last));
  }
  if (others > 0 && rest % others != 0) {
    return wrong(
        fmt::format("Number of layers should be divisible by the pipeline-model-parallel size: expected {} {} that "
                    "{} ranks divide, got {}",
                    fixed > 0 ? "layers between first and last stage" : "layers",
                    embedding + loss > 0 ? "with embedding or loss counted as layers" : "in all", others, rest));
  }
  std::vector<int> of_rank(
      static_cast<std::size_t>(ranks),
      others > 0 ? static_cast<int>(std::min<std::int64_t>(rest / others, std::numeric_limits<int>::max())) : 0);
  if (first > 0) of_rank.front() = first;
  if (last > 0) of_rank.back() = last;
  StageSplit fault;
  const int chunks = virtual_stages(p, of_rank[of_rank.size() > 2 ? 1 : 0], fault);
  if (chunks == 0) return fault;
  std::vector<int> counts;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    for (const int layers : of_rank) {
      if (layers % chunks != 0) {
        return wrong(
            fmt::format("expected the layers of each pipeline rank to be divided by its {} virtual stages, got "
                        "a rank with {}",
                        chunks, layers));
      }
      counts.push_back(layers / chunks);
    }
  }
  counts.front() -= embedding;
  counts.back() -= loss;
  if (std::ranges::any_of(counts, [](int count) { return count < 0; })) {
    return wrong("expected a layer in each stage that embedding or loss can stand for, got none");
  }
  return of_counts(counts);
}

std::vector<StageRange> stages_of_rank(std::span<const StageRange> stages, int rank, int pipeline_ranks) {
  std::vector<StageRange> own;
  for (std::size_t s = static_cast<std::size_t>(rank); s < stages.size(); s += static_cast<std::size_t>(pipeline_ranks))
    own.push_back(stages[s]);
  return own;
}

}  // namespace ringtron
