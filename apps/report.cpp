// report: draws what one training run has logged, or two, as an HTML file.
#include <filesystem>
#include <optional>

#include "command_line.h"
#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/log.h"
#include "ringtron/tools/report/read_run.h"
#include "ringtron/tools/report/report_page.h"

namespace {

using namespace ringtron;

constexpr const char* kFooter = R"(
RUN and OTHER: a file of --log-jsonl, what a run has printed (also Megatron-LM's), or a folder that holds such files.

Examples:
  report runs/seven/log.jsonl
  report runs/seven megatron.log -o compared.html --peak-tflops 989
)";

struct Options {
  std::string run, other, output = "report.html";
  double peak_tflops = 0;  // 0: what the log says
};

void declare(CLI::App& app, Options& options) {
  app.add_option("RUN", options.run, "The log of a run")->required();
  app.add_option("OTHER", options.other, "Another run, laid over the first");
  app.add_option("-o,--output", options.output, "Where the page goes")->capture_default_str();
  app.add_option("--peak-tflops", options.peak_tflops,
                 "Of one device, where the log does not tell it or is to be overruled");
  app.footer(kFooter);
}

// A log must not be lost to its own picture.
void refuse_log(const std::string& output, const std::string& log) {
  std::error_code error;
  if (!log.empty() && std::filesystem::equivalent(output, log, error))
    throw ConfigError(fmt::format("--output {}: is the log itself. Give another name", output));
}

int run(const Options& options) {
  for (const std::string& log : {options.run, options.other}) refuse_log(options.output, log);
  if (options.peak_tflops < 0)
    throw ConfigError(fmt::format("--peak-tflops: expected more than 0, got {}", options.peak_tflops));
  std::vector<RunLog> runs = {read_run(options.run)};
  if (!options.other.empty()) runs.push_back(read_run(options.other));
  if (runs.size() == 2 && runs[0].name == runs[1].name) {
    runs[0].name = options.run;
    runs[1].name = options.other;
  }
  const std::string page =
      report_page(runs, options.peak_tflops > 0 ? std::optional(options.peak_tflops) : std::nullopt);
  write_file_atomically(options.output, page);
  for (const RunLog& log : runs) {
    print_line("{}: {} log lines, {} evaluations, {} saves and loads, {} starts after an end", log.name,
               log.steps.size(), log.evaluations.size(), log.transfers.size(), log.seams.size());
    if (log.unread_lines > 0)
      warn_line("{}: {} lines could not be read, or not to the end", log.name, log.unread_lines);
  }
  print_line("{}: {}; open it in a browser", options.output, human_bytes(page.size()));
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_main("report", [&] {
    CLI::App app("Draws what a training run has logged, or two, as an HTML file.", "report");
    Options options;
    declare(app, options);
    return parse_and_run(app, argc, argv, [&] { return run(options); });
  });
}
