#include "ringtron/ops/attention_options.h"

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>

#include <algorithm>
#include <exception>

#include "ringtron/base/check.h"

namespace ringtron::ops {
namespace {

constexpr std::size_t kNumbers = 7;

void check_same(const char* what, const at::Tensor& x, const at::Tensor& q) {
  TORCH_CHECK_VALUE(x.device() == q.device(), "ringtron: expected query, key and value on one device, got query on ",
                    q.device(), " and ", what, " on ", x.device());
  TORCH_CHECK_TYPE(x.scalar_type() == q.scalar_type(),
                   "ringtron: expected query, key and value of one type, got query of ", q.scalar_type(), " and ", what,
                   " of ", x.scalar_type());
  TORCH_CHECK_VALUE(x.layout() == at::kStrided, "ringtron: expected dense tensors, got ", what, " of layout ",
                    x.layout());
}

CpTransport transport_by(const AttentionOptions& options) {
  try {
    return transport_of(options.cp_comm_type);
  } catch (const std::exception&) {
    TORCH_CHECK_VALUE(false, "ringtron: expected a cp_comm_type among ", transports_text(), ", got \"",
                      options.cp_comm_type, "\"");
  }
}

}  // namespace

std::vector<std::int64_t> AttentionOptions::numbers() const {
  return {causal, window.left, window.right, seq_length, head_ranks, groups, deterministic};
}

void AttentionOptions::set_numbers(at::IntArrayRef numbers) {
  TORCH_CHECK_VALUE(numbers.size() == kNumbers, "ringtron: expected ", kNumbers, " numbers, got ", numbers.size());
  causal = numbers[0] != 0;
  window = {numbers[1], numbers[2]};
  seq_length = numbers[3];
  head_ranks = numbers[4];
  groups = numbers[5];
  deterministic = numbers[6] != 0;
}

std::int64_t size_of(const at::Tensor& x, int dim) { return x.sym_size(dim).guard_int(__FILE__, __LINE__); }

Place place_in(const std::string& group_name) {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  try {
    group = c10d::resolve_process_group(group_name);
  } catch (const std::exception&) {
    TORCH_CHECK_VALUE(false, "ringtron: expected the name of a process group of torch.distributed, got \"", group_name,
                      "\"; group.group_name has it, after torch.distributed.init_process_group()");
  }
  return {group->getRank(), group->getSize()};
}

SequenceLayout layout_of(const std::string& word, std::int64_t seq_length, int ranks) {
  if (word == "zigzag") return zigzag_layout(seq_length, ranks);
  TORCH_CHECK_VALUE(word == "contiguous", "ringtron: expected layout \"zigzag\" or \"contiguous\", got \"", word, "\"");
  return contiguous_layout(seq_length, ranks);
}

SavedRows saved_rows(const AttentionOptions& options, std::int64_t heads) {
  const Place place = place_in(options.group_name);
  const SequenceLayout layout = layout_of(options.layout, options.seq_length, place.ranks);
  const std::vector<AttentionMask> masks = {{options.seq_length, options.causal, options.window}};
  const TransportPlan plan = make_transport_plan(transport_of(options.cp_comm_type),
                                                 static_cast<int>(options.head_ranks), {layout, masks}, place.rank);
  const int groups = plan.inner.ranks(), rank = place.rank / plan.head_ranks;
  SavedRows rows;
  rows.heads_exchanged = plan.head_ranks > 1;
  rows.queries = plan.inner.local_length(rank);
  rows.heads =
      share_heads(heads, options.groups, plan.head_ranks).at(static_cast<std::size_t>(place.rank % plan.head_ranks));
  const bool own = plan.passes.saved_owner == rank;
  if (own && !rows.heads_exchanged) return rows;
  // Of whichever rank's block it is; with documents it may be another one.
  rows.keys = rows.queries;
  for (int other = 0; !own && other < groups; ++other) {
    rows.keys = std::max(rows.keys, plan.inner.local_length(other));
  }
  return rows;
}

void check_attention(const AttentionOptions& options, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  check_same("key", k, q);
  check_same("value", v, q);
  TORCH_CHECK_TYPE(q.scalar_type() == at::kDouble || q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16,
                   "ringtron: expected tensors of float64, float32 or bfloat16, got ", q.scalar_type());
  const std::int64_t heads = size_of(q, 2), groups = size_of(k, 2);
  TORCH_CHECK_VALUE(q.sym_size(3) == k.sym_size(3), "ringtron: expected query and key of one head size, got ",
                    q.sym_size(3), " and ", k.sym_size(3));
  TORCH_CHECK_VALUE(groups == size_of(v, 2), "ringtron: expected as many heads of value as of key, got ", groups,
                    " and ", size_of(v, 2));
  TORCH_CHECK_VALUE(groups > 0 && heads % groups == 0, "ringtron: expected a multiple of the ", groups,
                    " key heads as query heads, got ", heads);
  TORCH_CHECK_VALUE(q.sym_size(1) == k.sym_size(1) && q.sym_size(1) == v.sym_size(1),
                    "ringtron: expected one batch size, got ", q.sym_size(1), ", ", k.sym_size(1), " and ",
                    v.sym_size(1));
  const Place place = place_in(options.group_name);
  const CpTransport transport = transport_by(options);
  try {
    head_ranks_of(transport, place.ranks, static_cast<int>(options.head_ranks));
  } catch (const std::exception&) {
    TORCH_CHECK_VALUE(false, "ringtron: cp_comm_type ", options.cp_comm_type,
                      ": expected hierarchical_context_parallel_sizes (A, P) whose product is the group's ",
                      place.ranks, " ranks, got ",
                      options.head_ranks == 0 ? "none" : std::to_string(options.head_ranks) + " as A");
  }
  const std::int64_t rows = layout_of(options.layout, options.seq_length, place.ranks).local_length(place.rank);
  for (const auto& [what, x] : {std::pair{"query", &q}, {"key", &k}, {"value", &v}}) {
    TORCH_CHECK_VALUE(size_of(*x, 0) == rows, "ringtron: expected ", rows, " positions of ", what, " on rank ",
                      place.rank, " of ", place.ranks, " (layout ", options.layout, " of ", options.seq_length,
                      " positions in all), got ", size_of(*x, 0),
                      "; shard_sequence() divides a sequence, seq_length says its length where it does not divide");
  }
}

std::vector<std::int64_t> document_starts(const at::Tensor& cu_seqlens, std::int64_t seq_length) {
  const at::Tensor ends = cu_seqlens.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* end = ends.const_data_ptr<std::int64_t>();
  const std::int64_t count = ends.numel();
  TORCH_CHECK_VALUE(count > 0 && end[0] == 0, "ringtron: expected cu_seqlens to begin with 0, got ",
                    count > 0 ? std::to_string(end[0]) : "no elements");
  TORCH_CHECK_VALUE(end[count - 1] == seq_length, "ringtron: expected cu_seqlens to end with the ", seq_length,
                    " positions of the whole sequence, got ", end[count - 1]);
  std::vector<std::int64_t> starts;
  for (std::int64_t i = 1; i < count; ++i) {
    TORCH_CHECK_VALUE(end[i - 1] <= end[i], "ringtron: expected cu_seqlens that do not decrease, got ", end[i - 1],
                      " and then ", end[i], " at ", i);
    if (i + 1 < count && end[i] > end[i - 1] && end[i] < seq_length) starts.push_back(end[i]);
  }
  return starts;
}

}  // namespace ringtron::ops
