#include "ringtron/tools/check/check_cp_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/shown_message.h"
#include "ringtron/config/help.h"
#include "ringtron/config/needs.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/resolved_config.h"
#include "ringtron/config/restart_notices.h"
#include "ringtron/config/validate.h"
#include "ringtron/models/process_grid_of.h"
#include "ringtron/tokenizer/tokenizer.h"
#include "ringtron/tools/check/describe_cost.h"
#include "ringtron/tools/check/describe_layout.h"
#include "ringtron/tools/check/describe_pipeline.h"
#include "ringtron/tools/check/support_table.h"
#include "ringtron/tools/take_flag.h"
#include "ringtron/train/data_config.h"

namespace ringtron {
namespace {

struct UsualVocabulary {
  std::int64_t size;
  const char* whose;
};

std::optional<UsualVocabulary> usual_vocabulary(TokenizerType type) {
  if (type == TokenizerType::gpt2_bpe) return UsualVocabulary{50257, "GPT-2's"};
  if (has_sentencepiece_model(type)) return UsualVocabulary{32000, "Llama 2's"};
  if (type == TokenizerType::hugging_face) return UsualVocabulary{128256, "Llama 3's"};
  if (type == TokenizerType::tiktoken) return UsualVocabulary{131072, "the default of TikTokenizer"};
  return std::nullopt;
}

constexpr const char* kUsage =
    R"(check_cp_config [--world-size N] FLAGS OF pretrain_gpt ...: what a command line would run, and all its faults.

Launches nothing. Prints groups, positions and work of each context-parallel rank, batches, parameters, memory and bytes
sent; then `ok`, or every fault with its fix (exit code 2). Of very large sizes only the rules are checked: `ok, but not
counted: ...`.
  --world-size N    ranks; default: the launcher's environment, else TP x CP x PP
  --support-table   print docs/support.md and end
  --help            this, and all flags of pretrain_gpt
)";

// The flags that are this program's own, taken out of the line.
struct OwnFlags {
  std::vector<std::string> rest;
  int world_size = 0;  // 0: not given
  bool support_table = false;
  std::vector<std::string> faults;
};

OwnFlags take_own_flags(std::span<const std::string> arguments) {
  OwnFlags own;
  own.rest.assign(arguments.begin(), arguments.end());
  own.support_table = std::erase(own.rest, "--support-table") > 0;
  try {
    own.world_size = take_count(own.rest, "--world-size").value_or(0);
  } catch (const ConfigError& e) {
    own.faults.emplace_back(e.what());
    std::erase_if(own.rest, [](const std::string& word) {
      return word.starts_with("--world-size") || word.starts_with("--world_size");
    });
  }
  return own;
}

class Check {
 public:
  Check(ParsedFlags parsed, const OwnFlags& own, int launched_ranks)
      : parsed_(std::move(parsed)), faults_(own.faults), world_size_(choose_world(own, launched_ranks)) {}

  CheckOutcome run() {
    const std::string vocabulary_note = find_vocabulary();
    const Resolution resolution = resolve_flags();
    config_.emplace(resolution.despite_faults());
    for (const Notice& notice : parsed_.line.notices) notices_.push_back(notice.text);
    for (const Notice& notice : resolution.notices()) notices_.push_back(notice.text);
    for (const Notice& notice : flags_without_effect(parsed_.line, config())) notices_.push_back(notice.text);
    for (const Notice& notice : restart_notices(config())) notices_.push_back(notice.text);
    note_missing_features();
    if (!vocabulary_note.empty()) note(vocabulary_note);
    print_sections();
    print_list("Notices", notices_);
    print_faults();
    return {text_, faults_.empty() ? kExitOk : kExitUsage};
  }

 private:
  const ResolvedConfig& config() const { return *config_; }

  int choose_world(const OwnFlags& own, int launched_ranks) const {
    if (own.world_size > 0) return own.world_size;
    if (launched_ranks > 0) return launched_ranks;
    const ParallelConfig& p = parsed_.line.config.parallel;
    const double product =
        1.0 * p.tensor_model_parallel_size * p.context_parallel_size * p.pipeline_model_parallel_size;
    return static_cast<int>(std::clamp<double>(product, 1, std::numeric_limits<int>::max()));
  }

  // With the faults that parse_command_line() of training collects.
  Resolution resolve_flags() {
    std::vector<std::string> reported;
    for (const FlagFault& fault : parsed_.faults) {
      faults_.push_back(fault.message);
      reported.push_back(fault.flag);
    }
    Resolution resolution = resolve(parsed_.line.config, world_size_, vocabulary_, reported);
    faults_.insert(faults_.end(), resolution.faults().begin(), resolution.faults().end());
    return resolution;
  }

  void note(std::string text) { notices_.push_back(std::move(text)); }

  void note_missing_features() {
    const auto& words = parsed_.line.config.parallel.cp_comm_type;
    if (std::find(words.begin(), words.end(), "allgather") != words.end()) {
      note("--cp-comm-type allgather is read as all_gather, its name in TransformerEngine");
    }
    if (config()->data.reset_attention_mask) {
      note(
          "--reset-attention-mask: where documents end is known from the data only; positions, shares of "
          "attention and "
          "bytes are those of samples that are one document");
    }
    for (const auto* paths : {&config()->data.data_path, &config()->data.train_data_path,
                              &config()->data.valid_data_path, &config()->data.test_data_path}) {
      for (const std::string& path : *paths) note_data(path);
    }
    note_checkpoints(config()->checkpoint);
  }

  void note_checkpoints(const CheckpointConfig& checkpoint) {
    if (checkpoint.save.empty()) note("--save is not given: no checkpoint will be written");
    if (checkpoint.load.empty()) return;
    if (!std::filesystem::exists(checkpoint.load)) note(fmt::format("--load {}: not on this machine", checkpoint.load));
  }

  // A weight, or PREFIX of PREFIX.bin and PREFIX.idx.
  void note_data(const std::string& path) {
    double weight = 0;
    const auto [end, error] = std::from_chars(path.data(), path.data() + path.size(), weight);
    if (error == std::errc() && end == path.data() + path.size()) return;
    for (const char* suffix : {".bin", ".idx"}) {
      if (std::filesystem::exists(path + suffix)) continue;
      note(fmt::format(
          "data {}: {}{} is not on this machine{}", path, path, suffix,
          std::filesystem::is_directory(path) ? ", and a folder is no data: give the PREFIX of its files" : ""));
      return;
    }
  }

  // Fills vocabulary_; where the tokenizer's files are missing it assumes, and returns a line that says so.
  std::string find_vocabulary() {
    const DataConfig& data = parsed_.line.config.data;
    try {
      vocabulary_ = tokenizer_of(data)->vocab_size();
    } catch (const std::exception& e) {
      if (data.vocab_size > 0) {
        vocabulary_ = data.vocab_size;
        return fmt::format("vocabulary: {} by --vocab-size, since the tokenizer is not there ({})", vocabulary_,
                           e.what());
      }
      if (const auto usual = usual_vocabulary(data.tokenizer_type)) {
        vocabulary_ = usual->size;
        return fmt::format("vocabulary: {} assumed, {}, since the tokenizer is not there ({})", vocabulary_,
                           usual->whose, e.what());
      }
    }
    return "";  // of NullTokenizer without a size the rules report
  }

  // What sections need beyond what their functions refuse themselves. Empty: all is there.
  std::string missing_sizes() const {
    const ModelConfig& m = config()->model;
    std::string missing;
    const auto need = [&](bool there, const char* flag) {
      if (!there) missing += missing.empty() ? flag : std::string(", ") + flag;
    };
    need(m.num_layers > 0, "--num-layers");
    need(m.hidden_size > 0, "--hidden-size");
    need(m.num_attention_heads > 0, "--num-attention-heads");
    need(m.padded_vocab_size > 0, "the vocabulary");
    return missing;
  }

  void print_sections() {
    text_ += fmt::format("{} rank{}\n\n", world_size_, world_size_ == 1 ? "" : "s");
    const int dp = config().data_parallel_size();
    const auto& levels = config()->parallel.hierarchical_context_parallel_sizes;
    if (dp > 0) text_ += start_up_line(process_grid_of(config()->parallel, world_size_), levels) + "\n\n";
    print_section("Sizes", [&] { return describe_sizes(dp); });
    print_section("Batch", [&] { return describe_batch(config(), dp); });
    print_section("Vocabulary", [&] { return describe_vocabulary(); });
    const std::string beyond = beyond_counting(parsed_.line.config, config());
    if (!beyond.empty()) {
      print_list("Not counted, since sizes are beyond the limits in brackets", {beyond});
      not_counted_ = beyond;
      return;
    }
    print_section("Groups of ranks", [&]() -> Lines {
      return dp > 0 ? describe_groups(process_grid_of(config()->parallel, world_size_), levels)
                    : Lines{"not known: the world does not divide"};
    });
    print_section("Sequence", [&] {
      return config()->model.seq_length > 0 ? describe_positions() : Lines{"not known without --seq-length"};
    });
    print_costs(dp);
  }

  Lines describe_positions() const {
    Lines lines = describe_sequence(config());
    const auto& words = config()->parallel.cp_comm_type;
    const bool chooses = std::find(words.begin(), words.end(), "auto") != words.end();
    std::string missing = chooses ? missing_sizes() : "";
    if (chooses && missing.empty() && config()->batch.micro_batch_size == 0) missing = "--micro-batch-size";
    try {
      if (!missing.empty()) throw ConfigError("auto does not choose without " + missing);
      lines.push_back(describe_balance(config()));
    } catch (const ConfigError& e) {  // a fault, which the rules report
      lines.push_back(fmt::format("largest share of attention / mean: not known: {}", e.what()));
    }
    return lines;
  }

  void print_costs(int dp) {
    const int replicas = dp * config()->parallel.context_parallel_size;
    const std::string missing = missing_sizes();
    if (config()->parallel.pipeline_model_parallel_size > 1) {
      print_section("Pipeline", [&]() -> Lines {
        const std::int64_t at_once = 1LL * config()->batch.micro_batch_size * dp;
        if (!missing.empty() || at_once == 0) return {"not known: see the faults"};
        return describe_pipeline(
            config(), static_cast<int>(std::max<std::int64_t>(1, config()->batch.global_batch_size / at_once)));
      });
    }
    print_section("Parameters", [&]() -> Lines {
      if (dp == 0) return {"not known: the world does not divide"};
      return missing.empty() ? describe_model_state(replicas) : Lines{"not known without " + missing};
    });
    print_section("Memory", [&]() -> Lines {
      if (dp == 0 || !missing.empty() || config()->model.seq_length == 0 || config()->batch.micro_batch_size == 0) {
        return {"not known: see the faults"};
      }
      return describe_memory(config());
    });
    const std::int64_t at_once = 1LL * config()->batch.micro_batch_size * dp;
    print_section("Traffic", [&] {
      if (!missing.empty() || config()->model.seq_length == 0 || at_once == 0)
        return Lines{"not known: see the faults"};
      const std::int64_t micro_batches = std::max<std::int64_t>(1, config()->batch.global_batch_size / at_once);
      return describe_traffic(config(), replicas, micro_batches);
    });
  }

  Lines describe_sizes(int dp) const {
    const ParallelConfig& p = config()->parallel;
    return {fmt::format("TP {} x CP {} x PP {} x DP {} = {} ranks, order {}", p.tensor_model_parallel_size,
                        p.context_parallel_size, p.pipeline_model_parallel_size, dp > 0 ? std::to_string(dp) : "?",
                        world_size_, p.use_tp_pp_dp_mapping ? "tp-cp-pp-dp" : "tp-cp-dp-pp")};
  }

  Lines describe_vocabulary() const {
    if (vocabulary_ == 0) return {"not known: see the faults"};
    const int padded = config()->model.padded_vocab_size;
    return {fmt::format("{} ids, padded to {} ({} dummy tokens)", vocabulary_, padded, padded - vocabulary_)};
  }

  Lines describe_model_state(int replicas) {
    Config counted = config();
    Lines lines;
    if (counted.model.position_embedding_type == PositionEmbedding::learned_absolute &&
        counted.model.max_position_embeddings == 0) {
      counted.model.max_position_embeddings = counted.model.seq_length;
      lines.push_back("counted as if --max-position-embeddings were --seq-length");
    }
    for (std::string& line : describe_parameters(resolve(counted, world_size_, vocabulary_).despite_faults(), replicas))
      lines.push_back(std::move(line));
    return lines;
  }

  // What a section cannot say because a value does not fit is a fault of the command line, told once. Sections count on
  // what the rules promise: of a line that breaks one, any check inside them may fail, and only of a right line is that
  // our fault.
  void print_section(const char* title, const std::function<Lines()>& body) {
    Lines lines;
    try {
      lines = body();
    } catch (const ConfigError& e) {
      lines = {std::string("not known: ") + e.what()};
      if (faults_.empty()) faults_.emplace_back(e.what());
    } catch (const std::exception&) {
      if (faults_.empty()) throw;
      lines = {"not known: see the faults"};
    }
    print_list(title, lines);
  }

  void print_list(const char* title, const Lines& lines) {
    if (lines.empty()) return;
    text_ += std::string(title) + "\n";
    for (const std::string& line : lines) text_ += "  " + shown_message(line) + "\n";
    text_ += "\n";
  }

  void print_faults() {
    if (faults_.empty()) {
      text_ += not_counted_.empty() ? "ok" : "ok, but not counted: " + not_counted_;
      return;
    }
    text_ += faults_.size() == 1 ? "1 fault:" : fmt::format("{} faults:", faults_.size());
    text_ += numbered(faults_);
  }

  ParsedFlags parsed_;
  std::vector<std::string> faults_;
  int world_size_;
  std::vector<std::string> notices_;
  std::optional<ResolvedConfig> config_;
  std::int64_t vocabulary_ = 0;  // 0: not known
  std::string not_counted_;      // sizes that are beyond counting; empty: all sections are there
  std::string text_;
};

}  // namespace

CheckOutcome check_cp_config(std::span<const std::string> arguments, int launched_ranks) {
  const OwnFlags own = take_own_flags(arguments);
  if (own.support_table) return {support_table_markdown(), kExitOk};
  ParsedFlags parsed = parse_flags(own.rest);
  if (parsed.help) {
    return {std::string(kUsage) + "\n" + help_text(parsed.help_topic, terminal_columns()), kExitOk};
  }
  return Check(std::move(parsed), own, launched_ranks).run();
}

}  // namespace ringtron
