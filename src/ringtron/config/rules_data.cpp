// Rules over data sources, tokenizer and checkpoints.
#include <fmt/format.h>

#include <set>
#include <string>

#include "ringtron/base/text.h"
#include "ringtron/choices/choices.h"
#include "ringtron/config/rule.h"

namespace ringtron::internal {
namespace {

using In = const RuleInput&;

const DataConfig& data(In in) { return in.given.data; }
const CheckpointConfig& checkpoint(In in) { return in.given.checkpoint; }
const EvaluationConfig& evaluation(In in) { return in.given.evaluation; }

bool has_split_paths(In in) {
  return !data(in).train_data_path.empty() || !data(in).valid_data_path.empty() || !data(in).test_data_path.empty();
}

std::string repeated_name(In in) {
  std::set<std::string> seen;
  for (const std::string& name : evaluation(in).validation_set_names) {
    if (!seen.insert(name).second) return name;
  }
  return {};
}

int sources(In in) { return int{!data(in).data_path.empty()} + has_split_paths(in) + data(in).mock_data; }

// One to three numbers with separators between them, not all 0. Megatron picks the numbers out of any text.
bool is_split(const std::string& text) {
  std::string spaced = text;
  for (char& c : spaced) c = c == ',' || c == '/' ? ' ' : c;
  int count = 0;
  double sum = 0;
  for (const std::string& part : split(spaced, ' ')) {
    if (part.empty()) continue;
    if (part.find_first_not_of("0123456789.") != std::string::npos ||
        part.find_first_of("0123456789") == std::string::npos)
      return false;
    if (part.find('.') != part.rfind('.')) return false;
    sum += std::stod(part);
    ++count;
  }
  return count >= 1 && count <= 3 && sum > 0;
}

constexpr Rule kRules[] = {
    {"--data-path --train-data-path --valid-data-path --test-data-path --mock-data --data-args-path "
     "--per-split-data-args-path",
     [](In in) { return sources(in) > 1; },
     [](In in) {
       return fmt::format(
           "data: expected exactly one source of --data-path, --train-data-path (with --valid- and "
           "--test-data-path) and --mock-data, got {}",
           sources(in));
     },
     "give one"},
    {"--split --train-data-path --valid-data-path --test-data-path",
     [](In in) { return has_split_paths(in) && !data(in).split.empty(); },
     [](In) {
       return std::string(
           "--split: expected none with --train-, --valid- or --test-data-path, which are used "
           "whole");
     },
     "leave out --split"},
    {"--split", [](In in) { return !data(in).split.empty() && !is_split(in.filled.data.split); },
     [](In in) {
       return fmt::format("--split: expected up to three shares such as 99,1,0, got '{}'", excerpt(data(in).split));
     },
     "give training, validation and test shares, not all 0"},
    {"--multiple-validation-sets --valid-data-path",
     [](In in) { return evaluation(in).multiple_validation_sets && data(in).valid_data_path.empty(); },
     [](In in) {
       return fmt::format(
           "--multiple-validation-sets: expected --valid-data-path, each corpus of which is a set, got {}",
           data(in).mock_data            ? "--mock-data"
           : !data(in).data_path.empty() ? "--data-path, whose validation part is one set"
                                         : "none");
     },
     "give --train-data-path and --valid-data-path A B ..., or leave it out"},
    {"--validation-set-names --multiple-validation-sets",
     [](In in) { return !evaluation(in).validation_set_names.empty() && !evaluation(in).multiple_validation_sets; },
     [](In) { return std::string("--validation-set-names requires --multiple-validation-sets"); }, "give both"},
    {"--validation-set-names", [](In in) { return !repeated_name(in).empty(); },
     [](In in) {
       return fmt::format("--validation-set-names: expected another name for each set, got {} twice",
                          excerpt(repeated_name(in)));
     },
     "their losses would stand under one name"},
    {"--full-validation --mock-data", [](In in) { return evaluation(in).full_validation && data(in).mock_data; },
     [](In) { return std::string("--full-validation: expected a validation set with an end, got --mock-data"); },
     "use --eval-iters"},
    {"--tokenizer-type --vocab-file --merge-file",
     [](In in) {
       return data(in).tokenizer_type == TokenizerType::gpt2_bpe &&
              (data(in).vocab_file.empty() || data(in).merge_file.empty());
     },
     [](In in) {
       return fmt::format("--tokenizer-type GPT2BPETokenizer: expected --vocab-file and --merge-file, {} missing",
                          !data(in).vocab_file.empty()   ? "--merge-file is"
                          : !data(in).merge_file.empty() ? "--vocab-file is"
                                                         : "both are");
     },
     "give the tokenizer's files, or --tokenizer-type NullTokenizer --vocab-size N"},
    {"--tokenizer-type --tokenizer-model",
     [](In in) { return needs_tokenizer_model(data(in).tokenizer_type) && data(in).tokenizer_model.empty(); },
     [](In in) {
       return fmt::format("--tokenizer-type {}: expected --tokenizer-model, got none",
                          word_of(data(in).tokenizer_type));
     },
     "give the tokenizer's file (tokenizer.model; the folder of tokenizer.json; the vocabulary of tiktoken)"},
    {"--tokenizer-type --vocab-size",
     [](In in) { return data(in).tokenizer_type == TokenizerType::null && data(in).vocab_size == 0; },
     [](In) { return std::string("--tokenizer-type NullTokenizer: expected --vocab-size, got none"); },
     "give the number of token ids"},
    {"--save --save-interval", [](In in) { return !checkpoint(in).save.empty() && checkpoint(in).save_interval == 0; },
     [](In) { return std::string("--save: expected --save-interval as well, got none"); },
     "give the number of steps between checkpoints"},
    {"--save-retain-interval --save-interval",
     [](In in) {
       const CheckpointConfig& c = checkpoint(in);
       return c.save_interval > 0 && c.save_retain_interval % c.save_interval != 0;
     },
     [](In in) {
       return fmt::format("--save-retain-interval: expected a multiple of --save-interval {}, got {}",
                          checkpoint(in).save_interval, checkpoint(in).save_retain_interval);
     },
     "no other iteration is saved"},
    {"--ckpt-step --load", [](In in) { return checkpoint(in).ckpt_step > 0 && checkpoint(in).load.empty(); },
     [](In in) { return fmt::format("--ckpt-step {}: expected --load, got none", checkpoint(in).ckpt_step); },
     "name the folder to load from"},
    {"--exit-on-missing-checkpoint --load --pretrained-checkpoint",
     [](In in) { return checkpoint(in).exit_on_missing_checkpoint && checkpoint(in).load.empty(); },
     [](In) { return std::string("--exit-on-missing-checkpoint: expected --load, got none"); },
     "name the folder to load from"},
};

}  // namespace

std::span<const Rule> data_rules() { return kRules; }

}  // namespace ringtron::internal
