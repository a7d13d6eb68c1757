// The checker says of command lines what training would do with them.
#include "ringtron/tools/check/check_cp_config.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/config/parse.h"
#include "tests/config/example_flags.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

// The user's command line for Slurm, as written there: 32 ranks.
constexpr const char* kSlurm =
    "--tensor-model-parallel-size 4 --pipeline-model-parallel-size 1 --context-parallel-size 2 "
    "--cp-comm-type p2p "
    "--sequence-parallel --num-layers 32 --hidden-size 4096 --num-attention-heads 32 --ffn-hidden-size 13696 "
    "--seq-length 8192 --micro-batch-size 1 --global-batch-size 64 --train-iters 500000 --lr 1.0e-4 --bf16 "
    "--data-path /path/to/data --vocab-file /path/to/vocab.json --merge-file /path/to/merges.txt";

CheckOutcome check(const std::vector<std::string>& words, int launched = 0) { return check_cp_config(words, launched); }

CheckOutcome check_example(const std::string& more) { return check(example_1_with(more)); }

TEST(CheckCpConfig, TheUsersEightGpuLine) {
  const CheckOutcome outcome = check(example_1());
  EXPECT_EQ(outcome.exit_code, kExitOk);
  EXPECT_THAT(outcome.text, EndsWith("\nok"));
  EXPECT_THAT(outcome.text,
              HasSubstr("using world size: 8, data-parallel size: 1, context-parallel size: 2, hierarchical "
                        "context-parallel sizes: None, tensor-model-parallel size: 4, "
                        "pipeline-model-parallel size: 1\n"));
  EXPECT_THAT(outcome.text, HasSubstr("TP 4 x CP 2 x PP 1 x DP 1 = 8 ranks"));
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("{0-3} {4-7}"), HasSubstr("{0,4} {1,5} {2,6} {3,7}")));
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("0-2047 6144-8191"), HasSubstr("2048-6143"), HasSubstr("mean: 1.000")));
  EXPECT_THAT(outcome.text, HasSubstr("x 64 micro-batches; 524288 tokens a step"));
  EXPECT_THAT(outcome.text, HasSubstr("50257 ids, padded to 50688 (431 dummy tokens)"));
  EXPECT_THAT(outcome.text, HasSubstr("50257 assumed"));
  EXPECT_THAT(outcome.text, HasSubstr("(5.98 billion)"));
  EXPECT_THAT(outcome.text,
              HasSubstr("16777216 and 50331648 bytes by plan, 16777216 and 50331648 by the closed form\n"));
}

TEST(CheckCpConfig, DrawsTheSchedule) {
  const auto drawn = [](const std::string& more) {
    return check_example("--pipeline-model-parallel-size 2 --tensor-model-parallel-size 2 --global-batch-size 4 " +
                         more)
        .text;
  };
  EXPECT_THAT(drawn(""),
              AllOf(HasSubstr("1F1B, 4 micro-batches a step; at most 2 under way on rank 0"),
                    HasSubstr("ranks wait 20.0 % of a step"), HasSubstr("   0  0 1 . . [0] 2 [1] 3 [2] . [3]")));
  EXPECT_THAT(drawn("--pipeline-schedule GPipe"),
              AllOf(HasSubstr("GPipe, 4 micro-batches a step; at most 4 under way on rank 0"),
                    HasSubstr("ranks wait 20.0 % of a step")));
  EXPECT_THAT(drawn("--pipeline-schedule zero-bubble"),
              AllOf(HasSubstr("zero-bubble, 4 micro-batches a step; at most 2 under way on rank 0"),
                    HasSubstr("2 have weight gradients left, and each keeps"), HasSubstr("ranks wait 7.7 % of a step"),
                    HasSubstr("weight gradients in round ones"),
                    HasSubstr("   0    0   1   . [0] (0)   2 [1] (1)   3 [2] (2) [3] (3)")));
}

// Where ranks share heads they share their positions too; auto counts as what it chooses.
TEST(CheckCpConfig, CountsTheUnevennessOfTheTransport) {
  const auto share = [](const std::string& more) {
    const std::string text = check_example("--cp-layout contiguous " + more).text;
    const std::string from = text.substr(text.find("largest share of attention / mean: "));
    return from.substr(0, from.find('\n'));
  };
  EXPECT_THAT(share("--cp-comm-type p2p"), EndsWith("mean: 1.500 by p2p"));
  EXPECT_THAT(share("--cp-comm-type a2a"), HasSubstr("mean: 1.000 by a2a; ranks that share heads"));
  const std::string text = check_example("--cp-layout contiguous --cp-comm-type auto").text;
  const std::string choice = text.substr(text.find("(training measures its own): ") + 29);
  const std::string chosen = choice.substr(0, choice.find(' '));
  EXPECT_THAT(share("--cp-comm-type auto"),
              HasSubstr(chosen == "a2a" ? "mean: 1.000 by a2a (auto)" : "mean: 1.500 by " + chosen + " (auto)"));
  EXPECT_THAT(share("--cp-comm-type auto --num-attention-heads 30"), HasSubstr("not known: "));
}

// 32 layers x 64 micro-batches of 16 MiB forward and 48 MiB backward.
TEST(CheckCpConfig, RecomputedAttentionSendsItsForwardTwice) {
  const std::string full = "--recompute-granularity full --recompute-method block --recompute-num-layers 8";
  const auto step = [](const std::string& more) {
    const std::string text = check_example(more).text;
    const std::string from = text.substr(text.find("context, per step of 64 micro-batches"));
    return from.substr(0, from.find('\n'));
  };
  EXPECT_THAT(step(""), AllOf(HasSubstr("forward   32.0 GiB"), HasSubstr("backward   96.0 GiB")));
  EXPECT_THAT(step("--recompute-activations"), HasSubstr("backward  128.0 GiB"));
  EXPECT_THAT(step(full), HasSubstr("backward  104.0 GiB"));
  EXPECT_EQ(step("--recompute-activations --cp-keep-kv"), step(""));
  EXPECT_THAT(check_example(full + " --cp-keep-kv").text, HasSubstr("recomputed attention sends nothing"));
}

TEST(CheckCpConfig, TheUsersSlurmLineHasOneFault) {
  std::vector<std::string> words = split(kSlurm, ' ');
  words.insert(words.begin(), {"--world-size", "32"});
  const CheckOutcome outcome = check(words);
  EXPECT_EQ(outcome.exit_code, kExitUsage);
  EXPECT_THAT(outcome.text, HasSubstr("TP 4 x CP 2 x PP 1 x DP 4 = 32 ranks"));
  EXPECT_THAT(outcome.text, HasSubstr("x 16 micro-batches"));
  EXPECT_THAT(outcome.text, HasSubstr("--split is not given"));
  EXPECT_THAT(outcome.text, HasSubstr("data /path/to/data: /path/to/data.bin is not on this machine"));
  EXPECT_THAT(outcome.text, HasSubstr("--save is not given"));
  EXPECT_THAT(outcome.text, HasSubstr("1 fault:\n  1. max_position_embeddings argument is None"));
  words.insert(words.end(), {"--max-position-embeddings", "8192"});
  EXPECT_THAT(check(words).text, EndsWith("\nok"));
}

// Of a line that breaks a rule the sections may not hold; whatever fails inside them is not told as our fault.
TEST(CheckCpConfig, SaysWhatItCannotCountOfAWrongLine) {
  for (const char* more : {"--recompute-granularity full", "--recompute-granularity full --recompute-method block"}) {
    const CheckOutcome outcome = check_example(more);
    EXPECT_EQ(outcome.exit_code, kExitUsage);
    EXPECT_THAT(outcome.text, HasSubstr("not known: see the faults"));
    EXPECT_THAT(outcome.text, HasSubstr("--recompute-num-layers"));
  }
}

TEST(CheckCpConfig, TellsAllFaultsAtOnce) {
  const CheckOutcome outcome = check_example(
      "--num-layers x --hidden-siz 5 --global-batch-size 63 --micro-batch-size 2 --use-megatron-fsdp "
      "--lr 0");
  EXPECT_EQ(outcome.exit_code, kExitUsage);
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("--num-layers: expected"), HasSubstr("did you mean --hidden-size"),
                                  HasSubstr("global batch size (63)"), HasSubstr("--use-megatron-fsdp"),
                                  HasSubstr("--lr: expected above 0"), HasSubstr("5 faults:")));
}

// Exit code and faults are those of parse_command_line(), which training calls.
TEST(CheckCpConfig, JudgesAsTrainingDoes) {
  std::vector<std::vector<std::string>> lines = {{},
                                                 example_1_with("--context-parallel-size 3"),
                                                 example_1_with("--tensor-model-parallel-size 3"),
                                                 example_1_with("--seq-length 8190 --no-proof-of-exchange"),
                                                 example_1_with("--num-attention-heads 30"),
                                                 example_1_with("--cp-comm-type p2p a2a"),
                                                 example_1_with("--hierarchical-context-parallel-sizes 2 2")};
  for (const std::string& word : example_1()) {
    if (word.starts_with("--")) lines.push_back(example_1_without(word));
  }
  for (const std::vector<std::string>& line : lines) {
    SCOPED_TRACE(join(line, " "));
    std::string fault;
    try {
      parse_command_line(line, kExample1Ranks);
    } catch (const ConfigError& e) {
      fault = e.what();
    }
    const CheckOutcome outcome = check(line, kExample1Ranks);
    EXPECT_EQ(outcome.exit_code, fault.empty() ? kExitOk : kExitUsage) << outcome.text;
    const std::string first_fault = fault.substr(0, fault.find('\n'));
    if (!fault.empty() && first_fault.find("faults in the command line") == std::string::npos) {
      EXPECT_THAT(outcome.text, EndsWith("1 fault:\n  1. " + fault));
    } else if (!fault.empty()) {
      EXPECT_THAT(outcome.text, EndsWith(fault.substr(fault.find('\n'))));
    }
  }
}

TEST(CheckCpConfig, WorldSizeOfFlagThenLauncherThenSizes) {
  const auto ranks = [](const std::string& flags, int launched) {
    const std::string text = check(example_1_with(flags), launched).text;
    return text.substr(0, text.find(' '));
  };
  EXPECT_EQ(ranks("--world-size 16", 32), "16");
  EXPECT_EQ(ranks("--world_size=24", 32), "24");
  EXPECT_EQ(ranks("", 32), "32");
  EXPECT_EQ(ranks("", 0), "8");
  EXPECT_THAT(check_example("--world-size 0").text,
              HasSubstr("--world-size: expected a whole number of at least 1, got '0'"));
  EXPECT_THAT(check_example("--world-size").text,
              HasSubstr("1 fault:\n  1. --world-size: expected a value behind it, got nothing"));
  EXPECT_THAT(check_example("--world-size 12").text,
              AllOf(HasSubstr("world size (12) is not divisible"), HasSubstr("not known: the world does not divide"),
                    Not(HasSubstr("ringrun"))));
  EXPECT_THAT(check_example("--world-size 1").text,  // as without a launcher
              HasSubstr("; start it with: ringrun --nproc-per-node 8 PROGRAM ..."));
}

TEST(CheckCpConfig, BytesOfTheRingAreThoseOfTheFacts) {
  // 4096 positions x 1 local group x 128 channels x K and V x bf16; back come fp32 sums of twice that.
  EXPECT_THAT(check_example("--group-query-attention --num-query-groups 4").text,
              HasSubstr("2097152 and 6291456 bytes by plan, 2097152 and 6291456 by the closed form\n"));
  EXPECT_THAT(check_example("--context-parallel-size 1").text,
              HasSubstr("context parallelism: one rank, nothing is sent"));
}

TEST(CheckCpConfig, EveryTransportAgreesWithItsClosedForm) {
  for (const char* words :
       {"p2p", "all_gather", "a2a", "a2a+p2p --hierarchical-context-parallel-sizes 2 4", "auto",
        "a2a --cp-layout contiguous", "all_gather --cp-layout balanced", "a2a --num-attention-heads 64"}) {
    SCOPED_TRACE(words);
    const CheckOutcome outcome = check_example(std::string("--tensor-model-parallel-size 2 --context-parallel-size 8 "
                                                           "--num-attention-heads 16 --cp-comm-type ") +
                                               words);
    EXPECT_EQ(outcome.exit_code, kExitOk) << outcome.text;
    EXPECT_THAT(outcome.text, AllOf(HasSubstr("by the closed form\n"), Not(HasSubstr("DIFFER"))));
  }
}

TEST(CheckCpConfig, SaysWhereThereIsNoClosedForm) {
  EXPECT_THAT(check_example("--window-size 1000 0").text,
              HasSubstr("no closed form: what is sent follows from the window"));
  EXPECT_THAT(check_example("--tensor-model-parallel-size 1 --seq-length 8191").text,
              HasSubstr("no closed form: the ranks hold unequal parts"));
  EXPECT_THAT(
      check_example("--tensor-model-parallel-size 1 --cp-comm-type a2a --group-query-attention --num-query-groups 1")
          .text,
      HasSubstr("no closed form: 32 query and 1 key/value heads do not both divide by 2 ranks"));
}

TEST(CheckCpConfig, LayersMayDifferInTransport) {
  const CheckOutcome outcome = check_example("--num-layers 4 --cp-comm-type p2p a2a a2a p2p");
  EXPECT_THAT(outcome.text,
              AllOf(HasSubstr("context, p2p, each of layers 0 3"), HasSubstr("context, a2a, each of layers 1-2")));
}

TEST(CheckCpConfig, LayersOfAHybridModel) {
  const std::string hybrid = "--tensor-model-parallel-size 1 --hidden-size 512 --num-attention-heads 8 --num-layers 5 ";
  EXPECT_THAT(
      check_example(hybrid + "--hybrid-layer-pattern MM*-M").text,
      AllOf(HasSubstr("micro-batch: a Mamba layer keeps "), HasSubstr(" (layers 0-1 4), an attention layer keeps "),
            HasSubstr(" (layers 2), an MLP layer keeps "), HasSubstr("(layers 3), 5 layers ")));
  EXPECT_THAT(check_example(hybrid + "--hybrid-layer-pattern MMMMM").text,
              AllOf(HasSubstr("context parallelism: no layer has attention\n"), Not(HasSubstr("context, per step"))));
}

// 8 heads of a tensor rank, 4096 tokens, 4 bytes: all that it saves, and it is said.
TEST(CheckCpConfig, WhatRecomputedAttentionSaves) {
  const auto of_layers = [](const std::string& text) {
    const std::string from = text.substr(text.find(", 4 layers ") + 11);
    return from.substr(0, from.find(';'));
  };
  const std::string all = check_example("--num-layers 4").text;
  const std::string recomputed = check_example("--num-layers 4 --recompute-activations").text;
  EXPECT_THAT(all, Not(HasSubstr("core_attn")));
  EXPECT_THAT(recomputed, HasSubstr("(core_attn) keeps 128.0 KiB less in each of 4 layers"));
  EXPECT_NE(of_layers(all), of_layers(recomputed));
}

TEST(CheckCpConfig, TellsThatAllgatherIsReadAsAllGather) {
  const CheckOutcome outcome = check_example("--cp-comm-type allgather");
  EXPECT_EQ(outcome.exit_code, kExitOk);
  EXPECT_THAT(outcome.text,
              AllOf(HasSubstr("allgather is read as all_gather"), HasSubstr("context, all_gather, each of")));
}

TEST(CheckCpConfig, ManyRanksAreShortened) {
  const CheckOutcome outcome = check_example(
      "--world-size 4096 --context-parallel-size 64 --cp-comm-type a2a+p2p "
      "--hierarchical-context-parallel-sizes 8 8 "
      "--global-batch-size 64");
  EXPECT_EQ(outcome.exit_code, kExitOk) << outcome.text;
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("hierarchical context-parallel sizes: [8, 8]"), HasSubstr("cp level 1"),
                                  HasSubstr("... 1016 more"), HasSubstr("... 48 more")));
}

TEST(CheckCpConfig, AbsurdSizesAreNotCounted) {
  const CheckOutcome layers = check_example("--num-layers 2000000000");
  EXPECT_EQ(layers.exit_code, kExitUsage);
  EXPECT_THAT(
      layers.text,
      AllOf(
          HasSubstr("  --num-layers 2000000000 (at most 16384)\n"),
          EndsWith(
              "1 fault:\n  1. too large for any machine: --num-layers 2000000000 (at most 16384); give smaller sizes")));
  EXPECT_THAT(check_example("--context-parallel-size 4096 --world-size 16384").text,
              EndsWith("\nok, but not counted: --context-parallel-size 4096 (at most 2048)"));
  const std::string text =
      check_example("--context-parallel-size 2000000000 --tensor-model-parallel-size 2000000000").text;
  EXPECT_THAT(text, AllOf(HasSubstr("ranks 2147483647 (at most 1048576), --context-parallel-size"),
                          HasSubstr("is not divisible")));
}

TEST(CheckCpConfig, Vocabulary) {
  EXPECT_THAT(check_example("--vocab-size 1000").text, HasSubstr("1000 ids, padded to 1024 (24 dummy tokens)"));
  EXPECT_THAT(check_example("--tokenizer-type NullTokenizer --vocab-size 1024").text,
              HasSubstr("1024 ids, padded to 1024 (0"));
  EXPECT_THAT(check_example("--padded-vocab-size 50304").text,
              AllOf(HasSubstr("50257 ids, padded to 50304"), EndsWith("\nok")));
  EXPECT_THAT(check_example("--padded-vocab-size 50000").text, HasSubstr("--padded-vocab-size 50000 is below"));
  EXPECT_THAT(check_example("--tokenizer-type NullTokenizer").text, HasSubstr("not known without the vocabulary"));
}

TEST(CheckCpConfig, HelpAndTable) {
  const CheckOutcome help = check({"--help"});
  EXPECT_EQ(help.exit_code, kExitOk);
  EXPECT_THAT(help.text, AllOf(HasSubstr("--world-size N"), HasSubstr("--context-parallel-size")));
  EXPECT_THAT(check({"--support-table"}).text, HasSubstr("| 56 |"));
}

}  // namespace
}  // namespace ringtron
