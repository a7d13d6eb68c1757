#include "ringtron/tools/verify/training_trace.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "ringtron/base/error.h"
#include "ringtron/models/model_spec.h"
#include "ringtron/train/assembly.h"
#include "ringtron/train/memory/memory_check.h"
#include "ringtron/train/training_data.h"
#include "ringtron/train/whole_tensor.h"

namespace ringtron {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr double kRoundingOnly = 1e-12;  // of the largest gradient of the model

// Comparisons skip NaNs, so they become what no comparison can miss.
at::Tensor comparable(const at::Tensor& tensor) {
  return at::nan_to_num(tensor.detach().cpu(), kInfinite, kInfinite, kInfinite);
}

// `own`: comparable, or minus infinity where this rank does not know.
Seen over_ranks(const at::Tensor& own, Communicator& world) {
  at::Tensor highest = own.clone(at::MemoryFormat::Contiguous);
  at::Tensor lowest = at::where(own == -kInfinite, kInfinite, own).contiguous();
  world.all_reduce(highest, ReduceOp::max).wait();
  world.all_reduce(lowest, ReduceOp::min).wait();
  return {lowest, highest};
}

// Of the whole model, in its order. Under a pipeline a rank has the parameters of its stages, and under the distributed
// optimizer the sums of what it owns alone.
std::vector<std::pair<std::string, Seen>> gradients_over_ranks(const Job& job, Assembly& assembly,
                                                               const at::Tensor& scale) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> known;
  for (const Parameter* parameter : assembly.store().all())
    known[parameter->name] = at::full(parameter->value.sizes(), -kInfinite, at::kDouble);
  for (OptimizerState& state : assembly.state().optimizer.states()) {
    at::Tensor& own = known.at(state.parameter->name);
    state.part_of(own).copy_(comparable(state.part_of(state.parameter->gradient) * scale));
  }
  std::map<std::string, const Parameter*> here;
  for (const Parameter* parameter : assembly.store().all()) here[parameter->name] = parameter;
  std::vector<std::pair<std::string, Seen>> out;
  const ModelSpec model = model_spec(job.config(), assembly.transports(), job.tokenizer().vocab_size());
  for (const ParameterSpec& spec : model_parameters(model)) {
    std::vector<std::int64_t> shape = spec.shard.global_shape;
    if (spec.real_rows >= 0) shape.front() = spec.real_rows;
    at::Tensor own = at::full(shape, -kInfinite, at::kDouble);
    if (const auto found = here.find(spec.name); found != here.end())
      own = whole_tensor(*found->second, known.at(spec.name), job.parallel());
    out.emplace_back(spec.name, over_ranks(own, job.world()));
  }
  return out;
}

double largest(const at::Tensor& tensor) { return tensor.numel() == 0 ? 0.0 : tensor.abs().max().item<double>(); }

double absolute_difference(const Seen& a, const Seen& b) {
  if (a.highest.sizes() != b.highest.sizes()) return kInfinite;
  const double worst = std::max(largest(a.highest - b.lowest), largest(b.highest - a.lowest));
  return std::isnan(worst) ? kInfinite : worst;  // both infinite
}

double relative(double difference, double scale) {
  if (difference == 0.0) return 0.0;
  return scale > 0.0 && std::isfinite(scale) ? difference / scale : kInfinite;
}

double whole_model(const TracedStep& step) {
  double out = 0.0;
  for (const auto& [name, gradient] : step.gradients) out = std::max(out, largest(gradient.highest));
  return out;
}

// Of each parameter, in order; empty when the two have not the same parameters.
std::vector<double> gradient_differences(const TracedStep& expected, const TracedStep& got) {
  std::vector<double> out;
  if (expected.gradients.size() != got.gradients.size()) return out;
  const double whole = whole_model(expected);
  for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
    const auto& [name, gradient] = expected.gradients[i];
    if (got.gradients[i].first != name) return {};
    const double own = largest(gradient.highest);
    out.push_back(
        relative(absolute_difference(gradient, got.gradients[i].second), own < kRoundingOnly * whole ? whole : own));
  }
  return out;
}

StepDifference compare_step(const TracedStep& expected, const TracedStep& got, const std::vector<double>& gradients) {
  StepDifference out;
  out.loss = expected.loss.highest.item<double>();
  out.other_loss = got.loss.highest.item<double>();
  out.loss_difference = relative(absolute_difference(expected.loss, got.loss), std::abs(out.loss));
  if (gradients.empty()) {
    out.gradient_difference = kInfinite;
    return out;
  }
  const auto worst = std::max_element(gradients.begin(), gradients.end());
  out.gradient_difference = *worst;
  out.parameter = expected.gradients[static_cast<std::size_t>(worst - gradients.begin())].first;
  return out;
}

void note_first(TraceDifference& out, const TracedStep& expected, const std::vector<double>& gradients, double bound) {
  if (out.first_step != 0) return;
  const auto first = std::find_if(gradients.begin(), gradients.end(), [&](double d) { return !(d <= bound); });
  if (first == gradients.end() && out.steps.back().loss_difference <= bound && !gradients.empty()) return;
  out.first_step = static_cast<int>(out.steps.size());
  if (first == gradients.end()) return;
  out.first_parameter = expected.gradients[static_cast<std::size_t>(first - gradients.begin())].first;
  out.first_difference = *first;
}

}  // namespace

TrainingTrace trace_training(const Job& job, CpFault fault, const std::function<void(int step)>& before_step) {
  require_memory(job);
  Assembly assembly(job, [fault](Communicator& group, SequenceLayout layout, const CpAttentionOptions& options) {
    return make_faulty_attention(group, std::move(layout), options, fault);
  });
  const TrainingData data(job, assembly.transports());
  const auto loader = data.loader(Split::train, 0);
  TrainingTrace out;
  for (int i = 1; i <= job.config()->batch.train_iters; ++i) {
    before_step(i);
    const TrainStep::Gradients gradients = assembly.step().compute_gradients(*loader);
    TracedStep step;
    step.loss = over_ranks(comparable(gradients.loss), job.world());
    step.gradients = gradients_over_ranks(job, assembly, gradients.scale);
    out.push_back(std::move(step));
    try {
      assembly.step().apply(gradients);
    } catch (const NumericError&) {
      break;  // every rank has the same numbers and ends here too; the comparison will say what is wrong
    }
  }
  return out;
}

TraceDifference compare_traces(const TrainingTrace& expected, const TrainingTrace& got, double bound) {
  TraceDifference out;
  for (std::size_t i = 0; i < std::min(expected.size(), got.size()); ++i) {
    const std::vector<double> gradients = gradient_differences(expected[i], got[i]);
    out.steps.push_back(compare_step(expected[i], got[i], gradients));
    out.loss = std::max(out.loss, out.steps.back().loss_difference);
    out.gradient = std::max(out.gradient, out.steps.back().gradient_difference);
    note_first(out, expected[i], gradients, bound);
  }
  if (expected.size() != got.size()) {
    out.loss = kInfinite;
    if (out.first_step == 0) out.first_step = static_cast<int>(out.steps.size());
  }
  return out;
}

}  // namespace ringtron
