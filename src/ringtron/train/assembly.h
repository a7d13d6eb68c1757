// The parts of one rank's training, made in the order in which they need each other, and kept together.
//
//   Assembly assembly(job);
//   assembly.step().run(*loader);
#pragma once

#include <functional>
#include <memory>

#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/data_parallel/gradient_reducer.h"
#include "ringtron/models/gpt.h"
#include "ringtron/pipeline_parallel/pipeline_channels.h"
#include "ringtron/train/job.h"
#include "ringtron/train/train_step.h"
#include "ringtron/train/training_state.h"

namespace ringtron {

// Optimizer steps of the whole run, by --train-iters or --train-samples.
std::int64_t iterations_of(const Config& config);

// --deterministic-mode and --hierarchical-context-parallel-sizes.
CpAttentionOptions cp_attention_options(const ResolvedConfig& config);

// Makes the attention of a group; tests and tools give one that is wrong on purpose.
using MakeAttention =
    std::function<std::unique_ptr<CpAttention>(Communicator&, SequenceLayout, const CpAttentionOptions&)>;

class Assembly {
 public:
  // Weights are the initial ones; with InitialValues::deferred there are none, until load_checkpoint() has returned
  // true or start_from_initial_values() is called. `job` outlives the assembly. Collective.
  explicit Assembly(const Job& job, const MakeAttention& make_attention = make_cp_attention,
                    InitialValues values = InitialValues::drawn, const MakeLayer& make_layer = ringtron::make_layer);
  Assembly(const Assembly&) = delete;  // the parts refer to each other
  Assembly& operator=(const Assembly&) = delete;

  // Draws the weights; the optimizer begins with them.
  void start_from_initial_values();

  ParameterStore& store() { return store_; }
  const GptModel& model() const { return model_; }
  CpAttention& attention() { return *attention_; }
  const std::vector<CpTransport>& transports() const { return transports_; }
  TrainingState& state() { return state_; }
  TrainStep& step() { return step_; }
  GradientReducer& reducer() { return reducer_; }  // for who runs a backward without step()

 private:
  ParameterStore store_;
  const std::vector<CpTransport> transports_;  // of each layer
  std::unique_ptr<CpAttention> attention_;
  GptModel model_;
  PipelineChannels channels_;
  LrSchedule schedule_;
  GradientReducer reducer_;
  Optimizer optimizer_;
  TrainingState state_;
  TrainStep step_;
};

}  // namespace ringtron
