// Stands in for nccl_communicator.cpp in a program built without CUDA.
#include "ringtron/base/error.h"
#include "ringtron/comm/backends.h"

namespace ringtron {

std::unique_ptr<Communicator> make_nccl_communicator(Group, const std::string&, const Rendezvous&) {
  throw ConfigError(
      "--distributed-backend nccl: expected a program built with the cuda preset, this one has no NCCL; use "
      "--distributed-backend gloo, or build with cmake --preset cuda");
}

}  // namespace ringtron
