#include "ringtron/tools/verify/verify_cp.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/result_line.h"
#include "ringtron/config/validate.h"
#include "ringtron/launch/core_share.h"
#include "ringtron/launch/local_machine.h"
#include "ringtron/launch/supervisor.h"
#include "ringtron/tools/progress_line.h"
#include "ringtron/tools/verify/schedule_proof.h"
#include "ringtron/tools/verify/training_trace.h"
#include "ringtron/tools/verify/verify_options.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/job.h"
#include "ringtron/train/start_up/before_rendezvous.h"

namespace ringtron {
namespace {

// While it lives, what is printed to stdout is dropped: the start-up lines of a training run are not ours.
class QuietStdout {
 public:
  QuietStdout() : kept_(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)) {
    const int nothing = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (kept_ >= 0 && nothing >= 0) ::dup2(nothing, STDOUT_FILENO);
    if (nothing >= 0) ::close(nothing);
  }
  ~QuietStdout() {
    if (kept_ < 0) return;
    std::fflush(stdout);
    ::dup2(kept_, STDOUT_FILENO);
    ::close(kept_);
  }
  QuietStdout(const QuietStdout&) = delete;
  QuietStdout& operator=(const QuietStdout&) = delete;

 private:
  int kept_;
};

std::string layout_text(const VerifyOptions& options) {
  const ParallelConfig& p = options.small.config.parallel;
  return fmt::format("TP {}{} x CP {}{} x DP {} = {} process{}", p.tensor_model_parallel_size,
                     p.sequence_parallel ? " with sequence parallelism" : "", p.context_parallel_size,
                     p.pipeline_model_parallel_size > 1 ? fmt::format(" x PP {}", p.pipeline_model_parallel_size) : "",
                     data_parallel_size(p, options.small.world_size), options.small.world_size,
                     options.small.world_size == 1 ? "" : "es");
}

std::string introduction(const VerifyOptions& options) {
  std::string out = fmt::format("verify_cp: three steps in fp64 on the CPU, in one process and in {}\n  made small:",
                                layout_text(options));
  for (const std::string& change : options.small.changes) out += "\n    " + change;
  out +=
      "\n  all else as given: layout of ranks and sequence, transports, masks, softmax, norms, activation, "
      "positions, "
      "dropout";
  if (options.fault != CpFault::none) {
    out += fmt::format("\n  --inject {}: the exchange is wrong on purpose; the comparison must find it",
                       options.fault_name);
  }
  return out;
}

std::string report(const TraceDifference& difference, double tolerance) {
  std::string out = "  step   loss, one process      loss, this layout      loss differs   gradients differ, most in\n";
  for (std::size_t i = 0; i < difference.steps.size(); ++i) {
    const StepDifference& s = difference.steps[i];
    out += fmt::format("  {:4}   {:<20.14g}   {:<20.14g}   {:<12.1e}   {:<8.1e} {}\n", i + 1, s.loss, s.other_loss,
                       s.loss_difference, s.gradient_difference, s.parameter);
  }
  out += fmt::format("  largest relative difference of a loss      {:.1e}\n", difference.loss);
  out += fmt::format("  largest relative difference of a gradient  {:.1e}\n", difference.gradient);
  if (difference.within(tolerance)) {
    out += "  first parameter to differ                  none\n";
    return out + fmt::format("verify_cp: same result as one process, within {:.0e}", tolerance);
  }
  if (!difference.first_parameter.empty()) {
    out += fmt::format("  first parameter to differ                  {} at step {}, by {:.1e}\n",
                       difference.first_parameter, difference.first_step, difference.first_difference);
  } else {
    out += fmt::format("  first parameter to differ                  none, but the loss of step {}\n",
                       difference.first_step);
  }
  return out + fmt::format("verify_cp: NOT the result of one process: beyond {:.0e}", tolerance);
}

void write_all(int fd, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t written = ::write(fd, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw IoError(fmt::format("verify_cp: cannot hand over the result: {}", std::strerror(errno)));
    done += static_cast<std::size_t>(written);
  }
}

std::string read_all(int fd) {
  std::string out;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

struct Verdict {
  int exit_code = kExitOk;
  std::string report;  // on rank 0
};

Verdict compare_as_rank(const VerifyOptions& options, const LaunchEnvironment& environment) {
  const QuietStdout quiet;
  ProgressLine progress("verify_cp", environment.rank == 0);
  const auto steps_of = [&](const char* where) {
    return [&progress, where](int step) { progress.at(fmt::format("{}, step {}", where, step)); };
  };
  TrainingTrace expected;
  if (environment.rank == 0) {  // meanwhile the others wait for it to come
    before_rendezvous(environment, [&] {
      const Job alone(one_process(options.small.config), LaunchEnvironment{});
      expected = trace_training(alone, CpFault::none, steps_of("one process"));
    });
  }
  progress.at("waiting for all processes");
  const Job job(options.small.config, environment);
  const TrainingTrace got = trace_training(job, options.fault, steps_of("all processes"));
  Verdict verdict;
  if (job.is_first_rank()) {
    const TraceDifference difference = compare_traces(expected, got, options.tolerance);
    verdict.exit_code = difference.within(options.tolerance) ? kExitOk : kExitFailure;
    verdict.report = report(difference, options.tolerance);
  }
  verdict.exit_code = static_cast<int>(agree_max(job.world(), verdict.exit_code));
  return verdict;
}

int run_rank(const VerifyOptions& options, const LaunchEnvironment& environment) {
  const Verdict verdict = compare_as_rank(options, environment);
  if (options.report_fd < 0) {
    if (environment.rank == 0) print_result(verdict.report);
    return verdict.exit_code;
  }
  // A rank that ends with another code than 0 would be reported as one that failed.
  if (environment.rank == 0) write_all(options.report_fd, fmt::format("{}{}", verdict.exit_code, verdict.report));
  return kExitOk;
}

SupervisorOptions supervisor_options(int ranks) {
  SupervisorOptions out;
  out.ranks_per_node = ranks;
  out.master_port = free_port();
  out.prefix_lines = false;
  if (!threads_are_set(process_environment)) {
    out.environment.emplace_back("OMP_NUM_THREADS", std::to_string(std::max(1, usable_cores() / ranks)));
  }
  return out;
}

// Runs this program once more for each rank.
int start_ranks(const VerifyOptions& options, std::span<const std::string> arguments) {
  int ends[2];
  if (::pipe(ends) != 0) throw IoError(fmt::format("verify_cp: cannot make a pipe: {}", std::strerror(errno)));
  ::fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  RankCommand command{"/proc/self/exe", {arguments.begin(), arguments.end()}};
  command.arguments.insert(command.arguments.end(), {"--world-size", std::to_string(options.world_size), "--report-fd",
                                                     std::to_string(ends[1])});
  const int code = supervise(command, supervisor_options(options.small.world_size));
  ::close(ends[1]);
  const std::string text = read_all(ends[0]);
  ::close(ends[0]);
  if (code != kExitOk) return code;
  if (text.empty()) throw InternalError("verify_cp: the ranks ended well, but without a result");
  print_result(std::string_view(text).substr(1));
  return text[0] - '0';
}

}  // namespace

int verify_cp(std::span<const std::string> arguments, const LaunchEnvironment& environment) {
  VerifyOptions options;
  before_rendezvous(environment, [&] { options = parse_verify(arguments, environment); });
  if (options.report_fd >= 0) return run_rank(options, environment);
  if (!options.help.empty()) {
    if (environment.rank == 0) print_result(options.help);
    return kExitOk;
  }
  if (environment.rank == 0) {
    for (const Notice& notice : options.notices) {
      if (notice.kind == Notice::Kind::warning) warn_line(notice.text);
    }
    print_line(introduction(options));
    before_rendezvous(environment, [&] { print_line("  {}", prove_schedules(options.given, options.world_size)); });
  }
  return environment.launcher == Launcher::alone ? start_ranks(options, arguments) : run_rank(options, environment);
}

}  // namespace ringtron
