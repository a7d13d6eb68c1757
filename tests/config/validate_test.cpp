// Every rule fires on a line made for it, alone, and none fires on a good line.
#include "ringtron/config/validate.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "ringtron/config/config_text.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/rule.h"
#include "tests/config/example_flags.h"
#include "tests/config/rule_cases.h"

namespace ringtron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Config config_of(const std::vector<std::string>& words) {
  ParsedFlags parsed = parse_flags(words);
  EXPECT_THAT(parsed.faults, IsEmpty());
  return parsed.line.config;
}

std::vector<std::string> faults_of(const std::vector<std::string>& words, int world_size = kExample1Ranks) {
  return validate(config_of(words), world_size);
}

std::vector<std::string> words_of(const RuleCase& c) {
  std::vector<std::string> words = c.without.empty() ? example_1() : example_1_without(c.without);
  if (c.with.empty()) return words;
  for (std::string& word : split(c.with, ' ')) words.push_back(std::move(word));
  return words;
}

TEST(Validate, EachRuleFiresAlone) {
  for (const RuleCase& c : kRuleCases) {
    EXPECT_THAT(faults_of(words_of(c)), ElementsAre(HasSubstr(c.message)))
        << "without '" << c.without << "' with '" << c.with << "'";
  }
}

TEST(Validate, EveryRuleHasACase) {
  std::vector<const internal::Rule*> silent;
  for (const auto rules : {internal::parallel_rules(), internal::model_rules(), internal::hybrid_rules(),
                           internal::training_rules(), internal::batch_rules(), internal::recompute_rules(),
                           internal::data_rules(), internal::size_rules(), internal::strict_megatron_rules()}) {
    for (const internal::Rule& rule : rules) {
      bool fired = false;
      for (const RuleCase& c : kRuleCases) {
        const Config config = config_of(words_of(c));
        const Config filled = fill_defaults(config, kExample1Ranks).config;
        fired =
            fired || rule.broken({config, filled, kExample1Ranks, data_parallel_size(config.parallel, kExample1Ranks)});
      }
      EXPECT_TRUE(fired) << "no case for the rule over " << rule.flags;
    }
  }
}

TEST(Validate, GoodLinesHaveNoFault) {
  for (const std::string with :
       {"",
        "--swiglu --normalization RMSNorm --position-embedding-type rope --disable-bias-linear",
        "--group-query-attention --num-query-groups 8",
        "--lr-warmup-fraction 0.01 --lr-decay-iters 400000",
        "--lr-decay-style WSD --lr-wsd-decay-iters 1000",
        "--seq-length 8184",
        "--split 969,_30,_1",
        "--weight-decay-incr-style cosine --start-weight-decay 0 --end-weight-decay 0.1",
        "--hierarchical-context-parallel-sizes 1 2",
        "--tokenizer-type NullTokenizer --vocab-size 1000",
        "--seq-length 8188",
        "--sequence-parallel --tensor-model-parallel-size 1 --context-parallel-size 8 --seq-length 3",
        "--cp-comm-type auto --cp-layout balanced",
        "--cp-comm-type allgather --window-size 127,0",
        "--cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 1 --window-size -1 0",
        "--cp-comm-type a2a --num-attention-heads 28 --kv-channels 128 --softmax-type learnable",
        "--recompute-granularity full --recompute-method uniform --recompute-num-layers 32",
        "--recompute-granularity full --recompute-method block --recompute-num-layers 5 --recompute-modules mlp "
        "--cp-keep-kv",
        "--recompute-activations --recompute-modules core_attn",
        "--ckpt-activations",
        "--recompute-method uniform --recompute-num-layers 7 --recompute-modules mlp --cp-keep-kv",
        "--reset-attention-mask --reset-position-ids --eod-mask-loss --cp-layout contiguous "
        "--no-proof-of-exchange",
        "--strict-megatron",
        "--strict-megatron --cp-comm-type a2a --window-size 127,0 --softmax-type learnable",
        "--strict-megatron --cp-comm-type all_gather --window-size 127,-1",
        "--strict-megatron --context-parallel-size 1 --seq-length 8188 --window-size 127,0"}) {
    std::vector<std::string> words = example_1_with(with);
    for (std::string& word : words) {
      if (word == "969,_30,_1") word = "969, 30, 1";
    }
    EXPECT_THAT(faults_of(words), IsEmpty()) << with;
    const Config filled = fill_defaults(config_of(words), kExample1Ranks).config;
    EXPECT_THAT(validate(filled, kExample1Ranks), IsEmpty()) << "filled: " << with;
  }
  EXPECT_THAT(faults_of(example_1(), 64), IsEmpty());
}

TEST(Validate, SkippingTrainingNeedsNoSchedule) {
  std::vector<std::string> words;
  for (const std::string& word : example_1_without("--train-iters")) words.push_back(word);
  words.push_back("--skip-train");
  EXPECT_THAT(faults_of(words), IsEmpty());
}

TEST(Validate, AConfigMadeInCodeIsCheckedValueByValue) {
  Config config = config_of(example_1());
  config.precision.hidden_dropout = 1.5;
  config.parallel.tensor_model_parallel_size = 0;
  EXPECT_THAT(validate(config, kExample1Ranks),
              ElementsAre(HasSubstr("--tensor-model-parallel-size: expected at least 1, got 0"),
                          HasSubstr("--hidden-dropout: expected at least 0 and below 1, got 1.5")));
}

TEST(Validate, AnEmptyConfigListsWhatIsRequired) {
  const std::vector<std::string> faults = validate(Config(), 1);
  for (const char* name : {"num_layers", "hidden_size", "num_attention_heads", "max_position_embeddings", "seq_length",
                           "micro_batch_size", "lr argument", "--train-iters"}) {
    EXPECT_THAT(faults, testing::Contains(HasSubstr(name)));
  }
}

TEST(FillDefaults, FillsWhatFollows) {
  Config config;
  config.model.hidden_size = 4096;
  config.model.num_attention_heads = 32;
  config.batch.micro_batch_size = 2;
  config.batch.train_iters = 100;
  config.parallel.tensor_model_parallel_size = 2;
  config.data.data_path = {"a"};
  const FilledConfig plain = fill_defaults(config, 8);
  EXPECT_EQ(plain.config.model.ffn_hidden_size, 16384);
  EXPECT_EQ(plain.config.model.kv_channels, 128);
  EXPECT_EQ(plain.config.model.num_query_groups, 32);
  EXPECT_EQ(plain.config.batch.global_batch_size, 8);
  EXPECT_EQ(plain.config.optimizer.lr_decay_iters, 100);
  EXPECT_EQ(plain.config.data.split, "969, 30, 1");
  EXPECT_THAT(plain.notices, testing::Contains(Notice{Notice::Kind::note, "setting global batch size to 8"}));

  config.model.swiglu = true;
  config.model.add_bias_linear = false;
  config.model.use_rotary_position_embeddings = true;
  const Config gated = fill_defaults(config, 8).config;
  EXPECT_EQ(gated.model.ffn_hidden_size, 10880);
  EXPECT_FALSE(gated.model.add_qkv_bias);
  EXPECT_EQ(gated.model.position_embedding_type, PositionEmbedding::rope);
}

TEST(FillDefaults, MinusOneEvaluationIsNone) {
  Config config;
  config.data.mock_data = true;
  config.evaluation.eval_iters = -1;
  EXPECT_EQ(fill_defaults(config, 1).config.evaluation.eval_iters, 0);
  config.evaluation.eval_iters = 7;
  EXPECT_EQ(fill_defaults(config, 1).config.evaluation.eval_iters, 7);
}

TEST(FillDefaults, MadeUpTokensWhereNoDataIsGiven) {
  Config config;
  const FilledConfig none = fill_defaults(config, 1);
  EXPECT_TRUE(none.config.data.mock_data);
  ASSERT_EQ(none.notices.size(), 1u);
  EXPECT_NE(none.notices[0].text.find("made-up tokens"), std::string::npos);
  config.data.valid_data_path = {"a"};
  EXPECT_FALSE(fill_defaults(config, 1).config.data.mock_data);
}

TEST(FillDefaults, SwitchesSequenceParallelismOffWithoutTensorParallelism) {
  Config config;
  config.parallel.sequence_parallel = true;
  config.data.mock_data = true;
  const FilledConfig out = fill_defaults(config, 1);
  EXPECT_FALSE(out.config.parallel.sequence_parallel);
  ASSERT_EQ(out.notices.size(), 1u);
  EXPECT_EQ(out.notices[0].kind, Notice::Kind::warning);
}

TEST(FillDefaults, TwiceIsOnce) {
  for (const char* with : {"--mock-data", "--ckpt-activations", "--cp-keep-kv", "--recompute-method block"}) {
    const FilledConfig once = fill_defaults(config_of(example_1_with(with)), kExample1Ranks);
    const FilledConfig twice = fill_defaults(once.config, kExample1Ranks);
    EXPECT_EQ(fingerprint_text(once.config), fingerprint_text(twice.config));
    EXPECT_THAT(twice.notices, IsEmpty()) << with;
  }
}

TEST(FillDefaults, RecomputeActivationsIsSelective) {
  for (const char* with : {"--recompute-activations", "--ckpt_activations", "--recompute-granularity selective"}) {
    const RecomputeConfig recompute = fill_defaults(config_of(example_1_with(with)), kExample1Ranks).config.recompute;
    EXPECT_EQ(recompute.granularity, RecomputeGranularity::selective) << with;
    EXPECT_THAT(recompute.modules, ElementsAre("core_attn"));
    EXPECT_FALSE(recompute.cp_keep_kv);
  }
}

TEST(FillDefaults, TellsOfWhatIsNotDone) {
  const auto told = [](const std::vector<std::string>& words) {
    std::vector<std::string> texts;
    for (const Notice& notice : fill_defaults(config_of(words), kExample1Ranks).notices) {
      if (notice.kind == Notice::Kind::warning) texts.push_back(notice.text);
    }
    return texts;
  };
  std::vector<std::string> mock, fresh;
  for (const std::string& word : example_1_without("--data-path")) mock.push_back(word);
  mock.push_back("--mock-data");
  EXPECT_THAT(told(mock), IsEmpty()) << "flags without effect are told of elsewhere (needs_test)";
  EXPECT_THAT(told(example_1()), IsEmpty());
  EXPECT_THAT(told(example_1_with("--skip-train")), IsEmpty());
  EXPECT_THAT(told(example_1_with("--skip-train --eval-iters 0")),
              ElementsAre(HasSubstr("--skip-train with --eval-iters 0: nothing")));
  for (const std::string& word : example_1_without("--load")) fresh.push_back(word);
  fresh.push_back("--skip-train");
  EXPECT_THAT(told(fresh), ElementsAre(HasSubstr("--skip-train without --load evaluates weights that are drawn")));
}

TEST(FillDefaults, TellsOfStepsThatTrainNothing) {
  const auto told = [](const std::string& with, const std::string& without = "") {
    std::vector<std::string> texts, words = without.empty() ? example_1() : example_1_without(without);
    for (std::string& word : split(with, ' ')) words.push_back(std::move(word));
    for (const Notice& notice : fill_defaults(config_of(words), kExample1Ranks).notices) texts.push_back(notice.text);
    return texts;
  };
  EXPECT_THAT(told("--lr-decay-iters 400000"), IsEmpty()) << "--min-lr is not 0";
  EXPECT_THAT(told("--min-lr 0"), IsEmpty()) << "the decay ends with the run";
  EXPECT_THAT(told("--min-lr 0 --lr-decay-iters 2 --train-iters 4"),
              ElementsAre(HasSubstr("from iteration 3 on the learning rate is 0 (--min-lr), and the run has 4")));
  EXPECT_THAT(told("--min-lr 0 --lr-decay-iters 2 --train-iters 3 --lr-decay-style inverse-square-root"), IsEmpty());
  EXPECT_THAT(told("--min-lr 0 --lr-decay-iters 2 --lr-decay-style constant"), IsEmpty());
  EXPECT_THAT(told("--min-lr 0 --lr-decay-samples 100 --train-samples 256", "--train-iters"),
              ElementsAre(HasSubstr("from iteration 3 on the learning rate is 0")));
  EXPECT_THAT(told("--min-lr 0 --lr-decay-samples 9223372036854775807 --train-samples 256", "--train-iters"),
              IsEmpty());
  EXPECT_THAT(
      told("--train-samples 130", "--train-iters"),
      ElementsAre(HasSubstr("--train-samples 130: the last 2 fill no global batch of 64 and are not trained on")));
}

TEST(FillDefaults, TellsOfACorpusNamedTwice) {
  const auto told = [](const std::string& with) {
    std::vector<std::string> texts;
    for (const Notice& notice : fill_defaults(config_of(example_1_with(with)), kExample1Ranks).notices)
      texts.push_back(notice.text);
    return texts;
  };
  EXPECT_THAT(told("--data-path 1 a 1 b"), IsEmpty());
  EXPECT_THAT(told("--data-path 0.5 a 1e-1 b 1 ./a 1 a"),
              ElementsAre(HasSubstr("--data-path names ./a more than once")));
  EXPECT_THAT(told("--data-path a a"), ElementsAre(HasSubstr("--data-path names a more than once")));
}

TEST(FillDefaults, SaysWhatOfRecomputeHasNoEffect) {
  const auto warning = [](const char* with) {
    std::vector<std::string> texts;
    for (const Notice& notice : fill_defaults(config_of(example_1_with(with)), kExample1Ranks).notices) {
      if (notice.kind == Notice::Kind::warning && notice.text.find("--split") == std::string::npos)
        texts.push_back(notice.text);
    }
    return texts;
  };
  EXPECT_THAT(warning("--recompute-activations --cp-keep-kv"), IsEmpty());
  EXPECT_THAT(warning("--ckpt-activations"), ElementsAre(HasSubstr("is read as --recompute-activations")));
  EXPECT_THAT(warning("--cp-keep-kv"), ElementsAre(HasSubstr("--cp-keep-kv is switched off")));
  EXPECT_THAT(warning("--context-parallel-size 1 --recompute-activations --cp-keep-kv"),
              ElementsAre(HasSubstr("--cp-keep-kv is switched off")));
}

TEST(DataParallelSize, DividesTheWorld) {
  ParallelConfig parallel;
  parallel.tensor_model_parallel_size = 4;
  parallel.context_parallel_size = 2;
  EXPECT_EQ(data_parallel_size(parallel, 32), 4);
  EXPECT_EQ(data_parallel_size(parallel, 12), 0);
  parallel.tensor_model_parallel_size = 1 << 30;
  parallel.context_parallel_size = 1 << 30;
  EXPECT_EQ(data_parallel_size(parallel, 8), 0) << "the product must not overflow";
}

}  // namespace
}  // namespace ringtron
