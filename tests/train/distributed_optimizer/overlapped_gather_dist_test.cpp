// While values come during the forward a step, an evaluation and a save see the values that they see after all have
// come, to the bit, even where nothing arrives before it is waited for; and one layer that does not wait is seen.
#include <gmock/gmock.h>

#include "ringtron/models/model_spec.h"
#include "ringtron/optim/gradient_clip.h"
#include "tests/support/late_works.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

constexpr const char* kBuckets = "--use-distributed-optimizer --ddp-bucket-size 1";

// What Assembly puts together, with a bucket for each parameter and gathers that tests choose.
class Run {
 public:
  enum class Gathers { at_once, late };

  Run(const Job& job, Gathers gathers)
      : job_(job),
        late_(job.parallel().data_context()),
        store_({job.compute_type(), job.device(), job.config()->precision.seed}),
        attention_(
            make_cp_attention(job.parallel().context(), make_batch_shape(job.config(), {}, {})->sequence->layout)),
        model_({job.parallel(), store_, *attention_}, model_spec(job.config(), {}, job.tokenizer().vocab_size())),
        schedule_(schedule_options()),
        reducer_(store_.all(),
                 [&](AxisSet axes) -> Communicator& {
                   return axes == kDataContextAxes && gathers == Gathers::late ? late_ : job.parallel().group(axes);
                 },
                 {.overlap = true, .bucket_size = 1, .sharded = true, .overlap_gather = gathers == Gathers::late}),
        optimizer_(store_.all(), reducer_.buffer().plan(), {}, InitialValues::drawn, reducer_.owned()),
        state_{store_, optimizer_, schedule_, job.config(), {}, {}},
        channels_(job.parallel(), {}, job.device()),
        step_(job, model_, state_, reducer_, *attention_, channels_) {}

  ParameterList parameters() { return store_.all(); }

  struct Seen {
    std::vector<double> losses, evaluations, norms;
    std::vector<at::Tensor> values;  // of this rank, at the end
    bool operator==(const Seen& other) const {
      bool same = losses == other.losses && evaluations == other.evaluations && norms == other.norms;
      for (std::size_t i = 0; i < values.size(); ++i) same = same && at::equal(values[i], other.values[i]);
      return same && values.size() == other.values.size();
    }
  };

  // Evaluates after the second step, before any other forward.
  Seen train(DataLoader& loader, DataLoader& validation) {
    Seen seen;
    for (int i = 0; i < kSteps; ++i) {
      seen.losses.push_back(step_.run(loader).loss.item<double>());
      if (i == 1) seen.evaluations.push_back(step_.evaluate(validation, 2));
      if (i == 2)
        seen.norms.push_back(
            parameters_norm(parameters(), {job_.parallel().model(), job_.parallel().tp_rank()}).item<double>());
    }
    await_values(parameters());
    for (const Parameter* p : parameters()) seen.values.push_back(p->value.detach().clone());
    return seen;
  }

 private:
  static LrScheduleOptions schedule_options() {
    LrScheduleOptions options;
    options.max_lr = options.min_lr = 0.01;
    options.decay_samples = 1;
    return options;
  }

  const Job& job_;
  LateWorks late_;
  ParameterStore store_;
  std::unique_ptr<CpAttention> attention_;
  GptModel model_;
  LrSchedule schedule_;
  GradientReducer reducer_;
  Optimizer optimizer_;
  TrainingState state_;
  PipelineChannels channels_;
  TrainStep step_;
};

const std::vector<std::string>& models() {
  static const std::vector<std::string> kModels = {
      kLlamaLike, kGptLike,
      fmt::format("{} --recompute-granularity full --recompute-method uniform --recompute-num-layers 1", kLlamaLike),
      "--hybrid-layer-pattern M*- --num-layers 3 --mamba-num-heads 16 --mamba-head-dim 2 --mamba-num-groups 8 "
      "--mamba-state-dim 4 --normalization RMSNorm --ffn-hidden-size 48 --position-embedding-type none"};
  return kModels;
}

// On a job of its own; `spoil` may change the run before it begins.
Run::Seen seen(
    RankContext& ranks, int number, const SharedFolder& folder, const std::string& flags, Run::Gathers gathers,
    const std::function<void(Run&)>& spoil = [](Run&) {}) {
  const Layout layout{1, 1, ranks.size(), false, kGlobalBatch / ranks.size() / 2};
  ToyTraining toy(ranks, number, toy_config(layout, folder.corpus(), fmt::format("{} {}", flags, kBuckets)));
  Run run(toy.job(), gathers);
  spoil(run);
  Run::Seen out = run.train(*toy.loader(), *toy.loader());
  toy.job().world().barrier();
  return out;
}

DIST_TEST(OverlappedGather, EveryReaderWaitsForWhatItReads, 2, 4) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const std::string& model : models()) {
    SCOPED_TRACE(model);
    const Run::Seen expected = seen(ranks, number++, folder, model, Run::Gathers::at_once);
    EXPECT_TRUE(seen(ranks, number++, folder, model, Run::Gathers::late) == expected);
  }
}

// Negative control: the forward reads one parameter without waiting for it, of the embedding, of a layer, of the end.
DIST_TEST(OverlappedGather, OneReaderThatDoesNotWaitIsSeen, 2) {
  const SharedFolder folder(ranks);
  const Run::Seen expected = seen(ranks, 0, folder, kLlamaLike, Run::Gathers::at_once);
  int number = 1;
  for (const std::string name : {"embedding.word_embeddings.weight", "decoder.layers.1.mlp.linear_fc1.weight",
                                 "decoder.final_layernorm.weight", "output_layer.weight"}) {
    int found = 0;
    const Run::Seen got = seen(ranks, number++, folder, kLlamaLike, Run::Gathers::late, [&](Run& run) {
      for (Parameter* parameter : run.parameters()) {
        if (parameter->name != name) continue;
        parameter->await_value = {};
        ++found;
      }
    });
    EXPECT_EQ(found, 1) << name;
    EXPECT_NE(got.losses, expected.losses) << name;
  }
}

}  // namespace
}  // namespace ringtron::testing
