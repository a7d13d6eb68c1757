// Recomputed activations change no bit: in the same layout of ranks, losses and all gradients are those of a
// run that keeps everything, whatever is recomputed, over each transport, with dropout, with and without kept
// keys.
#include <gmock/gmock.h>

#include "tests/train/layout_parity.h"

namespace ringtron::testing {
namespace {

using ::testing::IsEmpty;

constexpr int kShortSteps = 2;

const char* const kSelective = "--recompute-activations";
const char* const kMlp = "--recompute-granularity selective --recompute-modules mlp";
const char* const kMlpAndAttention = "--recompute-granularity selective --recompute-modules mlp core_attn layernorm";
const char* const kEachLayer = "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1";
const char* const kInPairs = "--recompute-granularity full --recompute-method uniform --recompute-num-layers 2";
const char* const kFirstTwo = "--recompute-granularity full --recompute-method block --recompute-num-layers 2";

Trace short_trace(ToyTraining& run) {
  const auto loader = run.loader();
  Trace out;
  for (int i = 0; i < kShortSteps; ++i) {
    const TrainStep::Gradients gradients = run.parts().step().compute_gradients(*loader);
    out.losses.push_back(gradients.loss.item<double>());
    out.gradients.push_back(run.gradients(gradients.scale));
    run.parts().step().apply(gradients);
  }
  return out;
}

// Names of what is not the same to the last bit.
std::vector<std::string> different(const Trace& expected, const Trace& got) {
  std::vector<std::string> names;
  for (int i = 0; i < kShortSteps; ++i) {
    if (expected.losses[i] != got.losses[i]) names.push_back(fmt::format("loss {}", i));
    for (const auto& [name, gradient] : expected.gradients[i]) {
      if (!got.gradients[i].at(name).equal(gradient)) names.push_back(fmt::format("{} {}", name, i));
    }
  }
  return names;
}

struct Setting {
  Layout layout;
  std::string flags;
};

void expect_same_bits(RankContext& ranks, const std::vector<Setting>& settings,
                      const std::vector<std::string>& recomputes) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const auto& [layout, flags] : settings) {
    const auto trace = [&](const std::string& recompute) {
      ToyTraining run(ranks, number++, toy_config(layout, folder.corpus(), fmt::format("{} {}", flags, recompute)));
      const Trace out = short_trace(run);
      run.job().world().barrier();
      return out;
    };
    const Trace expected = trace("");
    for (const std::string& recompute : recomputes) {
      EXPECT_THAT(different(expected, trace(recompute)), IsEmpty())
          << layout.text() << ' ' << flags << ' ' << recompute;
    }
  }
}

std::string kept(const char* recompute) { return fmt::format("{} --cp-keep-kv", recompute); }

DIST_TEST(Recompute, EveryGranularity, 1) {
  const Layout alone = {1, 1, 1, false, 4};
  expect_same_bits(ranks,
                   {{alone, fmt::format("{} --num-layers 3", kLlamaLike)},
                    {alone, fmt::format("{} --num-layers 3 --softmax-type learnable", kGptLike)},
                    {alone, fmt::format("{} --bf16", kGptLike)}},
                   {kSelective, kMlp, kMlpAndAttention, kEachLayer, kInPairs, kFirstTwo});
}

// Gradients are reduced while backward runs, bucket by bucket, over two replicas.
DIST_TEST(Recompute, OverlappedReduction, 2) {
  expect_same_bits(ranks, {{{1, 1, 2, false, 2}, fmt::format("{} --num-layers 3 --ddp-bucket-size 500", kLlamaLike)}},
                   {kSelective, kMlp, kEachLayer, kInPairs, kFirstTwo});
}

DIST_TEST(Recompute, TensorAndSequenceParallel, 2) {
  expect_same_bits(ranks, {{{2, 1, 1, false, 4}, kGptLike}, {{2, 1, 1, true, 4}, kGptLike}},
                   {kSelective, kMlp, kMlpAndAttention, kEachLayer, kInPairs});
}

DIST_TEST(Recompute, ModulesInAPipeline, 2) {
  const Layout stages{1, 1, 1, false, 1, false, /*pp=*/2};
  expect_same_bits(ranks, {{stages, kLlamaLike}, {stages, fmt::format("{} --pipeline-schedule zero-bubble", kGptLike)}},
                   {kMlp, kMlpAndAttention});
}

DIST_TEST(Recompute, EachTransport, 2) {
  std::vector<Setting> settings;
  for (const char* transport : {"p2p", "all_gather", "a2a"}) {
    settings.push_back({{1, 2, 1, false, 4}, fmt::format("{} --cp-comm-type {}", kLlamaLike, transport)});
  }
  expect_same_bits(ranks, settings, {kSelective, kept(kSelective), kInPairs, kept(kInPairs)});
}

DIST_TEST(Recompute, Hierarchical, 4) {
  expect_same_bits(ranks,
                   {{{1, 4, 1, false, 4},
                     fmt::format("{} --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2", kLlamaLike)}},
                   {kept(kSelective), kEachLayer, kept(kEachLayer)});
}

DIST_TEST(Recompute, TensorContextAndSequenceParallelWithDocuments, 4) {
  std::vector<Setting> settings;
  for (const char* transport : {"p2p", "a2a all_gather"}) {
    settings.push_back({{2, 2, 1, true, 4},
                        fmt::format("{} --cp-comm-type {} --softmax-type learnable --reset-attention-mask "
                                    "--reset-position-ids --cp-layout balanced",
                                    kGptLike, transport)});
  }
  expect_same_bits(ranks, settings, {kept(kSelective), kInPairs, kept(kEachLayer)});
}

DIST_TEST(Recompute, ContextAndDataParallelOverlapped, 4) {
  expect_same_bits(ranks,
                   {{{1, 2, 2, false, 2}, fmt::format("{} --cp-comm-type p2p --ddp-bucket-size 500", kLlamaLike)}},
                   {kSelective, kEachLayer, kept(kInPairs)});
}

// Some ranks have no rows at all.
DIST_TEST(Recompute, EmptyShards, 4) {
  expect_same_bits(ranks, {{{1, 4, 1, false, 4}, fmt::format("{} --seq-length 2 --cp-comm-type p2p a2a", kLlamaLike)}},
                   {kSelective, kept(kEachLayer)});
}

// The same against one process that recomputes nothing, for all steps.
DIST_TEST(Recompute, ParityWithOneProcess, 4) {
  std::vector<Way> ways;
  for (const char* transport : {"p2p", "all_gather", "a2a"}) {
    ways.push_back({{2, 2, 1, true, 4}, fmt::format("--cp-comm-type {} {} --cp-keep-kv", transport, kEachLayer)});
  }
  expect_parity_of_ways(ranks, Model{"recompute", fmt::format("{} --reset-attention-mask", kLlamaLike)}, ways, 0);
}

// Negative control: keys that are kept in the wrong order change gradients, and only where they are used.
DIST_TEST(Recompute, WrongKeptKeysAreSeen, 2) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const char* transport : {"p2p", "all_gather", "a2a"}) {
    const std::string flags = fmt::format("{} --cp-comm-type {} {}", kLlamaLike, transport, kEachLayer);
    const auto trace = [&](const std::string& more, CpFault fault) {
      ToyTraining run(ranks, number++, toy_config({1, 2, 1, false, 4}, folder.corpus(), flags + more), faulty(fault));
      const Trace out = short_trace(run);
      run.job().world().barrier();
      return out;
    };
    const Trace expected = trace("", CpFault::wrong_kept);  // nothing is kept
    EXPECT_THAT(different(expected, trace(" --cp-keep-kv", CpFault::none)), IsEmpty()) << transport;
    EXPECT_GT(largest_difference(expected.gradients[0], trace(" --cp-keep-kv", CpFault::wrong_kept).gradients[0]), 1e-6)
        << transport;
  }
}

// What attention's layers did in one step. A step that recomputes sends what two forwards and a backward
// send; under --cp-keep-kv what one does; and attends three times to every pair. The proof of exchange expects the
// same.
DIST_TEST(Recompute, BytesAndPairsAreCounted, 2) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const char* transport : {"p2p", "all_gather", "a2a"}) {
    const auto counts = [&](const std::string& recompute, bool backward) {
      ToyTraining run(ranks, number++,
                      toy_config({1, 2, 1, false, 4}, folder.corpus(),
                                 fmt::format("{} --cp-comm-type {} {}", kLlamaLike, transport, recompute)));
      const auto loader = run.loader();
      if (backward) {
        run.parts().step().run(*loader);  // with the proof, which throws if it fails
      } else {
        run.parts().step().evaluate(*loader, 1);
      }
      run.job().world().barrier();
      return run.parts().attention().proof().layer(1).done;
    };
    const ExchangeCounts forward = counts(kEachLayer, false), plain = counts("", true);
    EXPECT_GT(forward.bytes, 0);
    for (const char* recompute : {kSelective, kEachLayer}) {
      const ExchangeCounts again = counts(recompute, true), keeping = counts(kept(recompute), true);
      EXPECT_EQ(again.bytes, plain.bytes + forward.bytes) << transport << ' ' << recompute;
      EXPECT_EQ(keeping.bytes, plain.bytes) << transport << ' ' << recompute;
      EXPECT_EQ(2 * again.cells, 3 * plain.cells);
      EXPECT_EQ(keeping.cells, again.cells);
    }
    const ExchangeCounts second =
        counts("--recompute-granularity full --recompute-method block --recompute-num-layers 1", true);
    EXPECT_EQ(second, plain) << "layer 1 is not among the first one";
  }
}

}  // namespace
}  // namespace ringtron::testing
