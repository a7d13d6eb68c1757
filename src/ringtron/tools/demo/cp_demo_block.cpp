// Part 2 of cp_demo: a transformer block on shards, compared with one process.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>

#include "ringtron/base/log.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/data_parallel/gradient_reducer.h"
#include "ringtron/models/memory_estimate.h"
#include "ringtron/models/stage.h"
#include "ringtron/tools/demo/block_run.h"
#include "ringtron/tools/demo/cp_demo_parts.h"
#include "ringtron/tools/verify/shrink_config.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/assembly.h"
#include "ringtron/train/layer_transports.h"
#include "ringtron/train/memory/memory_check.h"
#include "ringtron/train/whole_tensor.h"

namespace ringtron {
namespace {

// The same numbers on every rank.
at::Tensor shared_random(const ModelConfig& model, std::int64_t samples, std::uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn({model.seq_length, samples, model.hidden_size}, generator, at::kDouble);
}

class Block {
 public:
  explicit Block(const Job& job)
      : job_(job),
        store_({job.compute_type(), job.device(), job.config()->precision.seed, job.parallel().tp_rank(),
                job.parallel().tp_size()}),
        transports_(layer_transports(job)),
        layout_(make_demo_layout(job)),
        attention_(make_cp_attention(job.parallel().context(), layout_, cp_attention_options(job.config()))),
        model_(model_spec(job.config(), transports_)) {
    const BuildContext build{job.parallel(), store_, *attention_};
    for (const LayerSpec& layer : model_.layers) layers_.push_back(make_layer(build, model_, layer));
    model_.output.tied = true;  // of the output layer the block has the norm alone
    const NamedParameters norm = store_.add(parameters_of(model_.output)).within("decoder.final_layernorm.");
    final_norm_ = std::make_unique<NormLayer>(model_.output.norm, norm, NormLayer::Names{"weight", "bias"});
    // All data-parallel ranks have the same rows.
    for (Parameter* parameter : store_.all()) parameter->gradient_axes = parameter->gradient_axes - Axis::data;
    reducer_ = std::make_unique<GradientReducer>(
        store_.all(), [&](AxisSet axes) -> Communicator& { return job.parallel().group(axes); }, BucketOptions{});
  }

  BlockRun run() {
    const at::Tensor rows = sequence_rows();
    const Config& config = job_.config();
    const std::int64_t samples = config.batch.micro_batch_size;
    const auto local = [&](std::uint64_t seed) {
      return shared_random(config.model, samples, seed)
          .to(store_.options().type)
          .to(job_.device())
          .index_select(0, rows);
    };
    const at::Tensor input = local(1).requires_grad_();
    const StepContext step = step_context(rows, samples);
    at::Tensor x = input;
    for (const auto& layer : layers_) x = layer->forward(x, step);
    const at::Tensor out = final_norm_->forward(x);
    reducer_->begin_step(/*micro_batches=*/1);
    torch::autograd::backward({out}, {local(2)});
    reducer_->finish();

    BlockRun result;
    result.local_rows = rows.size(0);
    result.out = whole_sequence(out.detach(), rows);
    result.input_gradient = whole_sequence(input.grad(), rows);
    for (const Parameter* p : store_.all()) {
      result.gradients.emplace_back(p->name, whole_tensor(*p, p->gradient, job_.parallel()).cpu());
    }
    return result;
  }

 private:
  bool sequence_parallel() const { return job_.config()->parallel.sequence_parallel; }

  static SequenceLayout make_demo_layout(const Job& job) {
    const Config& config = job.config();
    const AttentionMask mask(config.model.seq_length, /*causal=*/true, attention_window(config.model));
    const std::int64_t multiple = config.parallel.sequence_parallel ? job.parallel().tp_size() : 1;
    return make_layout(config.parallel.cp_layout, std::span(&mask, 1), job.parallel().cp_size(), multiple);
  }

  at::Tensor context_rows() const {
    return at::tensor(positions_in(layout_.of(job_.parallel().cp_rank())), at::kLong).to(job_.device());
  }

  // Global positions of the hidden states of this rank.
  at::Tensor sequence_rows() const {
    const at::Tensor rows = context_rows();
    if (!sequence_parallel()) return rows;
    const std::int64_t share = rows.size(0) / job_.parallel().tp_size();
    return rows.narrow(0, share * job_.parallel().tp_rank(), share).contiguous();
  }

  StepContext step_context(const at::Tensor& rows, std::int64_t samples) const {
    StepContext step;
    step.seed = model_.seed;
    for (std::int64_t b = 0; b < samples; ++b) step.sample_numbers.push_back(b);
    step.region.positions = rows;
    step.region.sample_numbers = at::tensor(step.sample_numbers, at::kLong).to(job_.device());
    if (model_.rotary) {
      const auto type = store_.options().type == at::kDouble ? at::kDouble : at::kFloat;
      step.rotary = rotary_table(context_rows().unsqueeze(1), *model_.rotary, type);
    }
    step.scan = make_scan_shape({layout_}, samples, job_.parallel().context().rank());
    return step;
  }

  // Every rank puts its rows in their places; where no other rank has any, the sum changes nothing.
  at::Tensor whole_sequence(const at::Tensor& local, const at::Tensor& rows) const {
    const ModelConfig& m = job_.config()->model;
    at::Tensor whole = at::zeros({m.seq_length, local.size(1), m.hidden_size}, local.options());
    whole.index_copy_(0, rows, local);
    job_.parallel().context().all_reduce(whole).wait();
    if (sequence_parallel()) job_.parallel().tensor().all_reduce(whole).wait();
    return whole.cpu();
  }

  const Job& job_;
  ParameterStore store_;
  const std::vector<CpTransport> transports_;  // of each layer
  SequenceLayout layout_;
  std::unique_ptr<CpAttention> attention_;
  ModelSpec model_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::unique_ptr<NormLayer> final_norm_;
  std::unique_ptr<GradientReducer> reducer_;
};

// Of the largest value; rounding in bf16 happens after every layer and in another order.
double tolerance_of(at::ScalarType type) { return type == at::kDouble ? 1e-10 : type == at::kFloat ? 1e-4 : 5e-2; }

// What one rank of the block needs: there is no embedding, no loss and no optimizer.
void require_block_memory(const Job& job, const char* where) {
  const ResolvedConfig& config = job.config();
  const ModelSpec model = model_spec(config);
  std::int64_t elements = 0;
  for (const LayerSpec& layer : model.layers) {
    for (const ParameterSpec& parameter : layer_parameters(model, layer)) {
      elements += parameter.local_elements(config->parallel.tensor_model_parallel_size);
    }
  }
  const std::int64_t bytes = elements * (model_element_bytes(config) + state_element_bytes(config));
  require_bytes(job, bytes + estimate_memory(config).activations.layers,
                fmt::format("the block {}, with its gradients and activations,", where));
}

}  // namespace

bool show_block(const Job& job) {
  const Config& config = job.config();
  require_block_memory(job, "of each rank");
  BlockRun expected;
  run_collectively(job.world(), [&] {
    if (!job.is_first_rank()) return;
    const Job alone(one_process(config), LaunchEnvironment{});
    require_block_memory(alone, "in one process, which the ranks are compared with");
    expected = Block(alone).run();
  });
  const BlockRun got = Block(job).run();
  if (!job.is_first_rank()) return true;
  const ModelConfig& m = config.model;
  print_line("");
  print_line("2. A transformer block of {} layers, forward and backward, {} layout, {}{}", m.num_layers,
             word_of(config.parallel.cp_layout), fmt::format("{}", fmt::join(config.parallel.cp_comm_type, " ")),
             config.parallel.sequence_parallel ? ", sequence parallelism" : "");
  print_line("  hidden states [s {}, b {}, h {}]; rank 0 holds {} of the {} rows", m.seq_length,
             config.batch.micro_batch_size, m.hidden_size, got.local_rows, m.seq_length);
  print_line("  gathered, put back into order and compared with one process:");
  return same_block_runs(got, expected, tolerance_of(job.compute_type()));
}

}  // namespace ringtron
