#include "ringtron/mamba_context_parallel/state_passing.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <map>
#include <utility>
#include <vector>

#include "ringtron/kernels/device/device_table.h"
#include "ringtron/mamba_context_parallel/scan_bytes.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

using Numbers = std::vector<std::int64_t>;

class StatePassing : public SsdExchange {
 public:
  StatePassing(Communicator& group, std::shared_ptr<const ScanShape> shape) : group_(group), shape_(std::move(shape)) {}

  at::Tensor initial_states(const SsdEnds& finals) override { return passed(finals, /*reversed=*/false); }
  at::Tensor final_gradients(const SsdEnds& initials) override { return passed(initials, /*reversed=*/true); }

 private:
  // Lines of a rank that something comes out of, and that something goes into.
  int given(int rank, bool reversed) const {
    return reversed ? shape_->plan.initials(rank) : shape_->plan.finals(rank);
  }
  int wanted(int rank, bool reversed) const { return given(rank, !reversed); }
  PositionRange heads_of(std::int64_t heads, int rank) const { return heads_to_pass(heads, group_.size(), rank); }

  // What goes into this rank's lines, of all heads.
  at::Tensor passed(const SsdEnds& own, bool reversed) const {
    const std::int64_t heads = own.state.size(1);
    const std::vector<at::Tensor> entering = through_pieces(gathered(own, reversed), reversed);
    const int me = group_.rank();
    std::vector<std::int64_t> sizes = own.state.sizes().vec();
    sizes[0] = wanted(me, reversed);
    const at::Tensor result = at::zeros(sizes, own.state.options());
    std::vector<Send> sends;
    std::vector<Receive> receives;
    for (int peer = 0; peer < group_.size(); ++peer) {
      const PositionRange theirs = heads_of(heads, peer);
      if (peer == me) {
        if (sizes[0] > 0) result.narrow(1, theirs.begin, theirs.length()).copy_(entering[static_cast<std::size_t>(me)]);
        continue;
      }
      const at::Tensor& out = entering[static_cast<std::size_t>(peer)];
      if (out.numel() > 0) sends.push_back({peer, out});
      if (sizes[0] == 0 || theirs.empty()) continue;
      receives.push_back({peer, at::empty({sizes[0], theirs.length(), sizes[2], sizes[3]}, own.state.options())});
    }
    group_.exchange(sends, receives).wait();
    for (const Receive& receive : receives) {
      const PositionRange theirs = heads_of(heads, receive.peer);
      result.narrow(1, theirs.begin, theirs.length()).copy_(receive.tensor);
    }
    return result;
  }

  // By rank its lines, of this rank's share of heads.
  std::vector<SsdEnds> gathered(const SsdEnds& own, bool reversed) const {
    const std::int64_t heads = own.state.size(1), p = own.state.size(2), n = own.state.size(3);
    const at::Tensor packed = at::cat({own.state.flatten(2), own.log_decay.unsqueeze(2)}, 2);
    const int me = group_.rank();
    const PositionRange mine = heads_of(heads, me);
    std::vector<at::Tensor> of_rank;
    std::vector<Send> sends;
    std::vector<Receive> receives;
    for (int peer = 0; peer < group_.size(); ++peer) {
      const PositionRange theirs = heads_of(heads, peer);
      const at::Tensor out = packed.narrow(1, theirs.begin, theirs.length()).contiguous();
      if (peer == me) {
        of_rank.push_back(out);
        continue;
      }
      of_rank.push_back(at::empty({given(peer, reversed), mine.length(), p * n + 1}, packed.options()));
      if (out.numel() > 0) sends.push_back({peer, out});
      if (of_rank.back().numel() > 0) receives.push_back({peer, of_rank.back()});
    }
    group_.exchange(sends, receives).wait();
    std::vector<SsdEnds> ends;
    for (const at::Tensor& lines : of_rank) {
      ends.push_back({lines.narrow(2, 0, p * n).unflatten(2, {p, n}), lines.select(2, p * n)});
    }
    return ends;
  }

  // By rank what goes into its lines, of this rank's share of heads.
  std::vector<at::Tensor> through_pieces(const std::vector<SsdEnds>& ends, bool reversed) const {
    const ScanPlan& plan = shape_->plan;
    std::vector<at::Tensor> entering;
    for (int rank = 0; rank < group_.size(); ++rank) {
      std::vector<std::int64_t> sizes = ends[0].state.sizes().vec();
      sizes[0] = wanted(rank, reversed);
      entering.push_back(at::empty(sizes, ends[0].state.options()));
    }
    at::Tensor passing;
    for (std::size_t i = 0; i < plan.links.size(); ++i) {
      const ScanLink& link = plan.links[reversed ? plan.links.size() - 1 - i : i];
      const SsdEnds& from = ends[static_cast<std::size_t>(reversed ? link.to_rank : link.from_rank)];
      const int line = reversed ? link.to_line : link.from_line;
      const at::Tensor own = from.state.select(0, line);
      const bool goes_on = reversed ? link.to_goes_on : link.from_continues;
      passing = goes_on ? own + from.log_decay.select(0, line).exp().view({-1, 1, 1}) * passing : own;
      entering[static_cast<std::size_t>(reversed ? link.from_rank : link.to_rank)]
          .select(0, reversed ? link.from_line : link.to_line)
          .copy_(passing);
    }
    return entering;
  }

  Communicator& group_;
  std::shared_ptr<const ScanShape> shape_;
};

// Which rows go where: by peer, places among this rank's rows as [s * b] and among the lines of the halo as
// [initials * count].
struct HaloTables {
  std::map<int, Numbers> given, taken;

  HaloTables(const ScanShape& shape, std::int64_t count, int me) {
    const std::int64_t b = shape.own->samples();
    for (const HaloRow& row : halo_rows(shape.plan, count)) {
      if (row.from_rank == me) given[row.to_rank].push_back(row.from_row * b + row.sample);
      if (row.to_rank == me) taken[row.from_rank].push_back(row.to_line * count + row.place);
    }
  }
};

// rows[from[peer]] of each rank to[peer] of its peer, added there.
void move_rows(const at::Tensor& rows, const std::map<int, Numbers>& from, const at::Tensor& sums,
               const std::map<int, Numbers>& to, Communicator& group) {
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (const auto& [peer, places] : from) {
    if (peer != group.rank()) sends.push_back({peer, rows.index_select(0, index_table(places, rows.device()))});
  }
  for (const auto& [peer, places] : to) {
    if (peer == group.rank()) continue;
    receives.push_back({peer, at::empty({static_cast<std::int64_t>(places.size()), rows.size(1)}, rows.options())});
  }
  group.exchange(sends, receives).wait();
  std::size_t message = 0;
  for (const auto& [peer, places] : to) {
    const at::Tensor arrived = peer == group.rank() ? rows.index_select(0, index_table(from.at(peer), rows.device()))
                                                    : receives[message++].tensor;
    sums.index_add_(0, index_table(places, sums.device()), arrived.to(sums.scalar_type()));
  }
}

struct HaloCall : torch::CustomClassHolder {
  Communicator* group = nullptr;
  std::shared_ptr<const ScanShape> shape;
  std::int64_t count = 0;
};

// x itself goes through it, so that the halo's gradients are added to the few rows that they belong to, not to all.
class Halo : public Function<Halo> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x,
                               const c10::intrusive_ptr<HaloCall>& call) {
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    const HaloTables tables(*call->shape, call->count, call->group->rank());
    const at::Tensor halo = at::zeros({call->shape->own->initials(), call->count, x.size(2)}, x.options());
    move_rows(x.reshape({-1, x.size(2)}), tables.given, halo.view({-1, x.size(2)}), tables.taken, *call->group);
    return {x, halo};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto call = c10::static_intrusive_pointer_cast<HaloCall>(context->saved_data["call"].toCapsule());
    const HaloTables tables(*call->shape, call->count, call->group->rank());
    const std::int64_t channels = grads[1].size(2);
    const at::Tensor& dx = grads[0];  // causal_conv() has just made it, for nobody else
    move_rows(grads[1].reshape({-1, channels}), tables.taken, dx.view({-1, channels}), tables.given, *call->group);
    return {dx, {}};
  }
};

}  // namespace

std::shared_ptr<SsdExchange> make_state_passing(Communicator& group, std::shared_ptr<const ScanShape> shape) {
  return std::make_shared<StatePassing>(group, std::move(shape));
}

WithHalo with_halo(const at::Tensor& x, std::int64_t count, Communicator& group,
                   const std::shared_ptr<const ScanShape>& shape) {
  if (shape->plan.links.empty() || count == 0) return {x, at::zeros({0, count, x.size(2)}, x.options())};
  auto call = c10::make_intrusive<HaloCall>();
  call->group = &group;
  call->shape = shape;
  call->count = count;
  const variable_list both = Halo::apply(x, call);
  return {both[0], both[1]};
}

}  // namespace ringtron
