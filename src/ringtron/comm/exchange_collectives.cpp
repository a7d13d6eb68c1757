// Sums part by part on the side stream. See exchange_collectives.h.
#include "ringtron/comm/exchange_collectives.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// Ends with the last exchange and with what the side stream had to do by then.
class SideWork final : public Work::State {
 public:
  SideWork(Work exchange, at::Device device) : exchange_(std::move(exchange)), device_(device), done_(device) {}

  void wait() override {
    exchange_.wait();  // throws where the group has failed
    done_.make_current_wait(device_);
  }

 private:
  Work exchange_;
  at::Device device_;
  StreamMoment done_;
};

}  // namespace

// A part of the own slice, and the others' shares of it, on their way.
struct ExchangeCollectives::Arrival {
  Work exchange;
  at::Tensor own, shares;  // [elements], [size() - 1, elements]

  void add() {
    exchange.wait();
    own.add_(shares.size(0) == 1 ? shares[0] : shares.sum(0));
  }
};

ExchangeCollectives::ExchangeCollectives(Communicator& group, at::Device device, std::int64_t most_staged)
    : group_(group), device_(device), most_staged_(most_staged), side_(device) {}

std::int64_t ExchangeCollectives::slice_size(const at::Tensor& whole) const {
  RT_CHECK(whole.dim() == 1 && whole.is_contiguous() && whole.numel() % group_.size() == 0,
           "{} group: expected a flat tensor of {} equal slices, got {} elements", group_.name(), group_.size(),
           whole.numel());
  return whole.numel() / group_.size();
}

at::Tensor ExchangeCollectives::slice(const at::Tensor& whole, int rank) const {
  const std::int64_t size = slice_size(whole);
  return whole.narrow(0, size * rank, size);
}

ExchangeCollectives::Arrival ExchangeCollectives::request(const at::Tensor& whole, std::int64_t begin,
                                                          std::int64_t size) {
  Arrival arrival{
      {}, slice(whole, group_.rank()).narrow(0, begin, size), at::empty({group_.size() - 1, size}, whole.options())};
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (int peer = 0; peer < group_.size(); ++peer) {
    if (peer == group_.rank()) continue;
    sends.push_back({peer, slice(whole, peer).narrow(0, begin, size)});
    receives.push_back({peer, arrival.shares[static_cast<std::int64_t>(receives.size())]});
  }
  arrival.exchange = group_.exchange(sends, receives);
  return arrival;
}

// Part by part: while one is added, the next is on its way.
Work ExchangeCollectives::sum_own_slice(const at::Tensor& whole) {
  const std::int64_t size = slice_size(whole);
  const std::int64_t most = std::max<std::int64_t>(1, most_staged_ / std::max(1, group_.size() - 1));
  Arrival before;
  for (std::int64_t begin = 0; begin < size; begin += most) {
    Arrival next = request(whole, begin, std::min(most, size - begin));
    if (begin > 0) before.add();
    before = std::move(next);
  }
  if (size > 0) before.add();
  return before.exchange;
}

Work ExchangeCollectives::reduce_scatter(const at::Tensor& whole) {
  const at::NoGradGuard no_grad;
  if (group_.size() == 1) return {};
  const SideStream::Use use(side_, StreamMoment(device_));
  return Work(std::make_shared<SideWork>(sum_own_slice(whole), device_));
}

Work ExchangeCollectives::all_reduce(const at::Tensor& whole) {
  const at::NoGradGuard no_grad;
  if (group_.size() == 1) return {};
  const SideStream::Use use(side_, StreamMoment(device_));
  sum_own_slice(whole);
  Work gathered = all_gather(whole);
  gathered.wait();
  return Work(std::make_shared<SideWork>(std::move(gathered), device_));
}

Work ExchangeCollectives::all_gather(const at::Tensor& whole) {
  const at::NoGradGuard no_grad;
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (int peer = 0; peer < group_.size(); ++peer) {
    if (peer == group_.rank()) continue;
    sends.push_back({peer, slice(whole, group_.rank())});
    receives.push_back({peer, slice(whole, peer)});
  }
  return group_.exchange(sends, receives);
}

}  // namespace ringtron
