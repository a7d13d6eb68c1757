#include "ringtron/kernels/fused_attention/fused_attention.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <optional>

#include "ringtron/base/check.h"
#include "ringtron/kernels/attention_dropout/attention_dropout_words.h"
#include "ringtron/kernels/device/element.h"
#include "ringtron/kernels/fused_attention/fused_attention_params.h"

namespace ringtron {
namespace {

constexpr std::int64_t kLargestHead = 128, kVector = 8;
constexpr std::int64_t kMostRows = (std::int64_t{1} << 30) - 128,
                       kMostBlocks = 65535;  // of a grid's second and third dimension

bool readable(const at::Tensor& x) {
  bool readable = x.is_cuda() && x.numel() > 0 && x.stride(3) == 1 && x.size(3) % kVector == 0 &&
                  x.size(3) <= kLargestHead && x.size(0) <= kMostRows && x.size(1) <= kMostBlocks &&
                  x.size(2) <= kMostBlocks && reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % 16 == 0;
  for (int dim = 0; dim < 3; ++dim) readable = readable && (x.size(dim) == 1 || x.stride(dim) % kVector == 0);
  return readable;
}

AttentionRows rows_of(const at::Tensor& x) {
  // Of one row or head the stride may be anything, also what would give addresses that no copy allows.
  const auto stride = [&](int dim) { return x.size(dim) == 1 ? 0 : x.stride(dim); };
  return {x.const_data_ptr(), stride(0), stride(1), stride(2)};
}

bool fits_into_shared_memory(const at::Tensor& q, const at::Tensor& v) {
  const int size = static_cast<int>(std::max(q.size(3), v.size(3)));
  const int bytes = std::max(fused_attention_forward_bytes(size), fused_attention_backward_bytes(size));
  return static_cast<std::size_t>(bytes) <= at::cuda::getDeviceProperties(q.device().index())->sharedMemPerBlockOptin;
}

void check_launch(int error) { C10_CUDA_CHECK(static_cast<cudaError_t>(error)); }

FusedAttentionParams params_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const FusedAttentionOptions& options) {
  RT_CHECK(fused_attention_supports(q, k, v), "a block of attention that the fused kernels do not do");
  RT_CHECK(options.scale > 0.0, "a scale {} of scores", options.scale);
  FusedAttentionParams p{};
  p.q = rows_of(q);
  p.k = rows_of(k);
  p.v = rows_of(v);
  p.type = *element_of(q);
  p.s_q = static_cast<int>(q.size(0));
  p.s_kv = static_cast<int>(k.size(0));
  p.batch = static_cast<int>(q.size(1));
  p.heads = static_cast<int>(q.size(2));
  p.groups = static_cast<int>(k.size(2));
  p.key_size = static_cast<int>(q.size(3));
  p.value_size = static_cast<int>(v.size(3));
  p.scale = static_cast<float>(options.scale);
  p.left = static_cast<int>(std::clamp(options.left, -kMostRows, kMostRows));
  p.right = static_cast<int>(std::clamp(options.right, -kMostRows, kMostRows));
  p.keep = 1.0f;
  if (options.dropout == nullptr) return p;
  const FusedDropout& d = *options.dropout;
  RT_CHECK_EQ(d.samples.numel(), q.size(1), "samples with dropout");
  RT_CHECK_EQ(d.queries.numel(), q.size(0), "positions of queries for dropout");
  RT_CHECK_EQ(d.keys.numel(), k.size(0), "positions of keys for dropout");
  p.drops = true;
  // A larger threshold, of p above 0.96, is no number of type f16.
  p.blocks = d.keys_in_blocks && dropout_threshold(d.p) <= 0x7C00;
  p.samples = d.samples.const_data_ptr<std::int64_t>();
  p.query_positions = d.queries.const_data_ptr<std::int64_t>();
  p.key_positions = d.keys.const_data_ptr<std::int64_t>();
  p.head_offset = d.head_offset;
  p.dropout_key = d.key;
  p.threshold = dropout_threshold(d.p);
  p.keep = static_cast<float>(dropout_keep(p.threshold));
  return p;
}

// What is found of rows first. The memory may go back as soon as the kernels are launched: the stream comes to it
// first.
class Prepared {
 public:
  explicit Prepared(FusedAttentionParams& p, const at::TensorOptions& like) {
    const auto bytes = [&](std::int64_t rows, std::size_t size) {
      return at::empty({rows * p.batch * p.heads * static_cast<std::int64_t>(size)}, like.dtype(at::kByte));
    };
    rows_ = bytes(query_rows(p.s_q), sizeof(QueryRow));
    p.query_rows = static_cast<QueryRow*>(rows_.mutable_data_ptr());
    if (p.drops) {
      blocks_ = bytes(key_blocks(p.s_kv), sizeof(BlockPart));
      p.key_blocks = static_cast<BlockPart*>(blocks_.mutable_data_ptr());
    }
    check_launch(fused_attention_prepare_cuda(p, c10::cuda::getCurrentCUDAStream().stream()));
  }

 private:
  at::Tensor rows_, blocks_;
};

at::Tensor sums_like(const at::Tensor& x) { return at::empty(x.sizes(), x.options().dtype(at::kFloat)); }

}  // namespace

bool fused_attention_supports(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const at::ScalarType type = q.scalar_type();
  if (type != at::kBFloat16 && type != at::kHalf) return false;
  if (k.scalar_type() != type || v.scalar_type() != type || !readable(q) || !readable(k) || !readable(v)) return false;
  if (k.device() != q.device() || v.device() != q.device() || !fits_into_shared_memory(q, v)) return false;
  return k.size(3) == q.size(3) && q.size(2) % k.size(2) == 0 && v.sizes().slice(0, 3) == k.sizes().slice(0, 3) &&
         q.size(1) == k.size(1);
}

FusedAttentionResult fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     const FusedAttentionOptions& options) {
  FusedAttentionParams p = params_of(q, k, v, options);
  const c10::cuda::CUDAGuard guard(q.device());
  const at::TensorOptions sums = q.options().dtype(at::kFloat);
  const FusedAttentionResult result{at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, sums),
                                    at::empty({q.size(1), q.size(2), q.size(0)}, sums)};
  p.out = result.out.mutable_data_ptr<float>();
  p.lse = result.lse.mutable_data_ptr<float>();
  std::optional<Prepared> prepared;
  if (p.drops) prepared.emplace(p, q.options());
  check_launch(fused_attention_forward_cuda(p, c10::cuda::getCurrentCUDAStream().stream()));
  return result;
}

FusedAttentionGradient fused_attention_backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                const at::Tensor& d_out, const at::Tensor& lse, const at::Tensor& delta,
                                                const FusedAttentionOptions& options) {
  FusedAttentionParams p = params_of(q, k, v, options);
  RT_CHECK(d_out.scalar_type() == q.scalar_type(), "the type of the output's gradient");
  RT_CHECK(lse.scalar_type() == at::kFloat && delta.scalar_type() == at::kFloat, "types of lse and delta");
  const std::int64_t batch = q.size(1), heads = q.size(2), rows = q.size(0);
  RT_CHECK(d_out.sizes() == at::IntArrayRef({rows, batch, heads, v.size(3)}), "the shape of the output's gradient");
  RT_CHECK(lse.sizes() == at::IntArrayRef({batch, heads, rows}) && delta.sizes() == lse.sizes(),
           "shapes of lse and delta");
  const c10::cuda::CUDAGuard guard(q.device());
  const at::Tensor gradient = readable(d_out) ? d_out : d_out.clone(at::MemoryFormat::Contiguous),
                   scores = lse.contiguous(), sums = delta.contiguous();
  const FusedAttentionGradient result{sums_like(q), sums_like(k), sums_like(v)};
  p.d_out = rows_of(gradient);
  p.lse = const_cast<float*>(scores.const_data_ptr<float>());  // read only
  p.delta = sums.const_data_ptr<float>();
  p.dq = result.dq.mutable_data_ptr<float>();
  p.dk = result.dk.mutable_data_ptr<float>();
  p.dv = result.dv.mutable_data_ptr<float>();
  const Prepared prepared(p, q.options());
  check_launch(fused_attention_backward_cuda(p, c10::cuda::getCurrentCUDAStream().stream()));
  return result;
}

}  // namespace ringtron
