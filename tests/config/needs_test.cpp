// Each flag that has no effect without another one says so, in one line; what equals its default does not.
#include "ringtron/config/needs.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "ringtron/config/option.h"
#include "ringtron/config/validate.h"
#include "tests/config/example_flags.h"

namespace ringtron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> told(const std::vector<std::string>& words) {
  const ParsedFlags parsed = parse_flags(words);
  EXPECT_THAT(parsed.faults, IsEmpty());
  std::vector<std::string> texts;
  for (const Notice& notice :
       flags_without_effect(parsed.line, fill_defaults(parsed.line.config, kExample1Ranks).config)) {
    EXPECT_EQ(notice.kind, Notice::Kind::warning);
    texts.push_back(notice.text);
  }
  return texts;
}

// `with` has no effect in a line without `without`; with `mended` behind it, it has.
struct NeedCase {
  std::string without, with, message, mended;
};

const NeedCase kCases[] = {
    {"--save", "", "--save-interval has no effect without --save: no checkpoint will be saved", "--save a"},
    {"", "--rotary-base 500000", "--rotary-base has no effect without --position-embedding-type rope",
     "--use-rotary-position-embeddings"},
    {"", "--rotary-percent 0.5", "--rotary-percent has no effect without --position-embedding-type rope",
     "--position-embedding-type rope"},
    {"", "--rotary-interleaved", "--rotary-interleaved has no effect", "--position-embedding-type rope"},
    {"", "--rotary-seq-len-interpolation-factor 2", "--rotary-seq-len-interpolation-factor has no effect",
     "--position-embedding-type rope"},
    {"", "--rotary-scaling-factor 4", "--rotary-scaling-factor has no effect without --position-embedding-type yarn",
     "--position-embedding-type yarn"},
    {"", "--yarn-original-max-position-embeddings 8192",
     "--yarn-original-max-position-embeddings has no effect without --position-embedding-type yarn",
     "--position-embedding-type yarn"},
    {"", "--yarn-beta-fast 24", "--yarn-beta-fast has no effect without --position-embedding-type yarn",
     "--position-embedding-type yarn"},
    {"", "--yarn-beta-slow 2", "--yarn-beta-slow has no effect without --position-embedding-type yarn",
     "--position-embedding-type yarn"},
    {"", "--mscale 0.5", "--mscale has no effect without --position-embedding-type yarn",
     "--position-embedding-type yarn"},
    {"", "--mscale-all-dim 0.5", "--mscale-all-dim has no effect without --position-embedding-type yarn",
     "--position-embedding-type yarn"},
    {"", "--no-yarn-correction-range-round-to-int",
     "--no-yarn-correction-range-round-to-int has no effect without --position-embedding-type yarn",
     "--position-embedding-type yarn"},
    {"", "--rope-scaling-factor 4", "--rope-scaling-factor has no effect without --use-rope-scaling",
     "--position-embedding-type rope --use-rope-scaling"},
    {"", "--num-query-groups 8", "--num-query-groups has no effect without --group-query-attention",
     "--group-query-attention"},
    {"", "--make-vocab-size-divisible-by 64 --padded-vocab-size 51200",
     "--make-vocab-size-divisible-by has no effect with --padded-vocab-size", ""},
    {"--min-lr", "--lr-decay-style constant --min-lr 1e-6", "--min-lr has no effect with --lr-decay-style constant",
     "--lr-decay-style cosine"},
    {"--min-lr", "--lr-decay-style constant --lr-decay-iters 9",
     "--lr-decay-iters has no effect with --lr-decay-style constant", "--lr-warmup-fraction 0.1"},
    {"--min-lr", "--lr-decay-style constant --lr-decay-samples 9",
     "--lr-decay-samples has no effect with --lr-decay-style constant", "--lr-decay-style linear"},
    {"--adam-beta2", "--sgd-momentum 0.8", "--sgd-momentum has no effect without --optimizer sgd", "--optimizer sgd"},
    {"", "--muon-momentum 0.95", "--muon-momentum has no effect without --optimizer muon", "--optimizer muon"},
    {"", "--muon-nesterov", "--muon-nesterov has no effect without --optimizer muon", "--optimizer muon"},
    {"", "--muon-no-split-qkv", "--muon-no-split-qkv has no effect without --optimizer muon", "--optimizer muon"},
    {"", "--muon-scale-mode unit_rms_norm", "--muon-scale-mode has no effect", "--optimizer muon"},
    {"", "--muon-extra-scale-factor 0.2", "--muon-extra-scale-factor has no effect", "--optimizer muon"},
    {"", "--muon-coefficient-type aol", "--muon-coefficient-type has no effect", "--optimizer muon"},
    {"", "--muon-num-ns-steps 6", "--muon-num-ns-steps has no effect", "--optimizer muon"},
    {"", "--muon-fp32-matmul-prec high", "--muon-fp32-matmul-prec has no effect", "--optimizer muon"},
    {"", "--muon-tp-mode distributed", "--muon-tp-mode has no effect", "--optimizer muon"},
    {"--adam-beta2", "--adam-eps 1e-7 --optimizer sgd", "--adam-eps has no effect with --optimizer sgd",
     "--optimizer muon"},
    {"--adam-beta2", "--adam-beta1 0.8 --optimizer sgd", "--adam-beta1 has no effect with --optimizer sgd",
     "--optimizer adam"},
    {"--adam-beta2", "--adam-beta2 0.8 --optimizer sgd", "--adam-beta2 has no effect with --optimizer sgd",
     "--optimizer adam"},
    {"", "--decoupled-min-lr 1e-6", "--decoupled-min-lr has no effect without --decoupled-lr", "--decoupled-lr 1e-4"},
    {"", "--lr-warmup-init 1e-6",
     "--lr-warmup-init has no effect without --lr-warmup-iters, --lr-warmup-samples or --lr-warmup-fraction",
     "--lr-warmup-iters 5"},
    {"", "--lr-wsd-decay-style linear", "--lr-wsd-decay-style has no effect without --lr-decay-style WSD",
     "--lr-decay-style WSD"},
    {"", "--lr-wsd-decay-iters 2", "--lr-wsd-decay-iters has no effect without --lr-decay-style WSD",
     "--lr-decay-style WSD"},
    {"", "--lr-wsd-decay-samples 2", "--lr-wsd-decay-samples has no effect without --lr-decay-style WSD",
     "--lr-decay-style WSD"},
    {"", "--weight-decay-incr-style linear", "--weight-decay has no effect without --weight-decay-incr-style constant",
     "--weight-decay-incr-style constant"},
    {"--bf16", "--grad-reduce-in-bf16", "--grad-reduce-in-bf16 has no effect without --bf16", "--bf16"},
    {"", "--loss-scale 2", "--loss-scale has no effect without --fp16", "--fp16"},
    {"", "--initial-loss-scale 2", "--initial-loss-scale has no effect without --fp16", "--fp16"},
    {"", "--min-loss-scale 2", "--min-loss-scale has no effect without --fp16", "--fp16"},
    {"", "--loss-scale-window 2", "--loss-scale-window has no effect without --fp16", "--fp16"},
    {"", "--hysteresis 1", "--hysteresis has no effect without --fp16", "--fp16"},
    {"--init-method-std", "--init-method-xavier-uniform --init-method-std 0.1",
     "--init-method-std has no effect with --init-method-xavier-uniform", ""},
    {"--tensorboard-dir", "--tensorboard-log-interval 2",
     "--tensorboard-log-interval has no effect without --tensorboard-dir", "--tensorboard-dir a"},
    {"--tensorboard-dir", "--tensorboard-queue-size 2",
     "--tensorboard-queue-size has no effect without --tensorboard-dir", "--tensorboard-dir a"},
    {"--tensorboard-dir", "--log-timers-to-tensorboard",
     "--log-timers-to-tensorboard has no effect without --tensorboard-dir", "--tensorboard-dir a"},
    {"--tensorboard-dir", "--log-memory-to-tensorboard",
     "--log-memory-to-tensorboard has no effect without --tensorboard-dir", "--tensorboard-dir a"},
    {"--tensorboard-dir", "--log-world-size-to-tensorboard",
     "--log-world-size-to-tensorboard has no effect without --tensorboard-dir", "--tensorboard-dir a"},
    {"", "--timing-log-option all", "--timing-log-option has no effect without --timing-log-level",
     "--timing-log-level 1"},
    {"--tensorboard-dir", "--log-validation-ppl-to-tensorboard",
     "--log-validation-ppl-to-tensorboard has no effect without --tensorboard-dir", "--tensorboard-dir a"},
    {"--merge-file", "--tokenizer-type NullTokenizer --vocab-size 9",
     "--vocab-file has no effect without --tokenizer-type GPT2BPETokenizer", ""},
    {"--vocab-file", "--tokenizer-type NullTokenizer --vocab-size 9",
     "--merge-file has no effect without --tokenizer-type GPT2BPETokenizer", ""},
    {"", "--no-overlap-param-gather", "--no-overlap-param-gather has no effect without --use-distributed-optimizer",
     ""},
    {"", "--tokenizer-model a", "--tokenizer-model has no effect without --tokenizer-type SentencePieceTokenizer", ""},
    {"", "--vocab-extra-ids 3", "--vocab-extra-ids has no effect without --tokenizer-type SentencePieceTokenizer", ""},
    {"", "--tiktoken-pattern v1", "--tiktoken-pattern has no effect without --tokenizer-type TikTokenizer", ""},
    {"", "--tiktoken-num-special-tokens 8",
     "--tiktoken-num-special-tokens has no effect without --tokenizer-type TikTokenizer", ""},
    {"", "--tokenizer-special-tokens <x>",
     "--tokenizer-special-tokens has no effect without --tokenizer-type TikTokenizer", ""},
    {"", "--tokenizer-hf-no-include-special-tokens",
     "--tokenizer-hf-no-include-special-tokens has no effect without --tokenizer-type HuggingFaceTokenizer", ""},
    {"", "--vocab-size 50257",
     "--vocab-size has no effect without --tokenizer-type NullTokenizer or --tokenizer-type TikTokenizer: the tokenizer "
     "brings its own",
     ""},
    {"--data-path", "--mock-data", "--split has no effect with --mock-data", ""},
    {"--split", "--mock-data --data-cache-path a", "--data-cache-path has no effect with --mock-data", ""},
    {"", "--hierarchical-context-parallel-sizes 2 1",
     "--hierarchical-context-parallel-sizes has no effect without --cp-comm-type a2a+p2p", "--cp-comm-type a2a+p2p"},
    {"", "--recompute-method block", "--recompute-method has no effect without --recompute-granularity",
     "--recompute-granularity full"},
    {"", "--recompute-num-layers 2", "--recompute-num-layers has no effect without --recompute-granularity",
     "--recompute-granularity full"},
    {"", "--recompute-modules core_attn --recompute-granularity full",
     "--recompute-modules has no effect without --recompute-granularity selective",
     "--recompute-granularity selective"},
    {"", "--mamba-num-heads 64", "--mamba-num-heads has no effect without --hybrid-layer-pattern", "--is-hybrid-model"},
    {"", "--mamba-head-dim 32", "--mamba-head-dim has no effect without --hybrid-layer-pattern", "--is-hybrid-model"},
    {"", "--mamba-num-groups 4", "--mamba-num-groups has no effect without --hybrid-layer-pattern",
     "--is-hybrid-model"},
    {"", "--mamba-state-dim 64", "--mamba-state-dim has no effect without --hybrid-layer-pattern", "--is-hybrid-model"},
    {"", "--use-pytorch-profiler", "--use-pytorch-profiler has no effect without --profile", "--profile"},
    {"", "--profile-step-start 3", "--profile-step-start has no effect without --profile", "--profile"},
    {"", "--profile-step-end 30", "--profile-step-end has no effect without --profile", "--profile"},
    {"", "--profile-ranks 1", "--profile-ranks has no effect without --profile", "--profile"},
    {"", "--position-embedding-type none --use-rotary-position-embeddings",
     "--position-embedding-type none has no effect with --use-rotary-position-embeddings: rope counts", ""},
    {"", "--position-embedding-type learned_absolute --use-rotary-position-embeddings",
     "--position-embedding-type learned_absolute has no effect with --use-rotary-position-embeddings: rope counts",
     "--position-embedding-type rope"},
    {"", "--window-size 8191 0", "--window-size 8191 hides nothing: --seq-length is 8192", "--window-size 8190 0"},
};

std::vector<std::string> line_of(const NeedCase& c, const std::string& more = "") {
  std::vector<std::string> words = c.without.empty() ? example_1() : example_1_without(c.without);
  for (const std::string* part : {&c.with, &more}) {
    for (std::string& word : split(*part, ' ')) {
      if (!word.empty()) words.push_back(std::move(word));
    }
  }
  return words;
}

TEST(Needs, EachIsToldInOneLine) {
  for (const NeedCase& c : kCases) {
    EXPECT_THAT(told(line_of(c)), ElementsAre(HasSubstr(c.message))) << c.with;
    if (c.mended.empty()) continue;
    EXPECT_THAT(told(line_of(c, c.mended)), IsEmpty()) << c.with << " " << c.mended;
  }
}

TEST(Needs, LoadAndSaveThatWereForgotten) {
  std::vector<std::string> words = example_1_without("--load");
  for (const char* word : {"--finetune", "--override-opt-param-scheduler"}) words.emplace_back(word);
  EXPECT_THAT(told(words), ElementsAre("--no-load-optim has no effect without --load: moments start from zero",
                                       "--no-load-rng has no effect without --load",
                                       "--finetune has no effect without --load: weights are drawn from the seed",
                                       "--override-opt-param-scheduler has no effect without --load"));
  words = example_1_without("--save");
  for (const char* word : {"--no-save-optim", "--no-save-rng"}) words.emplace_back(word);
  EXPECT_EQ(told(words).size(), 3u);
  words = example_1_without("--load");
  words.emplace_back("--use-checkpoint-opt-param-scheduler");
  EXPECT_EQ(told(words).size(), 3u);
}

TEST(Needs, TheExampleAndDefaultsAreNotTold) {
  EXPECT_THAT(told(example_1()), IsEmpty());
  EXPECT_THAT(told(example_1_with(
                  "--rotary-base 10000 --rotary-percent 1.0 --rope-scaling-factor 8 --tensorboard-log-interval 1 "
                  "--lr-warmup-init 0.0 --lr-wsd-decay-style exponential --num-query-groups 1 "
                  "--make-vocab-size-divisible-by 128 --window-size -1 0 --recompute-granularity full "
                  "--recompute-method uniform --recompute-num-layers 1")),
              IsEmpty());
  EXPECT_THAT(told(example_1_with("--num-query-groups 32")), IsEmpty()) << "as many as heads: what happens";
  EXPECT_THAT(told(example_1_with("--recompute-activations")), IsEmpty());
}

TEST(Needs, EveryDeclarationHasACase) {
  for (const OptionGroup& group : option_groups()) {
    for (const Option& option : group.options) {
      if (option.detail.needs.empty() || option.detail.needs == "--load" || option.detail.needs == "--save") continue;
      EXPECT_TRUE(std::ranges::any_of(kCases, [&](const NeedCase& c) {
        return c.message.starts_with(std::string(option.name) + " has no effect");
      })) << option.name;
    }
  }
}

}  // namespace
}  // namespace ringtron
