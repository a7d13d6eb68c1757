#include "ringtron/optim/muon_rule.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/optim/optimizer.h"
#include "ringtron/parameter/parameter_kind.h"

namespace ringtron {
namespace {

// Elements that a rank receives at once when updates are sent; at least one matrix.
constexpr std::int64_t kWave = 1 << 26;

// Multiplications of an iteration, but for a factor.
double cost_of(const Parameter& parameter) {
  const auto& shape = parameter.shard.global_shape;
  const double few = static_cast<double>(std::min(shape[0], shape[1]));
  return few * few * static_cast<double>(std::max(shape[0], shape[1]));
}

std::int64_t local_elements(const Parameter& parameter) { return parameter.value.numel(); }

}  // namespace

MuonRule::MuonRule(const ParameterList& parameters, const BucketPlan& plan, MuonSetup setup)
    : options_(setup.options), ranks_(std::move(setup.ranks)), orthogonalize_(std::move(setup.orthogonalize)) {
  RT_CHECK(ranks_.group != nullptr && ranks_.places.size() == static_cast<std::size_t>(ranks_.group->size()),
           "Muon: expected a place for each rank of its group");
  std::vector<std::int64_t> sizes;
  for (const Parameter* parameter : parameters) sizes.push_back(local_elements(*parameter));
  std::vector<Matrix> of_parameter;
  for (const Parameter* parameter : parameters) {
    const auto replicas = static_cast<std::size_t>(ranks_.replicas);
    of_parameter.push_back({parameter, is_qkv_matrix(*parameter), std::vector<ElementRange>(replicas)});
  }
  for (int replica = 0; replica < ranks_.replicas; ++replica) {
    const auto shards = bucket_shards(plan, ranks_.owners ? replica : 0, ranks_.owners ? ranks_.replicas : 1);
    for (const OwnedPart& part : owned_parts(plan, sizes, shards))
      of_parameter[static_cast<std::size_t>(part.parameter)].owned[static_cast<std::size_t>(replica)] = part.elements;
  }
  for (Matrix& matrix : of_parameter) {
    if (!takes(*matrix.parameter)) continue;
    RT_CHECK(matrix.parameter->real_rows < 0, "Muon: {} has padding rows", matrix.parameter->name);
    matrices_.push_back(std::move(matrix));
  }
  // Equal ones next to each other, so that no rank waits long for the others of its round.
  std::ranges::stable_sort(matrices_, std::greater<>(), [](const Matrix& m) { return cost_of(*m.parameter); });
}

bool MuonRule::takes(const ParameterSpec& parameter) const { return is_hidden_matrix(parameter); }

std::span<const std::string_view> MuonRule::moments() const {
  static constexpr std::string_view kNames[] = {"momentum_buffer"};
  return kNames;
}

// What `rank` changes of the matrix, in the elements of its local tensor.
ElementRange MuonRule::owned(const Matrix& matrix, int rank) const {
  return matrix.owned[static_cast<std::size_t>(ranks_.places[static_cast<std::size_t>(rank)].replica)];
}

// What of it `worker` gets from `rank`: each element of the whole matrix from one.
ElementRange MuonRule::taken_from(const Matrix& matrix, int worker, int rank) const {
  const StageRanks::Place &here = ranks_.places[static_cast<std::size_t>(worker)],
                          &there = ranks_.places[static_cast<std::size_t>(rank)];
  const bool has_other_elements = matrix.parameter->is_sharded() || here.tensor == there.tensor;
  const bool counts = ranks_.owners || here.replica == there.replica;
  return has_other_elements && counts ? owned(matrix, rank) : ElementRange{};
}

// Moves the momentum on. Returns what is to be orthogonalised, flat.
at::Tensor MuonRule::momentum_of(OptimizerState& state, const UpdateStep& step) const {
  const at::Tensor& momentum = state.moment(0);
  const at::Tensor gradient = step.scaled(state.part_of(state.parameter->gradient));
  const at::Tensor next = momentum.lerp(gradient, 1.0 - options_.momentum);
  momentum.copy_(step.unless_skipped(momentum, next));
  return (options_.nesterov ? gradient.lerp(next, options_.momentum) : next).view({-1});
}

// Of the local tensors of all tensor ranks the whole one. `parts`: by rank of the group; undefined where nothing is
// taken from it.
at::Tensor MuonRule::whole_of(const Matrix& matrix, const std::vector<at::Tensor>& parts) const {
  const Parameter& parameter = *matrix.parameter;
  const ShardSpec& shard = parameter.shard;
  const int self = ranks_.group->rank();
  const at::TensorOptions options = parts[static_cast<std::size_t>(self)].defined()
                                        ? parts[static_cast<std::size_t>(self)].options()
                                        : parameter.gradient.options();
  at::Tensor whole = at::empty(shard.global_shape, options);
  const std::int64_t dim = std::max(shard.dim, 0);
  for (int tensor = 0; tensor < ranks_.tensor_size; ++tensor) {
    if (!shard.sharded() && tensor != ranks_.places[static_cast<std::size_t>(self)].tensor) continue;
    const at::Tensor local = at::empty(shard.local_shape(ranks_.tensor_size), options);
    for (int rank = 0; rank < ranks_.group->size(); ++rank) {
      const at::Tensor& part = parts[static_cast<std::size_t>(rank)];
      if (!part.defined() || ranks_.places[static_cast<std::size_t>(rank)].tensor != tensor) continue;
      local.view({-1}).narrow(0, taken_from(matrix, self, rank).begin, part.numel()).copy_(part);
    }
    for (const ShardSlice& s : shard.slices(tensor, ranks_.tensor_size))
      whole.narrow(dim, s.global_offset, s.length).copy_(local.narrow(dim, s.local_offset, s.length));
  }
  return whole;
}

// The local tensor of each tensor rank, flat.
std::vector<at::Tensor> MuonRule::slices_of(const Matrix& matrix, const at::Tensor& whole) const {
  const ShardSpec& shard = matrix.parameter->shard;
  if (!shard.sharded()) return std::vector<at::Tensor>(static_cast<std::size_t>(ranks_.tensor_size), whole.view({-1}));
  std::vector<at::Tensor> out;
  for (int tensor = 0; tensor < ranks_.tensor_size; ++tensor) {
    const at::Tensor local = at::empty(shard.local_shape(ranks_.tensor_size), whole.options());
    for (const ShardSlice& s : shard.slices(tensor, ranks_.tensor_size))
      local.narrow(shard.dim, s.local_offset, s.length).copy_(whole.narrow(shard.dim, s.global_offset, s.length));
    out.push_back(local.view({-1}));
  }
  return out;
}

// Moves the momenta of a round on. Returns this rank's matrix of it; undefined where it has none.
at::Tensor MuonRule::gather(Round round, const States& states, const UpdateStep& step) const {
  const int self = ranks_.group->rank(), size = ranks_.group->size();
  std::vector<Send> sends;
  std::vector<Receive> receives;
  std::vector<at::Tensor> parts(static_cast<std::size_t>(size));  // of this rank's matrix
  for (int worker = 0; worker < static_cast<int>(round.size()); ++worker) {
    const Matrix& matrix = round[static_cast<std::size_t>(worker)];
    OptimizerState* state = states[static_cast<std::size_t>(worker)];
    if (state == nullptr) continue;
    const at::Tensor momentum = momentum_of(*state, step);
    if (taken_from(matrix, worker, self).size() == 0) continue;
    if (worker == self)
      parts[static_cast<std::size_t>(self)] = momentum;
    else
      sends.push_back({worker, momentum});
  }
  const bool works = self < static_cast<int>(round.size());
  for (int rank = 0; works && rank < size; ++rank) {
    const Matrix& matrix = round[static_cast<std::size_t>(self)];
    const std::int64_t count = taken_from(matrix, self, rank).size();
    if (rank == self || count == 0) continue;
    at::Tensor& part = parts[static_cast<std::size_t>(rank)];
    part = at::empty({count}, matrix.parameter->gradient.options());
    receives.push_back({rank, part});
  }
  ranks_.group->exchange(sends, receives).wait();
  return works ? whole_of(round[static_cast<std::size_t>(self)], parts) : at::Tensor();
}

// Sends the updates of some matrices of a round, those of the ranks from `first` on, and makes them. `own_update`: the
// slices of this rank's, if it is one of these.
void MuonRule::scatter(Round wave, int first, const std::vector<at::Tensor>& own_update, const States& states,
                       const UpdateStep& step) const {
  const int self = ranks_.group->rank(), last = first + static_cast<int>(wave.size());
  const auto part_of = [&](const Matrix& matrix, int rank) {
    const ElementRange range = owned(matrix, rank);
    const int tensor = ranks_.places[static_cast<std::size_t>(rank)].tensor;
    return own_update[static_cast<std::size_t>(tensor)].narrow(0, range.begin, range.size());
  };
  std::vector<Send> sends;
  for (int rank = 0; self >= first && self < last && rank < ranks_.group->size(); ++rank) {
    const Matrix& matrix = wave[static_cast<std::size_t>(self - first)];
    if (rank != self && owned(matrix, rank).size() > 0) sends.push_back({rank, part_of(matrix, rank)});
  }
  std::vector<Receive> receives;
  std::vector<std::pair<OptimizerState*, at::Tensor>> updates;
  for (int worker = first; worker < last; ++worker) {
    const Matrix& matrix = wave[static_cast<std::size_t>(worker - first)];
    OptimizerState* state = states[static_cast<std::size_t>(worker)];
    if (state == nullptr) continue;
    at::Tensor part;
    if (worker == self) {
      part = part_of(matrix, self);
    } else {
      part = at::empty({owned(matrix, self).size()}, matrix.parameter->gradient.options());
      receives.push_back({worker, part});
    }
    updates.emplace_back(state, part);
  }
  ranks_.group->exchange(sends, receives).wait();
  for (const auto& [state, part] : updates) {
    const at::Tensor main = state->main();
    const at::Tensor decayed = main * (1.0 - (state->decays ? step.lr * step.weight_decay : 0.0));
    state->set_main(step.unless_skipped(main, decayed.sub(part.view(main.sizes()), step.lr)));
  }
}

void MuonRule::update(std::span<OptimizerState* const> states, const UpdateStep& step) const {
  std::map<const Parameter*, OptimizerState*> state_of;
  for (OptimizerState* s : states) state_of[s->parameter] = s;
  const auto size = static_cast<std::size_t>(ranks_.group->size());
  for (std::size_t begin = 0; begin < matrices_.size(); begin += size) {
    const Round round = Round(matrices_).subspan(begin, std::min(size, matrices_.size() - begin));
    States own;
    for (const Matrix& matrix : round) {
      const auto found = state_of.find(matrix.parameter);
      own.push_back(found == state_of.end() || found->second->elements.size() == 0 ? nullptr : found->second);
    }
    const at::Tensor momentum = gather(round, own, step);
    std::vector<at::Tensor> update;
    if (momentum.defined()) {
      const Matrix& matrix = round[static_cast<std::size_t>(ranks_.group->rank())];
      update = slices_of(matrix, orthogonalize_(momentum, matrix.is_qkv, options_));
    }
    for (std::size_t first = 0; first < round.size();) {
      std::size_t last = first;
      std::int64_t elements = 0;
      while (last < round.size() && (last == first || elements + local_elements(*round[last].parameter) <= kWave))
        elements += local_elements(*round[last++].parameter);
      scatter(round.subspan(first, last - first), static_cast<int>(first), update, own, step);
      first = last;
    }
  }
}

}  // namespace ringtron
