#include "ringtron/tools/profile/profile_cp.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/log.h"
#include "ringtron/base/random.h"
#include "ringtron/base/result_line.h"
#include "ringtron/base/text.h"
#include "ringtron/comm/local_communicator.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/context_parallel/schedule/lower.h"
#include "ringtron/context_parallel/transport_measure.h"
#include "ringtron/models/attention_shape.h"
#include "ringtron/modules/layer_options.h"
#include "ringtron/tools/faults/silent_communicator.h"
#include "ringtron/tools/profile/chrome_trace.h"
#include "ringtron/tools/profile/layer_bench.h"
#include "ringtron/tools/profile/profile_options.h"
#include "ringtron/tools/profile/profile_report.h"
#include "ringtron/tools/profile/trace_recorder.h"
#include "ringtron/tools/progress_line.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/assembly.h"
#include "ringtron/train/batch_shape.h"
#include "ringtron/train/job.h"
#include "ringtron/train/memory/memory_check.h"
#include "ringtron/train/start_up/before_rendezvous.h"

namespace ringtron {
namespace {

// Nine short documents for each long one, as they might come; the same on all ranks.
DocumentStarts made_up_documents(const Config& config) {
  const std::int64_t length = config.model.seq_length;
  DocumentStarts samples;
  for (int sample = 0; sample < config.batch.micro_batch_size; ++sample) {
    std::vector<std::int64_t>& starts = samples.emplace_back();
    std::uint64_t draw = 0;
    const auto below = [&](std::int64_t limit) {
      const std::uint32_t word =
          random_word(static_cast<std::uint64_t>(config.precision.seed), static_cast<std::uint64_t>(sample), draw++);
      return static_cast<std::int64_t>(word) % std::max<std::int64_t>(1, limit);
    };
    for (std::int64_t at = 0; at < length;) {
      starts.push_back(at);
      at += 1 + (below(10) == 0 ? length / 8 + below(length / 8) : length / 128 + below(length / 32));
    }
  }
  return samples;
}

LayerSetup layer_of(const Job& job, const BatchShape& batch) {
  const ResolvedConfig& config = job.config();
  const ModelConfig& m = config->model;
  LayerSetup layer;
  layer.type = job.compute_type();
  layer.device = job.device();
  layer.shape = attention_shape(config);
  layer.call.scale = 1.0 / std::sqrt(static_cast<double>(m.kv_channels));
  layer.call.window = attention_window(m);
  layer.call.shape = batch.sequence;
  layer.call.softmax = m.softmax_type;
  if (layer.call.softmax == SoftmaxKind::learnable) {
    layer.call.sink = at::zeros({layer.shape.heads}, at::TensorOptions(layer.device).dtype(layer.type));
  }
  if (config->precision.attention_dropout > 0.0) {
    AttentionDropout dropout;
    dropout.p = config->precision.attention_dropout;
    for (std::int64_t i = 0; i < layer.shape.samples; ++i) dropout.sample_numbers.push_back(i);
    layer.call.dropout = std::move(dropout);
  }
  return layer;
}

std::string describe_mask(const LayerSetup& layer) {
  std::string text = "causal";
  if (layer.call.window.limited())
    text += fmt::format(", window {} {}", layer.call.window.left, layer.call.window.right);
  std::size_t documents = 0;
  for (const auto& starts : layer.call.shape->document_starts) documents += starts.size();
  if (documents > 0) text += fmt::format(", {} documents", documents);
  if (layer.call.dropout) text += fmt::format(", dropout {}", layer.call.dropout->p);
  return text;
}

// "0-11" or "0,2,4": the layers with attention that the configuration gives this transport.
std::string layers_of(const ResolvedConfig& resolved, std::string_view transport) {
  const Config& config = resolved;
  const auto& words = config.parallel.cp_comm_type;
  const std::vector<LayerSpec> specs = layer_specs(resolved, {});
  std::vector<std::string> runs;
  for (int begin = 0; begin < config.model.num_layers;) {
    const auto uses = [&](int layer) {
      if (!has_attention(specs[static_cast<std::size_t>(layer)].kind)) return false;
      const std::string& word = words.size() == 1 ? words[0] : words[static_cast<std::size_t>(layer)];
      return word != "auto" && to_text(transport_of(word)) == transport;
    };
    int end = begin;
    while (end < config.model.num_layers && uses(end)) ++end;
    if (end > begin) runs.push_back(end - begin == 1 ? fmt::format("{}", begin) : fmt::format("{}-{}", begin, end - 1));
    begin = std::max(end, begin + 1);
  }
  return join(runs, ",");
}

class Profiler {
 public:
  Profiler(const Job& job, const ProfileOptions& options, ProgressLine& progress)
      : job_(job),
        options_(options),
        progress_(progress),
        group_(job.parallel().context()),
        batch_(make_batch_shape(
            job.config(), job.config()->data.reset_attention_mask ? made_up_documents(job.config()) : DocumentStarts(),
            {})),
        layer_(layer_of(job, *batch_)),
        masks_(layer_.masks()),
        attention_(cp_attention_options(job.config())) {
    const auto& sizes = job.config()->parallel.hierarchical_context_parallel_sizes;
    if (!sizes.empty()) hierarchical_a_ = sizes[0];
    require_bytes(job, layer_bytes(), "attention of one layer, with its gradients,");
    transports_ = chosen_transports();
  }

  // Query, key, value and output, and the gradient of each; in the largest shard.
  std::int64_t layer_bytes() const {
    const AttentionShape& s = layer_.shape;
    std::int64_t rows = 0;
    for (int rank = 0; rank < layer_.layout().ranks(); ++rank)
      rows = std::max(rows, layer_.layout().local_length(rank));
    return 2 * rows * s.samples * (s.heads + s.groups) * (s.key_size + s.value_size) * s.element_bytes;
  }

  // What is to be measured.
  CpProfile describe() const {
    const ParallelConfig& p = job_.config()->parallel;
    const AttentionShape& s = layer_.shape;
    CpProfile profile;
    profile.machine = fmt::format("{} processes on {}, TP {} x CP {}, {}", job_.environment().world_size,
                                  layer_.device.is_cuda() ? "GPUs" : "CPUs", p.tensor_model_parallel_size,
                                  group_.size(), c10::toString(layer_.type));
    profile.layer =
        fmt::format("sequence {} x {} samples, {} query and {} key/value heads of {} per rank, {}, {} layout",
                    layer_.layout().sequence_length(), s.samples, s.heads, s.groups, s.key_size, describe_mask(layer_),
                    layer_.layout().name());
    profile.sequence_length = layer_.layout().sequence_length();
    profile.ranks = group_.size();
    profile.repeats = options_.repeats.repeats;
    profile.area_imbalance = area_imbalance(layer_.layout(), masks_);
    return profile;
  }

  // The rest of it.
  void measure(CpProfile& profile) {
    progress_.at("speeds of the link and of attention");
    const AttentionUse use{layer_.layout().sequence_length(), layer_.call.window,
                           !layer_.call.shape->document_starts.empty(), layer_.call.dropout.has_value()};
    const DeviceSpeeds speeds = measure_speeds(group_, layer_.shape, use, layer_.type, layer_.device);
    const TransportChoice choice = choose_transport({{layer_.layout(), masks_}, layer_.shape, hierarchical_a_, speeds});
    profile.choice = to_string(choice);
    profile.one_rank = profile_one_rank();
    for (const CpTransport transport : transports_) {
      TransportProfile& p = profile.transports.emplace_back(profile_transport(transport));
      p.predicted_seconds = choice.of(transport).seconds;
      p.tflops = tflops(layer_.cells() / group_.size(), p.step.p50);
      p.against_one_rank = p.tflops / profile.one_rank.tflops;
    }
  }

  // The timeline of one step of each transport; on all ranks.
  std::vector<TraceGroup> trace() {
    std::vector<TraceGroup> groups;
    for (const CpTransport transport : transports_) {
      progress_.at(fmt::format("trace of {}", ringtron::to_text(transport)));
      const LayerSetup layer = layer_with(transport);
      TraceRecorder recorder(layer.device, schedules_of(transport));
      CpAttentionOptions options = attention_;
      options.observer = &recorder;
      LayerBench bench(group_, layer, options);
      bench.count_bytes();  // a step that is not recorded: kernels are built and memory is had
      bench.run_once(recorder);
      const std::vector<std::string> texts = gather_texts(job_.world(), to_text(recorder.take()));
      TraceGroup& group = groups.emplace_back(TraceGroup{std::string(ringtron::to_text(transport)), {}});
      for (int rank = 0; rank < group_.size(); ++rank) {
        group.ranks.push_back(trace_events_of(texts[static_cast<std::size_t>(group_.global_rank(rank))]));
      }
    }
    return groups;
  }

 private:
  std::vector<CpTransport> chosen_transports() const {
    const auto refused = [&](CpTransport transport) { return !refusal_of(transport, hierarchical_a_).empty(); };
    for (const CpTransport transport : options_.transports) {
      if (!refused(transport)) continue;
      throw ConfigError(
          fmt::format("--transports {}: expected --hierarchical-context-parallel-sizes A P as well, got none",
                      ringtron::to_text(transport)));
    }
    if (!options_.transports.empty()) return options_.transports;
    std::vector<CpTransport> chosen = cp_transports();
    std::erase_if(chosen, refused);
    return chosen;
  }

  LayerSetup layer_with(CpTransport transport) const {
    LayerSetup layer = layer_;
    layer.call.transport = transport;
    return layer;
  }

  RankSchedules schedules_of(CpTransport transport) const {
    return lower(make_transport_plan(transport, attention_.hierarchical_a, {layer_.layout(), masks_}, group_.rank()),
                 {layer_.shape.heads, layer_.shape.groups});
  }

  // 10^12 operations a second for cells done forward and backward.
  double tflops(double cells, double seconds) const {
    return (forward_flops(cells, layer_.shape) + backward_flops(cells, layer_.shape)) / seconds / 1e12;
  }

  // The repeats asked for, as the progress line will show them.
  Repeats repeats_of(const std::string& what) {
    progress_.at(what);
    Repeats repeats = options_.repeats;
    const int total = repeats.warmup + repeats.repeats;
    repeats.on_done = [this, total](int done) { progress_.step(done, total); };
    return repeats;
  }

  // All ranks at the same time, each alone: machine and power are shared as in the real step.
  OneRankProfile profile_one_rank() {
    const LayerSetup layer = equal_work_of_one_rank(layer_);
    LocalCommunicator alone("one rank", job_.rank());
    LayerBench bench(alone, layer, attention_alone());
    OneRankProfile profile;
    profile.rows = layer.layout().sequence_length();
    group_.barrier();
    profile.step = percentiles(bench.time_steps(repeats_of("one rank alone")));
    profile.tflops = tflops(layer.cells(), profile.step.p50);
    return profile;
  }

  CpAttentionOptions attention_alone() const {
    CpAttentionOptions options = attention_;
    options.hierarchical_a = 1;
    return options;
  }

  TransportProfile profile_transport(CpTransport transport) {
    const LayerSetup layer = layer_with(transport);
    const RankSchedules schedules = schedules_of(transport);
    const std::string name(ringtron::to_text(transport));
    progress_.at(name + ", bytes");
    const TransportBytes bytes = bytes_of(schedules, layer.layout(), group_.rank(), layer.shape);
    TransportProfile profile;
    profile.transport = name;
    profile.layers = layers_of(job_.config(), name);
    profile.planned = gather_numbers(group_, bytes.forward + bytes.backward, layer.device);
    {
      LayerBench bench(group_, layer, attention_);
      profile.counted = gather_numbers(group_, bench.count_bytes(), layer.device);
      profile.step = percentiles(bench.time_steps(repeats_of(name + ", forward and backward")));
      profile.forward = percentiles(bench.time_forward(repeats_of(name + ", forward")));
    }
    {
      CpAttentionOptions silent = attention_;
      silent.decorate = [](Communicator& group) { return std::make_unique<SilentCommunicator>(group); };
      const Repeats repeats = repeats_of(name + ", without its messages");
      profile.local_seconds = percentiles(LayerBench(group_, layer, silent).time_steps(repeats)).p50;
    }
    std::vector<SizedExchange> transfers = exchanges_of(schedules.forward, layer.layout(), group_.rank(), layer.shape);
    for (SizedExchange& exchange : exchanges_of(schedules.backward, layer.layout(), group_.rank(), layer.shape))
      transfers.push_back(std::move(exchange));
    const Repeats repeats = repeats_of(name + ", its messages alone");
    profile.transfer_seconds = percentiles(time_transfers(group_, transfers, layer.device, repeats)).p50;
    return profile;
  }

  const Job& job_;
  const ProfileOptions& options_;
  ProgressLine& progress_;
  Communicator& group_;
  std::shared_ptr<const BatchShape> batch_;
  LayerSetup layer_;
  std::vector<AttentionMask> masks_;
  CpAttentionOptions attention_;
  int hierarchical_a_ = 0;  // 0: no sizes are given
  std::vector<CpTransport> transports_;
};

// Before anything is measured.
void check_writable(const char* flag, const std::string& file) {
  if (file.empty()) return;
  const std::filesystem::path path(file);
  if (std::filesystem::is_directory(path)) {
    throw ConfigError(fmt::format("{}: expected a file, got the folder '{}'. Add the file's name", flag, file));
  }
  if (!path.has_parent_path() || std::filesystem::is_directory(path.parent_path())) return;
  throw ConfigError(
      fmt::format("{}: expected a file in a folder that is there, got '{}'. Make the folder first", flag, file));
}

int run(const Job& job, const ProfileOptions& options) {
  run_collectively(job.world(), [&] {
    if (!job.is_first_rank()) return;
    check_writable("--json", options.json_file);
    check_writable("--trace", options.trace_file);
  });
  ProgressLine progress("profile_cp", job.is_first_rank());
  Profiler profiler(job, options, progress);
  CpProfile profile = profiler.describe();
  if (job.is_first_rank()) {
    for (const std::string& line : profile_heading(profile)) print_line(line);
  }
  profiler.measure(profile);
  progress.clear();
  run_collectively(job.world(), [&] {
    if (job.is_first_rank()) print_result(join(profile_table(profile), "\n"));
  });
  std::string trace;
  if (!options.trace_file.empty()) trace = chrome_trace(profiler.trace());
  progress.clear();
  run_collectively(job.world(), [&] {
    if (!job.is_first_rank()) return;
    if (!options.json_file.empty()) write_file_atomically(options.json_file, profile_json(profile));
    if (!options.trace_file.empty()) write_file_atomically(options.trace_file, trace);
  });
  const std::vector<std::string> faults = byte_faults(profile);
  if (job.parallel().cp_rank() == 0) {
    for (const std::string& fault : faults) warn_line(fault);
  }
  return static_cast<int>(agree_max(job.world(), faults.empty() ? kExitOk : kExitFailure));
}

}  // namespace

int profile_cp(std::span<const std::string> arguments, const LaunchEnvironment& environment) {
  ProfileOptions options;
  before_rendezvous(environment, [&] { options = parse_profile_options(arguments, environment.world_size); });
  if (!options.help.empty()) {
    if (environment.rank == 0) print_result(options.help);
    return kExitOk;
  }
  if (environment.rank == 0) {
    for (const Notice& notice : options.line.notices) {
      if (notice.kind == Notice::Kind::warning) warn_line(notice.text);
    }
  }
  // Attention knows no vocabulary, so a tokenizer's files need not be there.
  options.line.config.data.tokenizer_type = TokenizerType::null;
  options.line.config.data.vocab_size = 1;
  const Job job(options.line.config, environment);
  return run(job, options);
}

}  // namespace ringtron
