#include "ringtron/train/pretrain.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/result_line.h"
#include "ringtron/config/config_text.h"
#include "ringtron/config/parse.h"
#include "ringtron/config/restart_notices.h"
#include "ringtron/launch/launch_environment.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/assembly.h"
#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/memory/memory_check.h"
#include "ringtron/train/memory/out_of_memory.h"
#include "ringtron/train/run_as_rank.h"
#include "ringtron/train/start_up/before_rendezvous.h"
#include "ringtron/train/start_up/checkpoint_arguments.h"
#include "ringtron/train/start_up/output_folders.h"
#include "ringtron/train/start_up/start_times.h"
#include "ringtron/train/start_up/unfused_operations.h"
#include "ringtron/train/trainer.h"

namespace ringtron {
namespace {

// Megatron's start-up lines, up to the argument listing.
void announce(const Job& job) {
  const Config& config = job.config();
  print_line(start_up_line(job.grid(), config.parallel.hierarchical_context_parallel_sizes));
  print_line("using {} for parameters ...", config.precision.fp64   ? "torch.float64"
                                            : config.precision.bf16 ? "torch.bfloat16"
                                            : config.precision.fp16 ? "torch.float16"
                                                                    : "torch.float32");
  if (config.precision.bf16) print_line("accumulate and all-reduce gradients in fp32 for bfloat16 data type.");
  for (const std::string& line : argument_dump(job.config())) print_line(line);
}

// The exit code if a signal has come on any rank while start-up was at `stage`; says so. Collective.
std::optional<int> stopped_after(const Job& job, const StopSignals& signals, const char* stage) {
  const int signal = static_cast<int>(agree_max(job.world(), signals.received()));
  if (signal == 0) return std::nullopt;
  if (job.is_first_rank()) {
    print_line("exiting program after receiving {} while {}. Nothing was trained: there is nothing to save",
               signal_name(signal), stage);
  }
  return exit_code_after(signal, job.config()->batch.exit_with_signal_code);
}

int train(const Job& job, StopSignals& signals, StartTimes& times) {
  const auto enter = [&](const char* stage) {
    signals.enter(stage);
    times.enter(stage);
  };
  const Config& config = job.config();
  signals.start_up_begins();
  if (job.is_first_rank()) announce(job);
  CheckpointSaver saver(job);
  enter("looking at the folders");
  saver.require_folder();
  require_output_folders(job);
  require_input_files(job);
  enter("building the model");
  if (job.is_first_rank()) {
    const std::int64_t words = job.tokenizer().vocab_size(), padded = config.model.padded_vocab_size;
    print_line(" > padded vocab (size: {}) with {} dummy tokens (new size: {})", words, padded - words, padded);
    print_line("> setting random seeds to {} ...", config.precision.seed);
    print_line("building {} model ...", config.model.is_hybrid_model ? "hybrid" : "GPT");
    if (job.device().is_cuda()) {
      for (const std::string& line : unfused_operations(job.config())) warn_line(line);
    }
  }
  const ParallelState& parallel = job.parallel();
  require_memory(job);
  // Weights that a checkpoint is about to replace are not drawn.
  const bool loads = !config.checkpoint.load.empty();
  Assembly assembly(job, make_cp_attention, loads ? InitialValues::deferred : InitialValues::drawn);
  if (parallel.dp_rank() == 0 && parallel.cp_rank() == 0) {
    print_line(" > number of parameters on (tensor, pipeline) model parallel rank ({}, {}): {}", parallel.tp_rank(),
               parallel.pp_rank(), assembly.store().local_elements());
  }
  if (const auto code = stopped_after(job, signals, "building the model")) return *code;
  enter("loading the checkpoint");
  std::optional<TransferRecord> loaded;
  if (loads && !load_checkpoint(job, assembly.state(), &loaded)) assembly.start_from_initial_values();
  saver.report_other_runs(assembly.state(), iterations_of(config));
  saver.warn_of_space(assembly.state(), iterations_of(config));
  if (const auto code = stopped_after(job, signals, "loading the checkpoint")) return *code;
  enter("opening the data");
  const TrainingData data(job, assembly.transports(), assembly.state().progress);
  assembly.state().data = data.facts();
  if (job.is_first_rank()) {
    for (const std::string& line : changed_data(assembly.state().data_before, data.facts())) warn_line(line);
  }
  if (job.is_first_rank()) print_line("done with setup ...");
  // One rank says it: launchers signal them all.
  signals.start_up_is_done(
      !job.is_first_rank() ? nullptr
      : config.checkpoint.save.empty()
          ? "ends after the step at work, without a save (no --save); a second SIGTERM or Ctrl-C ends at once"
          : "ends after the step at work, saving then; a second SIGTERM or Ctrl-C ends at once");
  times.enter("first step");
  Trainer trainer({job, data, assembly.state(), assembly.step(), saver, signals, times, loaded}, iterations_of(config));
  return trainer.run();
}

int start(const std::vector<std::string>& words, StopSignals& signals) {
  StartTimes times;
  signals.enter("reading the command line");
  times.enter("reading the command line");
  const LaunchEnvironment environment = read_launch_environment(process_environment);
  ParseResult parsed;
  CheckpointArguments checkpoint;
  before_rendezvous(environment, [&] {
    checkpoint = checkpoint_arguments(words);
    parsed = parse_command_line(words, environment.world_size, checkpoint.defaults);
  });
  if (const auto* help = std::get_if<HelpText>(&parsed)) {
    if (environment.rank == 0) print_result(help->text);
    return kExitOk;
  }
  const auto& line = std::get<CommandLine>(parsed);
  if (environment.rank == 0) {
    if (!checkpoint.notice.empty()) print_line(checkpoint.notice);
    std::vector<Notice> notices = line.notices;
    for (Notice& notice : restart_notices(line.config)) notices.push_back(std::move(notice));
    for (const Notice& notice : notices) {
      if (notice.kind == Notice::Kind::warning) {
        warn_line(notice.text);
      } else {
        print_line(notice.text);
      }
    }
  }
  signals.enter("meeting the other ranks");
  times.enter("meeting the other ranks");
  const Job job(line.config, environment);
  try {
    return train(job, signals, times);
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) rethrow_readable(memory_breakdown(job));
    throw;
  }
}

}  // namespace

int pretrain_gpt(int argc, char** argv) {
  return run_as_rank([&](StopSignals& signals) { return start(arguments(argc, argv), signals); });
}

int pretrain_mamba(int argc, char** argv) {
  std::vector<std::string> words = arguments(argc, argv);
  words.emplace_back("--is-hybrid-model");
  return run_as_rank([&](StopSignals& signals) { return start(words, signals); });
}

}  // namespace ringtron
