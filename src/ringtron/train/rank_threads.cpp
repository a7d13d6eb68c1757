#include "ringtron/train/rank_threads.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <exception>
#include <vector>

#include "ringtron/base/log.h"
#include "ringtron/launch/core_share.h"
#include "ringtron/launch/launch_environment.h"
#include "ringtron/train/agreement.h"

namespace ringtron {

void share_cores(Communicator& world) {
  std::vector<CoreClaim> claims;
  for (const std::string& text : gather_texts(world, claim_text(own_core_claim()))) claims.push_back(parse_claim(text));
  if (threads_are_set(process_environment)) {
    const std::string odd =
        odd_thread_setting(process_environment, usable_cores(claims[static_cast<std::size_t>(world.rank())]));
    if (world.rank() == 0 && !odd.empty()) warn_line("{}; rank 0 computes with {}", odd, at::get_num_threads());
    return;
  }
  const auto self = static_cast<std::size_t>(world.rank());
  const CoreClaim& own = claims[self];
  // Its own default may be less than all cores: two hyperthreads count as one.
  const int by_default = at::get_num_threads();
  const int threads = std::min(fair_threads(claims, self), by_default);
  at::set_num_threads(threads);
  try {
    at::set_num_interop_threads(threads);
  } catch (const std::exception&) {  // its pool runs already; it has little to do here
  }
  if (world.rank() != 0 || threads == by_default) return;
  const auto here = std::ranges::count_if(claims, [&](const CoreClaim& claim) { return claim.machine == own.machine; });
  warn_line(
      "OMP_NUM_THREADS is not set: rank 0 computes with {} {}, its share of {} usable {} and {} {} on this machine",
      threads, threads == 1 ? "thread" : "threads", usable_cores(own), usable_cores(own) == 1 ? "core" : "cores", here,
      here == 1 ? "rank" : "ranks");
}

}  // namespace ringtron
