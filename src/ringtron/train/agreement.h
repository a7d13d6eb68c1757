// No rank decides alone: what one rank knows, all ranks act on.
//
// `world` is a group on the CPU (ParallelState::world()): agreeing never waits for a GPU.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/comm/communicator.h"

namespace ringtron {

// The largest of the ranks' values, on all of them. Collective.
std::int64_t agree_max(Communicator& world, std::int64_t value);

// Every rank's text, in rank order, on all of them. Texts may differ in length. Collective.
std::vector<std::string> gather_texts(Communicator& world, const std::string& text);

// Throws ConfigError, the same on all ranks, if a rank was started with other options than rank 0: the first ranks that
// differ and each option with both values. `text` holds one "name=value" a line. Collective.
void require_same_options(Communicator& world, const std::string& text);

// All ranks read the same data: the same tokens in the same order, not only files of one name and size. `data`: for
// each corpus, by its prefix, a line that is equal where its content and order are. Throws ConfigError, the same on all
// ranks, where the lines of a rank are not those that most ranks have: the rank, its host, the file, and both lines.
// Collective.
void require_same_data(Communicator& world, const std::map<std::string, std::string>& data);

// The same of other facts; `fault` says what is wrong and what to do when they differ.
void require_same_facts(Communicator& world, const std::string& text, const std::string& fault);

// Runs `action` on this rank and returns when all ranks have done theirs. If it throws on any rank, all ranks throw:
// the rank itself its own error, the others an error of the same kind that carries the first such rank's message.
// Collective.
template <class Action>
void run_collectively(Communicator& world, Action&& action);

// The same unless some rank has a reason to stop: `reason` returns it, 0 for none, at most 2^59. A rank that has one
// does not begin the action. Returns the largest reason of all ranks; where there is one, what has failed counts no
// more, since nobody will use it. One agreement, as run_collectively() has. Collective.
template <class Reason, class Action>
std::int64_t run_collectively_unless(Communicator& world, Reason&& reason, Action&& action);

// An error that some other rank has reported in full: the same kind and message, nothing to print twice.
struct ReportedElsewhere {
  virtual ~ReportedElsewhere() = default;
};

namespace internal {
enum class Failure : std::int64_t { none, config, comm, io, internal, memory };
// The largest reason; if there is none, throws if any rank failed.
std::int64_t share_outcome(Communicator& world, std::int64_t reason, Failure failure, const std::string& message);
std::string describe_current_exception(Failure& failure);
}  // namespace internal

template <class Reason, class Action>
std::int64_t run_collectively_unless(Communicator& world, Reason&& reason, Action&& action) {
  auto failure = internal::Failure::none;
  std::string message;
  std::int64_t own = reason();
  if (own == 0) {
    try {
      action();
    } catch (const std::exception&) {
      message = internal::describe_current_exception(failure);
      if (failure == internal::Failure::comm) throw;  // the group is broken; the others see it for themselves
    }
    own = reason();  // the action may have waited long
  }
  return internal::share_outcome(world, own, failure, message);
}

template <class Action>
void run_collectively(Communicator& world, Action&& action) {
  run_collectively_unless(world, [] { return std::int64_t{0}; }, action);
}

}  // namespace ringtron
