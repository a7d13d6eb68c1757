#include "ringtron/train/start_up/before_rendezvous.h"

#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/report_error.h"
#include "ringtron/comm/rendezvous/start_failure.h"
#include "ringtron/train/reported_error.h"

namespace ringtron {

RendezvousOptions rendezvous_options(const LaunchEnvironment& environment) {
  RendezvousOptions options;
  options.host = environment.master_addr;
  options.port = environment.master_port;
  options.rank = environment.rank;
  options.world_size = environment.world_size;
  options.one_machine = environment.local_world_size == environment.world_size;
  options.token = environment.job_token;
  return with_launcher_store(options);
}

namespace {

void report(internal::Failure failure, const std::string& message) {
  try {
    internal::rethrow(failure, message, false);
  } catch (const std::exception&) {
    report_current_error();
  }
}

}  // namespace

void before_rendezvous(const LaunchEnvironment& environment, const std::function<void()>& action) {
  if (environment.world_size == 1) return action();
  auto failure = internal::Failure::none;
  std::string message;
  try {
    return action();
  } catch (const std::exception&) {
    message = internal::describe_current_exception(failure);
    if (environment.rank == 0) report_current_error();  // at once, and not after the others have come
  }
  const RendezvousOptions options = rendezvous_options(environment);
  const std::string own = environment.rank == 0 ? message : fmt::format("rank {}: {}", environment.rank, message);
  bool told = environment.rank == 0;
  const auto still_waits = [&] {
    if (!std::exchange(told, true)) report(failure, own);
    warn_line("rank {} stays up to {:g} s, to say so to the ranks that have not come yet; they would wait for it",
              environment.rank, std::chrono::duration<double>(options.timeout).count());
  };
  told = report_start_failure(options, message, still_waits) || told;
  internal::rethrow(failure, own, told);
}

}  // namespace ringtron
