#include "ringtron/tools/demo/cp_demo.h"

#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/result_line.h"
#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/tools/demo/cp_demo_parts.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/start_up/before_rendezvous.h"

namespace ringtron {
namespace {

constexpr const char* kHelp = R"(cp_demo_minimal [flags of pretrain_gpt]

A small transformer block under tensor, sequence and context parallelism, compared with one process.

  ringrun --nproc-per-node 8 cp_demo_minimal                          TP 2 x CP 4, the ring
  ringrun --nproc-per-node 4 cp_demo_minimal --cp-comm-type a2a --tensor-model-parallel-size 1
  cp_demo_minimal                                                     one process

Runs in fp64; with --bf16 or --fp16 in that type, compared more loosely. On GPUs over NCCL, elsewhere over Gloo.
Defaults: TP 2 where there are four ranks or more and an even number, CP all the rest; --sequence-parallel,
--num-layers 2 --hidden-size 64 --num-attention-heads 8 --seq-length 128 --micro-batch-size 2, rotary positions, no
dropout. All flags: pretrain_gpt --help; those of documents and learned positions are refused, verify_cp is for them.

Exit code: 0 when everything is right, 1 when something is not, 2 for a bad command line.
)";

class Defaults {
 public:
  explicit Defaults(std::vector<std::string> words) : words_(std::move(words)), given_(parse_flags(words_)) {}

  bool has(const std::string& name) const {
    const auto& names = given_.line.set_names;
    return std::find(names.begin(), names.end(), name) != names.end();
  }
  const Config& given() const { return given_.line.config; }
  void add(const std::string& name, std::vector<std::string> values = {}) {
    if (has(name)) return;
    words_.push_back(name);
    words_.insert(words_.end(), values.begin(), values.end());
  }
  void add(const std::string& name, int value) { add(name, std::vector<std::string>{std::to_string(value)}); }
  const std::vector<std::string>& words() const { return words_; }

 private:
  std::vector<std::string> words_;
  ParsedFlags given_;
};

// What divides nothing is left to the rules, which say so.
void divide_ranks(Defaults& line, int ranks) {
  const bool has_tp = line.has("--tensor-model-parallel-size"), has_cp = line.has("--context-parallel-size");
  const ParallelConfig& given = line.given().parallel;
  int tp = given.tensor_model_parallel_size;
  if (!has_tp) tp = has_cp ? std::max(1, ranks / given.context_parallel_size) : ranks >= 4 && ranks % 2 == 0 ? 2 : 1;
  line.add("--tensor-model-parallel-size", tp);
  line.add("--context-parallel-size", std::max(1, ranks / tp));
  if (tp > 1) line.add("--sequence-parallel");
}

std::vector<std::string> with_defaults(std::span<const std::string> arguments, int ranks) {
  Defaults line({arguments.begin(), arguments.end()});
  divide_ranks(line, ranks);
  line.add("--num-layers", 2);
  line.add("--hidden-size", 64);
  line.add("--num-attention-heads", 8);
  line.add("--seq-length", 128);
  const int length = line.given().model.seq_length;
  line.add("--max-position-embeddings", length > 0 ? length : 128);
  line.add("--micro-batch-size", 2);
  line.add("--position-embedding-type", {"rope"});
  line.add("--hidden-dropout", 0);
  line.add("--attention-dropout", 0);
  if (!line.has("--bf16") && !line.has("--fp16")) line.add("--fp64");
  // A training run needs these; the demonstration does not.
  line.add("--train-iters", 1);
  line.add("--lr", {"1e-3"});
  line.add("--mock-data");
  line.add("--tokenizer-type", {"NullTokenizer"});
  line.add("--vocab-size", 100);
  return line.words();
}

// Positions here are those of the rotary table over one document, and there is no embedding.
void refuse_ineffective_flags(const Config& config) {
  std::vector<std::string> without_effect;
  if (config.data.reset_attention_mask) without_effect.emplace_back("--reset-attention-mask");
  if (config.data.reset_position_ids) without_effect.emplace_back("--reset-position-ids");
  if (config.model.position_embedding_type == PositionEmbedding::learned_absolute)
    without_effect.emplace_back("--position-embedding-type learned_absolute");
  if (without_effect.empty()) return;
  throw ConfigError(
      fmt::format("{}: expected a flag of the transformer block, got one of data or embedding, which cp_demo_minimal "
                  "does not run. Use verify_cp, which compares whole training steps",
                  join(without_effect, ", ")));
}

int show_all(const Job& job) {
  bool right = true;
  for (const auto& part : {show_groups, show_block, show_exchange}) right = part(job) && right;
  const bool all_right = agree_max(job.world(), right ? 0 : 1) == 0;
  if (job.is_first_rank()) print_result(fmt::format("\ncp_demo_minimal: {}", all_right ? "PASS" : "FAIL"));
  return all_right ? kExitOk : kExitFailure;
}

}  // namespace

int cp_demo(std::span<const std::string> arguments, const LaunchEnvironment& environment) {
  ParseResult parsed;
  before_rendezvous(environment, [&] {
    parsed = parse_command_line(with_defaults(arguments, environment.world_size), environment.world_size);
    if (const auto* line = std::get_if<CommandLine>(&parsed)) refuse_ineffective_flags(line->config);
  });
  if (std::holds_alternative<HelpText>(parsed)) {
    if (environment.rank == 0) print_result(kHelp);
    return kExitOk;
  }
  const auto& line = std::get<CommandLine>(parsed);
  if (environment.rank == 0) {
    for (const Notice& notice : line.notices) {
      if (notice.kind == Notice::Kind::warning) warn_line(notice.text);
    }
  }
  return show_all(Job(line.config, environment));
}

}  // namespace ringtron
