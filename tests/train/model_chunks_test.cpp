// A model in several chunks computes the losses and gradients of the same model in one, to the bit, as
// instructions run it.
#include <gmock/gmock.h>

#include "ringtron/models/model_spec.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

// What Assembly puts together, with chunks of the model that a test chooses.
class Chunks {
 public:
  Chunks(const Job& job, const ModelSpec& spec, std::span<const StageRange> ranges)
      : store_({job.compute_type(), job.device(), job.config()->precision.seed}),
        attention_(
            make_cp_attention(job.parallel().context(), make_batch_shape(job.config(), {}, {})->sequence->layout)),
        model_({job.parallel(), store_, *attention_}, spec, ranges),
        schedule_(schedule_options()),
        reducer_(store_.all(), [&](AxisSet axes) -> Communicator& { return job.parallel().group(axes); }, {}),
        optimizer_(store_.all(), reducer_.buffer().plan(), {}, InitialValues::drawn),
        state_{store_, optimizer_, schedule_, job.config(), {}, {}},
        channels_(job.parallel(), {}, job.device()),
        step_(job, model_, state_, reducer_, *attention_, channels_) {}

  TrainStep& step() { return step_; }
  ParameterList parameters() { return store_.all(); }

 private:
  static LrScheduleOptions schedule_options() {
    LrScheduleOptions options;
    options.max_lr = 1.0;
    options.decay_samples = 1;
    return options;
  }

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

struct Outcome {
  double loss = 0.0;
  LogicalTensors gradients;
};

Outcome outcome(ToyTraining& run, std::span<const StageRange> ranges) {
  Chunks chunks(run.job(), model_spec(run.job().config(), {}, run.job().tokenizer().vocab_size()), ranges);
  Outcome out;
  out.loss = chunks.step().compute_gradients(*run.loader()).loss.item<double>();
  for (const Parameter* p : chunks.parameters()) out.gradients[p->name] = p->gradient.clone();
  return out;
}

class ModelChunks : public ::testing::TestWithParam<const char*> {};

TEST_P(ModelChunks, ComputeWhatOneDoes) {
  TempDir folder;
  const std::string corpus = (folder / "corpus").string();
  write_toy_corpus(corpus);
  ToyTraining run(toy_config({}, corpus, fmt::format("{} --num-layers 3 {}", kLlamaLike, GetParam())));
  const Outcome whole = outcome(run, std::vector<StageRange>{{0, 3, true, true}});
  const Outcome divided =
      outcome(run, std::vector<StageRange>{{0, 1, true, false}, {1, 1, false, false}, {2, 1, false, true}});
  EXPECT_EQ(divided.loss, whole.loss);
  ASSERT_EQ(divided.gradients.size(), whole.gradients.size());
  for (const auto& [name, gradient] : whole.gradients) EXPECT_TRUE(divided.gradients.at(name).equal(gradient)) << name;
  // Negative control: layers in another order are another model.
  const Outcome swapped =
      outcome(run, std::vector<StageRange>{{1, 1, true, false}, {0, 1, false, false}, {2, 1, false, true}});
  EXPECT_NE(swapped.loss, whole.loss);
}

INSTANTIATE_TEST_SUITE_P(
    Flags, ModelChunks,
    ::testing::Values("", "--recompute-granularity full --recompute-method uniform --recompute-num-layers 1",
                      "--recompute-activations --cp-keep-kv", "--reset-attention-mask"));

TEST(ModelChunksOf, ATiedOutputLayerNeedsTheEmbedding) {
  TempDir folder;
  const std::string corpus = (folder / "corpus").string();
  write_toy_corpus(corpus);
  ToyTraining run(toy_config({}, corpus, kGptLike));
  EXPECT_THROW(outcome(run, std::vector<StageRange>{{0, 1, true, false}, {1, 1, false, true}}), InternalError);
}

}  // namespace
}  // namespace ringtron::testing
