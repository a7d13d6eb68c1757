// convert_checkpoint: weights of a Hugging Face model into a checkpoint, and back.
#include "ringtron/hugging_face/convert.h"

#include "command_line.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/tools/progress_line.h"

namespace {

using namespace ringtron;

struct Flags {
  std::string from_hf, save, to_hf, load;
  std::int64_t step = 0;
  double shard_gigabytes = 5.0;
};

void declare(CLI::App& app, Flags& flags) {
  app.add_option("--from-hf", flags.from_hf,
                 "A folder with config.json and safetensors: llama, mistral, qwen2, qwen3, gpt2");
  app.add_option("--save", flags.save,
                 "Folder for the checkpoint that is made of it; train with --load SAVE --finetune");
  app.add_option("--load", flags.load, "Folder of checkpoints, or of pretrain_gpt's --save");
  app.add_option("--ckpt-step", flags.step, "Take the checkpoint of this step instead of the newest")
      ->check(at_least(1));
  app.add_option("--to-hf", flags.to_hf, "Folder for config.json and safetensors that are made of it");
  app.add_option("--shard-gigabytes", flags.shard_gigabytes, "Longest file of --to-hf")->check(CLI::Range(0.001, 1e6));
}

// "gigabytes per second and time left" on the progress line.
class Progress {
 public:
  explicit Progress(const std::string& what) : line_("convert_checkpoint", true) { line_.at(what); }

  void tell(std::uint64_t done, std::uint64_t total) {
    if (interrupted) throw IoError("interrupted; nothing complete was written");
    const double seconds = seconds_since(start_);
    if (seconds - told_ < 0.5 || done == 0) return;
    told_ = seconds;
    const double rate = static_cast<double>(done) / seconds;
    line_.at(fmt::format("{:.1f} of {:.1f} GB, {:.2f} GB/s, {:.0f} s left", static_cast<double>(done) / 1e9,
                         static_cast<double>(total) / 1e9, rate / 1e9, static_cast<double>(total - done) / rate));
  }

 private:
  SteadyClock::time_point start_ = SteadyClock::now();
  double told_ = 0.0;
  ProgressLine line_;
};

int run(const Flags& flags) {
  const bool in = !flags.from_hf.empty() || !flags.save.empty(), out = !flags.to_hf.empty() || !flags.load.empty();
  if (in == out || flags.from_hf.empty() != flags.save.empty() || flags.to_hf.empty() != flags.load.empty())
    throw ConfigError("expected --from-hf DIR --save DIR, or --load DIR --to-hf DIR. See --help");
  if (in && flags.step > 0) throw ConfigError("--ckpt-step names a checkpoint of --load. Leave it out with --from-hf");
  end_tidily();
  const auto start = SteadyClock::now();
  ConvertSummary done;
  {
    Progress progress(in ? "reading " + flags.from_hf : "reading " + flags.load);
    const auto tell = [&](std::uint64_t so_far, std::uint64_t total) { progress.tell(so_far, total); };
    done = in ? import_hf(flags.from_hf, flags.save, tell)
              : export_hf(flags.load, flags.step, flags.to_hf, static_cast<std::uint64_t>(flags.shard_gigabytes * 1e9),
                          tell);
  }
  const double seconds = seconds_since(start), gigabytes = static_cast<double>(done.bytes) / 1e9;
  print_line("{}: {} layers, {} tensors, {} parameters, {:.3f} GB in {:.1f} s ({:.2f} GB/s): {}", done.model_type,
             done.layers, done.tensors, done.parameters, gigabytes, seconds, gigabytes / seconds, done.folder.string());
  if (in) print_line("train with --load {} --use-checkpoint-args --finetune", flags.save);
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_main("convert_checkpoint", [&] {
    CLI::App app("Turns weights of a Hugging Face model into a checkpoint, or a checkpoint into such a model.",
                 "convert_checkpoint");
    Flags flags;
    declare(app, flags);
    return parse_and_run(app, argc, argv, [&] { return run(flags); });
  });
}
