// torch.ops.ringtron.cp_attention and cp_attention_varlen: arguments as scaled_dot_product_attention and
// flash_attn_varlen_func have them. Views of the operator below them (attention_passes.h), so autograd and
// torch.compile go through.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "ringtron/ops/attention_passes.h"

namespace ringtron::ops {
namespace {

using std::string_view;

// Of this rank's tensors.
struct Sizes {
  std::int64_t rows = 0, groups = 0;
  double head_size = 1.0;
};

AttentionOptions options_of(string_view group_name, bool is_causal, std::optional<double> scale,
                            at::IntArrayRef window_size, string_view cp_comm_type, string_view layout,
                            std::optional<std::int64_t> seq_length, at::OptionalIntArrayRef sizes,
                            const Sizes& tensor) {
  AttentionOptions options;
  options.group_name = group_name;
  options.cp_comm_type = cp_comm_type;
  options.layout = layout;
  options.causal = is_causal;
  options.deterministic = at::globalContext().deterministicAlgorithms();
  options.groups = tensor.groups;
  options.scale = scale.value_or(1.0 / std::sqrt(tensor.head_size));
  TORCH_CHECK_VALUE(window_size.size() == 2 && window_size[0] >= -1 && window_size[1] >= -1,
                    "ringtron: expected window_size (left, right), -1 for no limit, got ", window_size);
  options.window = {window_size[0], window_size[1]};
  const Place place = place_in(options.group_name);
  options.seq_length = seq_length.value_or(tensor.rows * place.ranks);
  TORCH_CHECK_VALUE(options.seq_length >= 0, "ringtron: expected a seq_length from 0, got ", options.seq_length);
  if (!sizes) return options;
  TORCH_CHECK_VALUE(sizes->size() == 2 && (*sizes)[0] > 0 && (*sizes)[0] * (*sizes)[1] == place.ranks,
                    "ringtron: expected hierarchical_context_parallel_sizes (A, P) whose product is the group's ",
                    place.ranks, " ranks, got ", *sizes);
  options.head_ranks = (*sizes)[0];
  return options;
}

void check_dims(const char* what, const at::Tensor& x, std::int64_t dims, const char* shape) {
  TORCH_CHECK_VALUE(x.dim() == dims, "ringtron: expected ", what, " of shape ", shape, ", got ", x.dim(),
                    " dimensions");
}

at::Tensor cp_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, string_view group_name,
                        bool is_causal, std::optional<double> scale, at::IntArrayRef window_size,
                        string_view cp_comm_type, string_view layout, std::optional<std::int64_t> seq_length,
                        at::OptionalIntArrayRef sizes) {
  check_dims("query", query, 4, "[batch, heads, positions of this rank, size]");
  check_dims("key", key, 4, "[batch, key heads, positions of this rank, size]");
  check_dims("value", value, 4, "[batch, key heads, positions of this rank, size]");
  const Sizes tensor{size_of(query, 2), size_of(key, 1), static_cast<double>(size_of(query, 3))};
  const AttentionOptions options =
      options_of(group_name, is_causal, scale, window_size, cp_comm_type, layout, seq_length, sizes, tensor);
  const auto rows_first = [](const at::Tensor& x) { return x.permute({2, 0, 1, 3}); };
  const at::Tensor q = rows_first(query), k = rows_first(key), v = rows_first(value);
  check_attention(options, q, k, v);
  return cp_attention_rows(q, k, v, std::nullopt, options).permute({1, 2, 0, 3});
}

at::Tensor cp_attention_varlen(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                               const at::Tensor& cu_seqlens, string_view group_name, bool is_causal,
                               std::optional<double> scale, at::IntArrayRef window_size, string_view cp_comm_type,
                               string_view layout, std::optional<std::int64_t> seq_length,
                               at::OptionalIntArrayRef sizes) {
  check_dims("query", query, 3, "[positions of this rank, heads, size]");
  check_dims("key", key, 3, "[positions of this rank, key heads, size]");
  check_dims("value", value, 3, "[positions of this rank, key heads, size]");
  TORCH_CHECK_VALUE(cu_seqlens.dim() == 1, "ringtron: expected cu_seqlens of shape [documents + 1], got ",
                    cu_seqlens.dim(), " dimensions");
  TORCH_CHECK_TYPE(cu_seqlens.scalar_type() == at::kInt || cu_seqlens.scalar_type() == at::kLong,
                   "ringtron: expected cu_seqlens of int32 or int64, got ", cu_seqlens.scalar_type());
  const Sizes tensor{size_of(query, 0), size_of(key, 1), static_cast<double>(size_of(query, 2))};
  const AttentionOptions options =
      options_of(group_name, is_causal, scale, window_size, cp_comm_type, layout, seq_length, sizes, tensor);
  const at::Tensor q = query.unsqueeze(1), k = key.unsqueeze(1), v = value.unsqueeze(1);
  check_attention(options, q, k, v);
  // torch.compile wants all tensors of an operator on one device; else the host reads them, once for both passes.
  const bool traced = query.key_set().has(c10::DispatchKey::Python);
  const at::Tensor ends = traced ? cu_seqlens.to(query.device()) : cu_seqlens.cpu();
  if (!traced) document_starts(ends, options.seq_length);  // refuses bad ones before anything is sent
  return cp_attention_rows(q, k, v, ends, options).squeeze(1);
}

// Positions of one rank as begin, end, begin, end, ...
std::vector<std::int64_t> sequence_ranges(std::int64_t seq_length, std::int64_t rank, std::int64_t ranks,
                                          string_view layout) {
  TORCH_CHECK_VALUE(seq_length >= 0 && ranks > 0 && rank >= 0 && rank < ranks,
                    "ringtron: expected a length from 0 and a rank of the group, got ", seq_length, " and rank ", rank,
                    " of ", ranks);
  std::vector<std::int64_t> flat;
  const SequenceLayout divided = layout_of(std::string(layout), seq_length, static_cast<int>(ranks));
  for (const PositionRange& range : divided.of(static_cast<int>(rank))) {
    flat.push_back(range.begin);
    flat.push_back(range.end);
  }
  return flat;
}

TORCH_LIBRARY_FRAGMENT(ringtron, library) {
  const std::string options =
      "str group_name, *, bool is_causal=False, float? scale=None, int[2] window_size=[-1, -1], "
      "str cp_comm_type='p2p', str layout='zigzag', int? seq_length=None, "
      "int[]? hierarchical_context_parallel_sizes=None) -> Tensor";
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def(torch::schema(("cp_attention(Tensor query, Tensor key, Tensor value, " + options).c_str()), tags);
  library.def(
      torch::schema(
          ("cp_attention_varlen(Tensor query, Tensor key, Tensor value, Tensor cu_seqlens, " + options).c_str()),
      tags);
  library.def("sequence_ranges(int seq_length, int rank, int ranks, str layout='zigzag') -> int[]");
}

TORCH_LIBRARY_IMPL(ringtron, CompositeImplicitAutograd, library) {
  library.impl("cp_attention", TORCH_FN(cp_attention));
  library.impl("cp_attention_varlen", TORCH_FN(cp_attention_varlen));
  library.impl("sequence_ranges", TORCH_FN(sequence_ranges));
}

}  // namespace
}  // namespace ringtron::ops
