// Command lines: the user's example as written, both spellings, repetition, and every kind of fault at once.
#include "ringtron/config/parse.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "tests/config/example_flags.h"

namespace ringtron {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

ParsedFlags flags(const std::string& words) { return parse_flags(split(words, ' ')); }

std::string fault_of(const std::vector<std::string>& words, int world_size = kExample1Ranks) {
  try {
    parse_command_line(words, world_size);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Parse, Example1AsWritten) {
  const ParseResult result = parse_command_line(example_1(), kExample1Ranks);
  const CommandLine& line = std::get<CommandLine>(result);
  const Config& config = line.config;
  EXPECT_THAT(line.notices, IsEmpty());
  EXPECT_EQ(line.set_names.size(), 36u);
  EXPECT_EQ(config.parallel.tensor_model_parallel_size, 4);
  EXPECT_EQ(config.parallel.context_parallel_size, 2);
  EXPECT_THAT(config.parallel.cp_comm_type, testing::ElementsAre("p2p"));
  EXPECT_TRUE(config.parallel.sequence_parallel);
  EXPECT_EQ(config.model.num_layers, 32);
  EXPECT_EQ(config.model.ffn_hidden_size, 13696);
  EXPECT_EQ(config.model.kv_channels, 128);
  EXPECT_EQ(config.model.num_query_groups, 32);
  EXPECT_TRUE(config.model.add_qkv_bias);
  EXPECT_EQ(config.model.seq_length, 8192);
  EXPECT_EQ(config.batch.global_batch_size, 64);
  EXPECT_EQ(config.optimizer.lr, 1e-4);
  EXPECT_EQ(config.optimizer.min_lr, 1e-5);
  EXPECT_EQ(config.optimizer.lr_decay_iters, 500000);
  EXPECT_EQ(config.optimizer.lr_decay_style, LrDecayStyle::cosine);
  EXPECT_EQ(config.optimizer.adam_beta2, 0.95);
  EXPECT_TRUE(config.precision.bf16);
  EXPECT_TRUE(config.precision.accumulate_allreduce_grads_in_fp32);
  EXPECT_EQ(config.precision.init_method_std, 0.01);
  EXPECT_TRUE(config.checkpoint.no_load_optim);
  EXPECT_TRUE(config.checkpoint.no_load_rng);
  EXPECT_EQ(config.checkpoint.save_interval, 2000);
  EXPECT_EQ(config.evaluation.eval_iters, 10);
  EXPECT_EQ(config.data.split, "99,1,0");
  EXPECT_THAT(config.data.data_path, testing::ElementsAre("/path/to/data/gpt2_text_document"));
  EXPECT_EQ(config.data.merge_file, "/path/to/gpt2/merges.txt");
}

TEST(Parse, SpellingsAreEqual) {
  for (const char* words : {"--num-layers 4 --min-lr -0", "--num_layers 4 --min_lr -0", "--num-layers=4 --min-lr=-0",
                            "--num_layers=4 --min-lr -0"}) {
    const ParsedFlags parsed = flags(words);
    EXPECT_THAT(parsed.faults, IsEmpty()) << words;
    EXPECT_EQ(parsed.line.config.model.num_layers, 4) << words;
    EXPECT_THAT(parsed.line.set_names, testing::ElementsAre("--num-layers", "--min-lr")) << words;
  }
  EXPECT_TRUE(flags("--override-opt_param-scheduler").line.config.optimizer.override_opt_param_scheduler);
  EXPECT_EQ(flags("--save=a=b").line.config.checkpoint.save, "a=b");
  EXPECT_EQ(flags("--save a_b").line.config.checkpoint.save, "a_b");
}

TEST(Parse, TheLastOfTwoCountsWithANotice) {
  const ParsedFlags parsed = flags("--lr 1 --seed 7 --lr 2");
  EXPECT_EQ(parsed.line.config.optimizer.lr, 2.0);
  ASSERT_EQ(parsed.line.notices.size(), 1u);
  EXPECT_EQ(parsed.line.notices[0].text, "--lr is given more than once ('1', then '2'); the last one counts");
  EXPECT_THAT(flags("--data-path a b --data-path c").line.config.data.data_path, testing::ElementsAre("c"));
}

TEST(Parse, UnknownFlagsNameTheNearest) {
  const ParsedFlags parsed = flags("--context-paralel-size 2");
  ASSERT_EQ(parsed.faults.size(), 1u) << "the value of an unknown flag is no fault of its own";
  EXPECT_EQ(parsed.faults[0].message, "--context-paralel-size: unknown flag; did you mean --context-parallel-size?");
  EXPECT_EQ(flags("--zzzzzzzzzzzzzzzz").faults[0].message, "--zzzzzzzzzzzzzzzz: unknown flag; --help lists all");
  EXPECT_EQ(flags("--num-layer 4").faults.size(), 1u) << "no abbreviations";
}

TEST(Parse, MegatronFlagsThatAreRefused) {
  for (const char* name :
       {"--fp8-format hybrid", "--num-experts 8", "--moe-router-topk 2", "--batch-size 4",
        "--num-distributed-optimizer-instances 2", "--distribute-saved-activations", "--lion-beta1 0.9"}) {
    const ParsedFlags parsed = flags(name);
    ASSERT_EQ(parsed.faults.size(), 1u) << name;
    EXPECT_THAT(parsed.faults[0].message, HasSubstr("Ringtron does not take this Megatron-LM flag: "));
  }
}

TEST(Parse, MegatronFlagsWithoutEffect) {
  const ParsedFlags parsed = flags(
      "--use-flash-attn --transformer-impl local --attention-backend flash --use-mcore-models "
      "--no-masked-softmax-fusion --seed 5");
  EXPECT_THAT(parsed.faults, IsEmpty());
  EXPECT_EQ(parsed.line.notices.size(), 5u);
  EXPECT_EQ(parsed.line.config.precision.seed, 5);
}

// Accepted with the value that is so anyway, and with no other.
TEST(Parse, MegatronFlagsOfOneValue) {
  EXPECT_THAT(flags("--main-grads-dtype fp32 --data-impl mmap").faults, IsEmpty());
  EXPECT_THAT(flags("--main-grads-dtype bf16").faults[0].message,
              HasSubstr("--main-grads-dtype: expected fp32, got 'bf16': main weights, gradients and moments are kept"));
  EXPECT_THAT(flags("--main-grads-dtype").faults[0].message, HasSubstr("expected fp32, got ''"));
  const ParsedFlags parsed = flags("--wandb-project x --wandb-exp-name y --dist-ckpt-strictness log_all --seed 5");
  EXPECT_THAT(parsed.faults, IsEmpty());
  EXPECT_EQ(parsed.line.config.precision.seed, 5);
  EXPECT_THAT(parsed.line.notices[0].text, HasSubstr("wandb sync"));
}

TEST(Parse, RecomputeFlags) {
  for (const char* name : {"--recompute-activations", "--ckpt-activations", "--ckpt_activations"}) {
    const ParsedFlags parsed = flags(name);
    EXPECT_THAT(parsed.faults, IsEmpty());
    EXPECT_TRUE(parsed.line.config.recompute.activations || parsed.line.config.recompute.ckpt_activations) << name;
  }
  EXPECT_THAT(flags("--recompute-granularity some").faults[0].message, HasSubstr("got 'some'"));
  EXPECT_THAT(flags("--recompute-num-layers 0").faults[0].message, HasSubstr("expected at least 1, got 0"));
  EXPECT_THAT(flags("--checkpoint-activations").faults[0].message, HasSubstr("--recompute-activations"));
}

TEST(Parse, AllFaultsAtOnce) {
  const std::string text =
      fault_of(example_1_with("--num-layers many --sequence-paralel --fp8-margin --bf16=yes --seed --seq-length "
                              "-8190 --hidden-dropout 2 stray"));
  EXPECT_THAT(text, HasSubstr("8 faults in the command line:"));
  EXPECT_THAT(text, HasSubstr("--num-layers: expected a whole number, got 'many'"));
  EXPECT_THAT(text, HasSubstr("did you mean --sequence-parallel"));
  EXPECT_THAT(text, HasSubstr("--fp8-margin: Ringtron does not take"));
  EXPECT_THAT(text, HasSubstr("--bf16: expected no value, got 'yes'"));
  EXPECT_THAT(text, HasSubstr("--seed: expected N, got nothing"));
  EXPECT_THAT(text, HasSubstr("--seq-length: expected at least 1, got -8190"));
  EXPECT_THAT(text, HasSubstr("--hidden-dropout: expected at least 0 and below 1, got 2"));
  EXPECT_THAT(text, HasSubstr("'stray': expected a flag"));
}

TEST(Parse, ManyFaultsAreCut) {
  std::vector<std::string> words;
  for (int i = 0; i < 500; ++i) words.push_back("--zzzzzzzzzzzzzz" + std::to_string(i));
  const std::string text = fault_of(words, 1);
  EXPECT_THAT(text, HasSubstr(" faults in the command line:"));
  EXPECT_THAT(text, HasSubstr("  20. --zzzzzzzzzzzzzz19: unknown flag"));
  EXPECT_THAT(text, testing::Not(HasSubstr("  21. ")));
  EXPECT_THAT(text, testing::ContainsRegex("\\.\\.\\. and 4[0-9][0-9] more$"));
}

TEST(Parse, AFaultyFlagIsNotReportedAsMissingToo) {
  const std::string text = fault_of(example_1_with("--lr fast"));
  EXPECT_EQ(text, "--lr: expected a finite number, got 'fast'");
}

TEST(Parse, CpCommTypes) {
  for (const char* type : {"allgather", "all_gather", "a2a", "p2p", "auto"}) {
    const auto words = example_1_with(std::string("--cp-comm-type ") + type);
    const Config config = std::get<CommandLine>(parse_command_line(words, kExample1Ranks)).config;
    const std::string expected = type == std::string("allgather") ? "all_gather" : type;
    EXPECT_THAT(config.parallel.cp_comm_type, testing::ElementsAre(expected));
  }
  const auto per_layer = example_1_with("--num-layers 3 --cp-comm-type a2a allgather p2p");
  EXPECT_THAT(std::get<CommandLine>(parse_command_line(per_layer, kExample1Ranks)).config.parallel.cp_comm_type,
              testing::ElementsAre("a2a", "all_gather", "p2p"));
  EXPECT_THAT(fault_of(example_1_with("--cp-comm-type ring")),
              HasSubstr("expected one of p2p, all_gather, allgather, a2a, a2a+p2p, auto, got 'ring'"));
  EXPECT_THAT(fault_of(example_1_with("--cp-layout striped")),
              HasSubstr("expected one of zigzag, contiguous, balanced, got 'striped'"));
  EXPECT_THAT(fault_of(example_1_with("--softmax-type sink")),
              HasSubstr("expected one of vanilla, off-by-one, learnable, got 'sink'"));
}

TEST(Parse, WindowsInMegatronsForms) {
  for (const char* text :
       {"--window-size 127 0", "--window-size 127,0", "--window-size=127,0", "--window-size (127,0)"}) {
    EXPECT_THAT(flags(text).line.config.model.window_size, testing::ElementsAre(127, 0)) << text;
  }
  EXPECT_THAT(flags("--window-size -1 -1").line.config.model.window_size, testing::ElementsAre(-1, -1));
  EXPECT_EQ(flags("--window-size 127,").faults[0].message, "--window-size: expected a whole number, got ''");
  EXPECT_EQ(flags("--window-size 127:0").faults[0].message, "--window-size: expected a whole number, got '127:0'");
}

TEST(Parse, HelpIsAResultAndComesBeforeFaults) {
  const std::vector<std::string> words = {"--nonsense", "--help=parallel"};
  EXPECT_THAT(std::get<HelpText>(parse_command_line(words, 1)).text, HasSubstr("--context-parallel-size N"));
  const std::vector<std::string> all = {"--help"};
  EXPECT_THAT(std::get<HelpText>(parse(all)).text, HasSubstr("--vocab-file"));
}

TEST(Parse, SkipsTheProgramName) {
  const char* argv[] = {"pretrain_gpt", "--lr", "1"};
  EXPECT_THAT(arguments(3, argv), testing::ElementsAre("--lr", "1"));
  EXPECT_THAT(arguments(0, argv), IsEmpty());
}

}  // namespace
}  // namespace ringtron
