// Every rule fires on a line made for it, alone, and none fires on a good line.
#include "ringtron/config/validate.h"

#include <gmock/gmock.h>

#include "ringtron/config/config_text.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/rule.h"
#include "tests/config/example_flags.h"

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

struct Case {
  std::string without;  // a flag of the example to leave out
  std::string with;     // flags to add
  std::string message;  // part of the only fault
};

const Case kCases[] = {
    {"", "--context-parallel-size 3 --seq-length 6144",
     "is not divisible by total_model_size (total_model_size=12)"},
    {"", "--pipeline-model-parallel-size 2 --tensor-model-parallel-size 2",
     "pipeline parallelism comes in a later"},
    {"", "--hierarchical-context-parallel-sizes 2 2",
     "whose product is --context-parallel-size 2, got product 4"},
    {"", "--cp-comm-type p2p p2p", "expected one word, or one for each of 32 layers, got 2"},
    {"", "--hierarchical-context-parallel-sizes 2",
     "expected two sizes A P (ranks that share heads, groups in the ring), got 1"},
    {"", "--hierarchical-context-parallel-sizes 1 1 2", "groups in the ring), got 3"},
    {"", "--cp-comm-type a2a+p2p",
     "--hierarchical-context-parallel-sizes must be set when a2a+p2p is used in cp comm"},
    {"", "--seq-length 8190",
     "--sequence-parallel: expected a --seq-length that TP 4 divides, got 8190; use 8188 or 8192"},
    {"--num-layers", "", "num_layers argument is None"},
    {"--hidden-size", "--kv-channels 128", "hidden_size argument is None"},
    {"--num-attention-heads", "", "num_attention_heads argument is None"},
    {"--max-position-embeddings", "", "max_position_embeddings argument is None"},
    {"--seq-length", "", "seq_length argument is None"},
    {"", "--window-size 127",
     "--window-size: expected two numbers, keys before and after a query's own, got 1"},
    {"", "--window-size 1,2,3", "expected two numbers, keys before and after a query's own, got 3"},
    {"", "--window-size -2 0",
     "--window-size: expected numbers of keys, or -1 for all, got -2; write -1 for no limit"},
    {"", "--window-size 127 128", "expected 0 keys after a query's own, got 128: the causal mask hides them"},
    {"", "--strict-megatron --tensor-model-parallel-size 2 --seq-length 8190",
     "seq-length should be a multiple of 2 * context-parallel-size if context-parallel-size > 1. "
     "--strict-megatron: expected a multiple of 4, got 8190; use 8188 or 8192"},
    {"", "--strict-megatron --cp-comm-type a2a --num-attention-heads 36 --kv-channels 128",
     "cp_comm_type='a2a' requires num_heads % cp_size == 0 for Q, K, V. Found num_heads_q = 9, num_heads_kv "
     "= 9, "
     "cp_size = 2."},
    {"", "--strict-megatron --cp-comm-type a2a --group-query-attention --num-query-groups 4",
     "Found num_heads_q = 8, num_heads_kv = 1, cp_size = 2."},
    {"",
     "--strict-megatron --tensor-model-parallel-size 1 --context-parallel-size 8 --cp-comm-type a2a+p2p "
     "--hierarchical-context-parallel-sizes 4 2 --group-query-attention --num-query-groups 2",
     "cp_comm_type='a2a+p2p' requires num_heads % cp_size == 0 for Q, K, V. Found num_heads_q = 32, "
     "num_heads_kv = 2, "
     "cp_size = 4."},
    {"", "--strict-megatron --window-size 127,0",
     "Context parallelism does not support sliding window attention with cp_comm_type='p2p'!"},
    {"", "--strict-megatron --cp-comm-type all_gather --softmax-type off-by-one",
     "--softmax-type off-by-one: Megatron-LM's context parallelism expects cp_comm_type='a2a', got "
     "'all_gather'"},
    {"", "--strict-megatron --cp-comm-type auto", "Unsupported communication type: auto!"},
    {"", "--max-position-embeddings 4096",
     "max_position_embeddings (4096) must be greater than or equal to seq_length (8192)."},
    {"", "--hidden-size 4100", "--hidden-size: expected a multiple of --num-attention-heads 32, got 4100"},
    {"", "--num-attention-heads 30 --kv-channels 128",
     "--num-attention-heads: expected a multiple of --tensor-model-parallel-size 4, got 30"},
    {"", "--group-query-attention --num-query-groups 12",
     "expected a divisor of --num-attention-heads 32, got 12"},
    {"", "--group-query-attention --num-query-groups 2",
     "--num-query-groups: expected a multiple of --tensor-model-parallel-size 4, got 2"},
    {"", "--ffn-hidden-size 13697",
     "--ffn-hidden-size: expected a multiple of --tensor-model-parallel-size 4, got 13697"},
    {"--ffn-hidden-size", "--swiglu --hidden-size 16 --kv-channels 4",
     "--ffn-hidden-size: the default of --swiglu"},
    {"", "--swiglu --squared-relu", "expected at most one activation"},
    {"", "--position-embedding-type rope --kv-channels 127",
     "expected an even number of rotated channels, got 127"},
    {"", "--use-rotary-position-embeddings --rotary-percent 0.001", "rotated channels, got 0"},
    {"", "--use-rope-scaling",
     "--use-rope-scaling: expected --position-embedding-type rope, got learned_absolute"},
    {"", "--padded-vocab-size 50257",
     "--padded-vocab-size: expected a multiple of --tensor-model-parallel-size 4, got 50257"},
    {"", "--padded-vocab-size 1000 --vocab-size 1001", "expected at least --vocab-size 1001, got 1000"},
    {"--micro-batch-size", "", "micro_batch_size argument is None"},
    {"", "--micro-batch-size 3",
     "global batch size (64) is not divisible by micro batch size (3) times data parallel size (1); use "
     "--global-batch-size 63 or 66"},
    {"--train-iters", "", "expected --train-iters or --train-samples, got neither"},
    {"", "--train-samples 10", "got both (500000 and 10)"},
    {"--lr", "", "lr argument is None"},
    {"", "--min-lr 1", "--min-lr: expected at most --lr 0.0001, got 1"},
    {"", "--lr-warmup-init 1", "--lr-warmup-init: expected at most --lr 0.0001, got 1"},
    {"", "--lr-warmup-samples 10", "with --train-iters: expected the schedule in steps"},
    {"--train-iters", "--train-samples 100 --lr-warmup-iters 10",
     "with --train-samples: expected the schedule in samples"},
    {"", "--lr-warmup-iters 10 --lr-warmup-fraction 0.1",
     "expected --lr-warmup-fraction or a length, got both"},
    {"", "--lr-warmup-iters 500000", "warm-up: expected less than the decay length 500000, got 500000"},
    {"--train-iters", "--train-samples 100 --lr-warmup-samples 100",
     "warm-up: expected less than the decay length 100, got 100"},
    {"", "--lr-decay-style WSD", "--lr-decay-style WSD: expected a last phase between 1 and 500000, got 0"},
    {"", "--end-weight-decay 0.1", "expected none with a constant weight decay"},
    {"", "--weight-decay-incr-style linear",
     "--weight-decay-incr-style linear: expected --start-weight-decay"},
    {"", "--weight-decay-incr-style linear --start-weight-decay 1 --end-weight-decay 0",
     "expected at least --start-weight-decay 1, got 0"},
    {"", "--override-opt-param-scheduler --use-checkpoint-opt-param-scheduler", "expected at most one"},
    {"", "--fp64", "--bf16, --fp64: expected at most one type"},
    {"", "--recompute-granularity full --recompute-num-layers 1",
     "Using recompute_granularity: full so recompute_method must be \"block\" or \"uniform\""},
    {"", "--recompute-granularity full --recompute-method uniform",
     "recompute_num_layers must be between 1 and num_layers_per_pipeline_rank: 32, got none"},
    {"", "--recompute-granularity full --recompute-method block --recompute-num-layers 33",
     "recompute_num_layers must be between 1 and num_layers_per_pipeline_rank: 32, got 33"},
    {"", "--recompute-granularity selective --recompute-method uniform",
     "recompute method is not yet supported for selective recomputing granularity"},
    {"", "--recompute-activations --recompute-num-layers 2",
     "When using recompute_granularity: selective recompute_num_layers must be None."},
    {"", "--recompute-activations --recompute-granularity full --recompute-method uniform --recompute-num-layers 1",
     "--recompute-activations: expected no --recompute-granularity but selective, got full"},
    {"", "--recompute-granularity selective --recompute-modules core_attn mlp",
     "--recompute-modules: expected core_attn, got mlp: "},
    {"--data-path", "",
     "expected exactly one source of --data-path, --train-data-path (with --valid- and --test-data-path) and "
     "--mock-data, got 0"},
    {"", "--mock-data", "got 2"},
    {"--data-path", "--train-data-path a", "--split: expected none with --train-"},
    {"", "--split 99,x", "expected up to three shares such as 99,1,0, got '99,x'"},
    {"", "--split 0,0,0", "got '0,0,0'"},
    {"--merge-file", "", "expected --vocab-file and --merge-file, --merge-file is missing"},
    {"", "--tokenizer-type NullTokenizer", "NullTokenizer: expected --vocab-size, got none"},
    {"--save-interval", "", "--save: expected --save-interval as well"},
    {"--load", "--ckpt-step 5", "--ckpt-step 5: expected --load, got none"},
    {"--load", "--exit-on-missing-checkpoint", "--exit-on-missing-checkpoint: expected --load, got none"},
};

std::vector<std::string> words_of(const Case& c) {
  std::vector<std::string> words = c.without.empty() ? example_1() : example_1_without(c.without);
  if (c.with.empty()) return words;
  for (std::string& word : split(c.with, ' ')) words.push_back(std::move(word));
  return words;
}

TEST(Validate, EachRuleFiresAlone) {
  for (const Case& c : kCases) {
    EXPECT_THAT(faults_of(words_of(c)), ElementsAre(HasSubstr(c.message)))
        << "without '" << c.without << "' with '" << c.with << "'";
  }
}

TEST(Validate, EveryRuleHasACase) {
  std::vector<const internal::Rule*> silent;
  for (const auto rules : {internal::parallel_rules(), internal::model_rules(), internal::training_rules(),
                           internal::recompute_rules(), internal::data_rules(), internal::strict_megatron_rules()}) {
    for (const internal::Rule& rule : rules) {
      bool fired = false;
      for (const Case& c : kCases) {
        const Config config = config_of(words_of(c));
        const Config resolved = resolve(config, kExample1Ranks).config;
        fired = fired || rule.broken({config, resolved, kExample1Ranks,
                                      data_parallel_size(config.parallel, kExample1Ranks)});
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
    const Config resolved = resolve(config_of(words), kExample1Ranks).config;
    EXPECT_THAT(validate(resolved, kExample1Ranks), IsEmpty()) << "resolved: " << with;
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
  for (const char* name : {"num_layers", "hidden_size", "num_attention_heads", "max_position_embeddings",
                           "seq_length", "micro_batch_size", "lr argument", "--train-iters"}) {
    EXPECT_THAT(faults, testing::Contains(HasSubstr(name)));
  }
}

TEST(Resolve, FillsWhatFollows) {
  Config config;
  config.model.hidden_size = 4096;
  config.model.num_attention_heads = 32;
  config.batch.micro_batch_size = 2;
  config.batch.train_iters = 100;
  config.parallel.tensor_model_parallel_size = 2;
  config.data.data_path = {"a"};
  const Resolved plain = resolve(config, 8);
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
  const Config gated = resolve(config, 8).config;
  EXPECT_EQ(gated.model.ffn_hidden_size, 10880);
  EXPECT_FALSE(gated.model.add_qkv_bias);
  EXPECT_EQ(gated.model.position_embedding_type, "rope");
}

TEST(Resolve, SwitchesSequenceParallelismOffWithoutTensorParallelism) {
  Config config;
  config.parallel.sequence_parallel = true;
  const Resolved out = resolve(config, 1);
  EXPECT_FALSE(out.config.parallel.sequence_parallel);
  ASSERT_EQ(out.notices.size(), 1u);
  EXPECT_EQ(out.notices[0].kind, Notice::Kind::warning);
}

TEST(Resolve, TwiceIsOnce) {
  for (const char* with : {"--mock-data", "--ckpt-activations", "--cp-keep-kv", "--recompute-method block"}) {
    const Resolved once = resolve(config_of(example_1_with(with)), kExample1Ranks);
    const Resolved twice = resolve(once.config, kExample1Ranks);
    EXPECT_EQ(fingerprint_text(once.config), fingerprint_text(twice.config));
    EXPECT_THAT(twice.notices, IsEmpty()) << with;
  }
}

TEST(Resolve, RecomputeActivationsIsSelective) {
  for (const char* with : {"--recompute-activations", "--ckpt_activations", "--recompute-granularity selective"}) {
    const RecomputeConfig recompute = resolve(config_of(example_1_with(with)), kExample1Ranks).config.recompute;
    EXPECT_EQ(recompute.granularity, "selective") << with;
    EXPECT_THAT(recompute.modules, ElementsAre("core_attn"));
    EXPECT_FALSE(recompute.cp_keep_kv);
  }
}

TEST(Resolve, SaysWhatOfRecomputeHasNoEffect) {
  const auto warning = [](const char* with) {
    std::vector<std::string> texts;
    for (const Notice& notice : resolve(config_of(example_1_with(with)), kExample1Ranks).notices) {
      if (notice.kind == Notice::Kind::warning && notice.text.find("--split") == std::string::npos)
        texts.push_back(notice.text);
    }
    return texts;
  };
  EXPECT_THAT(warning("--recompute-activations --cp-keep-kv"), IsEmpty());
  EXPECT_THAT(warning("--ckpt-activations"), ElementsAre(HasSubstr("is read as --recompute-activations")));
  EXPECT_THAT(warning("--recompute-num-layers 2"), ElementsAre(HasSubstr("without --recompute-granularity")));
  EXPECT_THAT(warning("--cp-keep-kv"), ElementsAre(HasSubstr("--cp-keep-kv is switched off")));
  EXPECT_THAT(warning("--recompute-granularity full --recompute-method block --recompute-num-layers 1 "
                      "--recompute-modules mlp"),
              ElementsAre(HasSubstr("--recompute-modules has no effect")));
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
