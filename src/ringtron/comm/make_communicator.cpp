// Names to back ends, ranks to groups.
#include "ringtron/comm/make_communicator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/comm/backends.h"
#include "ringtron/comm/local_communicator.h"

namespace ringtron {

std::unique_ptr<Communicator> make_communicator(Backend backend, const std::string& name,
                                                const std::vector<int>& members, const Rendezvous& rendezvous) {
  const auto place = std::find(members.begin(), members.end(), rendezvous.rank());
  RT_CHECK(place != members.end(), "{} group (ranks {}): rank {} is not a member", name, fmt::join(members, ","),
           rendezvous.rank());
  if (members.size() == 1) return std::make_unique<LocalCommunicator>(name, rendezvous.rank());
  Group group{.name = name,
              .members = members,
              .rank = static_cast<int>(place - members.begin()),
              .timeout = rendezvous.options().timeout,
              .liveness = rendezvous.liveness()};
  // Groups of one name are disjoint, so name and first member are a key of their own.
  const std::string key = fmt::format("group/{}/{}", name, members.front());
  switch (backend) {
    case Backend::gloo:
      return make_gloo_communicator(std::move(group), key, rendezvous);
    case Backend::nccl:
      return make_nccl_communicator(std::move(group), key, rendezvous);
  }
  RT_CHECK(false, "unknown back end {}", static_cast<int>(backend));
}

}  // namespace ringtron
