// A kind of layer that the library does not have: a gated feed-forward layer without attention, in the place of every
// second transformer layer. It works under tensor, sequence, context and data parallelism and in checkpoints, since it
// says how its parameters are divided.
//
//   ringrun --nproc-per-node 4 new_layer_kind --tensor-model-parallel-size 2 --context-parallel-size 2
#include <cstdio>
#include <memory>
#include <string>

#include "ringtron/modules/layer.h"
#include "ringtron/modules/norm_layer.h"
#include "ringtron/parameter/parameter_store.h"
#include "ringtron/ringtron.h"
#include "ringtron/tensor_parallel/linear.h"

using namespace ringtron;

namespace {

// x + W_down (sigmoid(a) * b), with a and b the halves of W_up norm(x).
class GatedLayer : public Layer {
 public:
  GatedLayer(const BuildContext& build, const ModelSpec& model, const LayerSpec& layer)
      : GatedLayer(build, model, build.store.add(parameters(model, layer.number)), prefix(layer.number)) {}

  // x: [s, b, h], this rank's rows of the sequence; under sequence parallelism the first product gathers them over the
  // tensor group and the second divides them again.
  at::Tensor forward(const at::Tensor& x, const StepContext&) const override {
    const at::Tensor up =
        column_parallel_linear(norm_.forward(x), LinearWeight(up_), {}, group_, options_.sequence_parallel);
    const auto halves = up.chunk(2, -1);
    const at::Tensor gated = halves[0].sigmoid().mul(halves[1]);
    return x.add(row_parallel_linear(gated, LinearWeight(down_), {}, group_, options_.sequence_parallel));
  }

 private:
  GatedLayer(const BuildContext& build, const ModelSpec& model, const NamedParameters& all, const std::string& before)
      : options_(model.transformer.mlp),
        group_(build.tensor_group()),
        norm_(model.transformer.norm, all.within(before), {"norm.weight", "norm.bias"}),
        up_(all.at(before + "up.weight")),
        down_(all.at(before + "down.weight")) {}

  static std::string prefix(int number) { return "decoder.layers." + std::to_string(number) + ".gated."; }

  // Names and shapes of the whole model; `dim` is divided over the tensor ranks, each of `parts` by itself, so that a
  // rank has the same rows of both halves. Initial values depend on name and place alone, not on the layout.
  static ParameterSpecs parameters(const ModelSpec& model, int number) {
    const MlpOptions& mlp = model.transformer.mlp;
    const NormOptions& norm = model.transformer.norm;
    const std::string before = prefix(number);
    ParameterSpecs specs;
    specs.push_back({.name = before + "norm.weight",
                     .shard = {.global_shape = {mlp.hidden}},
                     .initial = Initial::constant(norm.zero_centred ? 0.0 : 1.0)});
    if (!norm.rms) specs.push_back({.name = before + "norm.bias", .shard = {.global_shape = {mlp.hidden}}});
    // Under sequence parallelism each tensor rank sees a part of the rows, and has a part of these gradients.
    for (ParameterSpec& spec : specs) {
      if (mlp.sequence_parallel) spec.gradient_axes = kDataContextAxes | Axis::tensor;
    }
    specs.push_back({.name = before + "up.weight",
                     .shard = {.global_shape = {2 * mlp.ffn, mlp.hidden}, .dim = 0, .parts = {mlp.ffn, mlp.ffn}},
                     .initial = mlp.up_weight});
    specs.push_back({.name = before + "down.weight",
                     .shard = {.global_shape = {mlp.hidden, mlp.ffn}, .dim = 1},
                     .initial = mlp.down_weight});
    return specs;
  }

  const MlpOptions options_;
  Communicator& group_;
  NormLayer norm_;
  Parameter& up_;
  Parameter& down_;
};

std::unique_ptr<Layer> every_second_gated(const BuildContext& build, const ModelSpec& model, const LayerSpec& layer) {
  if (layer.number % 2 == 0) return make_layer(build, model, layer);  // the library's
  return std::make_unique<GatedLayer>(build, model, layer);
}

class Powers : public Dataset {
 public:
  std::int64_t size() const override { return 64; }
  std::int64_t sequence_length() const override { return 64; }
  void read(std::int64_t sample, std::int64_t first, std::int64_t count, std::int32_t* out) const override {
    for (std::int64_t i = 0; i < count; ++i) {
      out[i] = static_cast<std::int32_t>((sample + (first + i) * (first + i)) % 100);
    }
  }
};

void train(Program& program) {
  const std::vector<std::string> flags = {"--num-layers",
                                          "4",
                                          "--hidden-size",
                                          "32",
                                          "--num-attention-heads",
                                          "4",
                                          "--seq-length",
                                          "64",
                                          "--swiglu",
                                          "--normalization",
                                          "RMSNorm",
                                          "--position-embedding-type",
                                          "rope",
                                          "--disable-bias-linear",
                                          "--max-position-embeddings",
                                          "64",
                                          "--micro-batch-size",
                                          "2",
                                          "--global-batch-size",
                                          "8",
                                          "--train-iters",
                                          "8",
                                          "--lr",
                                          "1e-2",
                                          "--tokenizer-type",
                                          "NullTokenizer",
                                          "--vocab-size",
                                          "100",
                                          "--hidden-dropout",
                                          "0",
                                          "--attention-dropout",
                                          "0"};
  Training training(program, program.flags_over(program.flags_over({}, flags)), {.make_layer = every_second_gated});
  const Powers dataset;
  training.read(dataset);
  while (training.iteration() < training.config()->batch.train_iters && training.ready()) {
    const StepResult result = training.step();
    char line[80];
    std::snprintf(line, sizeof line, "step %d: loss %.6f, gradient norm %.6f", static_cast<int>(training.iteration()),
                  result.loss.item<double>(), result.grad_norm.item<double>());
    training.print(line);
  }
  training.print("loss without training: " + std::to_string(training.evaluate(dataset, 2)));
  training.save();
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, train); }
