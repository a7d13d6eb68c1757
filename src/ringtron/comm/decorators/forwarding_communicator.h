// What all wrappers of a communicator share: the group is the inner one's.
//
// The operations stay without a body here, so that no wrapper can forget one and let it pass unseen.
#pragma once

#include <string>

#include "ringtron/comm/communicator.h"

namespace ringtron {

class ForwardingCommunicator : public Communicator {
 public:
  explicit ForwardingCommunicator(Communicator& inner) : inner_(inner) {}  // `inner` must outlive this

  const std::string& name() const final { return inner_.name(); }
  int rank() const final { return inner_.rank(); }
  int size() const final { return inner_.size(); }
  int global_rank(int group_rank) const final { return inner_.global_rank(group_rank); }
  bool exchanges_without_kernels() const final { return inner_.exchanges_without_kernels(); }

 protected:
  Communicator& inner() { return inner_; }

 private:
  Communicator& inner_;
};

}  // namespace ringtron
