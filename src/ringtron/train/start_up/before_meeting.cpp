#include "ringtron/train/start_up/before_meeting.h"

#include <fmt/format.h>

#include <exception>

#include "ringtron/base/error.h"
#include "ringtron/base/report_error.h"
#include "ringtron/comm/early_end.h"
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

void before_meeting(const LaunchEnvironment& environment, const std::function<void()>& action) {
  if (environment.world_size == 1) return action();
  auto failure = internal::Failure::none;
  std::string message;
  try {
    return action();
  } catch (const std::exception&) {
    message = internal::describe_current_exception(failure);
    if (environment.rank == 0) report_current_error();  // at once, and not after the others have come
  }
  const bool told = tell_early_end(rendezvous_options(environment), message) || environment.rank == 0;
  internal::rethrow(failure, told ? message : fmt::format("rank {}: {}", environment.rank, message), told);
}

}  // namespace ringtron
