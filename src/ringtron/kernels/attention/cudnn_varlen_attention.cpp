// The CUDA build's half of cudnn_varlen_attention.h: tables, and running the graphs of cudnn_varlen_graph.h.
#include "ringtron/kernels/attention/cudnn_varlen_attention.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/kernels/attention/cudnn_plans.h"
#include "ringtron/kernels/attention/cudnn_varlen_graph.h"

namespace ringtron {
namespace {

using internal::VarlenPlanKey;
using Pointers = internal::CudnnPointers;

constexpr std::int64_t kLoadBytes = 16;     // the kernels load this much at a time and do not check for it
constexpr std::int64_t kLargestHead = 128;  // what the backward can do on every GPU that we build for
// Of other head sizes cuDNN's backward cannot bound its workspace by the rows of the tensors.
constexpr std::int64_t kHeadMultiple = 16;
constexpr int kOldestMajor = 9;  // ragged offsets need Hopper or newer

int major_of(at::Device device) {
  int major = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device.index());
  return major;
}

std::string refusal(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const at::ScalarType type = q.scalar_type();
  if (type != at::kBFloat16 && type != at::kHalf)
    return fmt::format("q is {}, not BFloat16 or Half", c10::toString(type));
  for (const at::Tensor* x : {&q, &k, &v}) {
    if (!x->is_cuda() || x->device() != q.device()) return "q, k and v are not on one GPU";
    if (x->scalar_type() != type) return "q, k and v have different types";
    if (x->dim() != 4) return fmt::format("a tensor has {} dimensions, not 4", x->dim());
  }
  const std::int64_t n = q.size(2), g = k.size(2), d = q.size(3);
  if (k.size(2) != v.size(2) || k.size(3) != v.size(3)) return "k and v have different shapes";
  if (q.size(1) != k.size(1) || q.size(1) == 0) return fmt::format("batch {} of q, {} of k", q.size(1), k.size(1));
  if (d != k.size(3)) return fmt::format("head size {} of q, {} of k", d, k.size(3));
  if (n == 0 || g == 0 || n % g != 0)
    return fmt::format("{} query heads are not a multiple of {} key/value heads", n, g);
  if (d == 0 || d > kLargestHead || d % kHeadMultiple != 0) {
    return fmt::format("head size {} is not a multiple of {} up to {}", d, kHeadMultiple, kLargestHead);
  }
  const int major = major_of(q.device());
  if (major != kOldestMajor && major != kOldestMajor + 1) return fmt::format("a GPU of compute capability {}.x", major);
  return "";
}

VarlenShape shape_of(const at::Tensor& q, const at::Tensor& k) {
  return {q.size(0), k.size(0), q.size(1), q.size(2), k.size(2), q.size(3)};
}

std::int64_t power_of_two(std::int64_t x) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(x)));
}

// To be read by a kernel.
at::Tensor packed(const at::Tensor& x) {
  const at::Tensor rows = x.contiguous();
  return reinterpret_cast<std::uintptr_t>(rows.const_data_ptr()) % kLoadBytes == 0 ? rows : rows.clone();
}

// Room for rows [s, b, heads, d], zero where no tile will write.
at::Tensor room(const VarlenShape& shape, std::int64_t s, std::int64_t heads, bool covered,
                const at::TensorOptions& options) {
  const std::array<std::int64_t, 4> sizes{s, shape.samples, heads, shape.d};
  return covered ? at::empty(sizes, options) : at::zeros(sizes, options);
}

// The log-sum-exp as kernels have it: [s, b, n].
at::Tensor lse_room(const VarlenShape& shape, bool covered, const at::TensorOptions& options) {
  const std::array<std::int64_t, 3> sizes{shape.s_q, shape.samples, shape.n};
  if (covered) return at::empty(sizes, options.dtype(at::kFloat));
  return at::full(sizes, -std::numeric_limits<float>::infinity(), options.dtype(at::kFloat));
}

// A bound, in rows as the graph steps, that few plans suffice for. cuDNN counts the last row to its first sample's end
// only.
std::int64_t rows_bound(const VarlenShape& shape, std::int64_t s) {
  return power_of_two(s) + (shape.samples > 1 ? 1 : 0);
}

VarlenPlanKey key_of(const UploadedTables& tiles, const at::Tensor& q, double scale, bool backward) {
  const VarlenShape& s = tiles.shape;
  return {.backward = backward,
          .causal = tiles.causal,
          .half = q.scalar_type() == at::kHalf,
          .scale = scale,
          .n = s.n,
          .g = s.g,
          .d = s.d,
          .row_step = s.samples,
          .capacity = 0,
          .longest = 0,
          .q_rows = backward ? rows_bound(s, s.s_q) : 0,
          .kv_rows = backward ? rows_bound(s, s.s_kv) : 0};
}

void check_tables(const UploadedTables& tiles, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  std::string reason;
  RT_CHECK(cudnn_varlen_attention_supports(q, k, v, &reason), "attention of documents through cuDNN: {}", reason);
  RT_CHECK(tiles.shape == shape_of(q, k) && k.sizes() == v.sizes(),
           "attention of documents through cuDNN: tables of other tensors than these");
}

// Parts of one call that need nothing of each other: the first in the caller's stream, the others beside it. What a
// part's small kernels and its last blocks leave of the GPU, the others use; they have the lowest priority.
class PartsBeside {
 public:
  explicit PartsBeside(std::size_t parts)
      : caller_(c10::cuda::getCurrentCUDAStream()), busy_(std::clamp<std::size_t>(parts, 1, kSides + 1) - 1) {
    if (busy_ > 0) begin_.record(caller_);
  }
  ~PartsBeside() {
    try {
      for (std::size_t i = 0; i < busy_; ++i) {
        at::cuda::CUDAEvent end;
        end.record(sides()[i]);
        end.block(caller_);
      }
    } catch (const std::exception&) {  // of a device that has failed: an error is under way, or the next call meets it
    }
  }
  PartsBeside(const PartsBeside&) = delete;
  PartsBeside& operator=(const PartsBeside&) = delete;

  // While the guard lives, the current stream is that of the part.
  std::optional<c10::cuda::CUDAStreamGuard> part(std::size_t number) {
    const std::size_t turn = number % (busy_ + 1);
    if (turn == 0) return {};
    const c10::cuda::CUDAStream& side = sides()[turn - 1];
    if (number == turn) begin_.block(side);
    return std::optional<c10::cuda::CUDAStreamGuard>(std::in_place, side);
  }

 private:
  static constexpr std::size_t kSides = 2;

  // The same ones at each call, since LibTorch keeps memory by stream.
  const std::array<c10::cuda::CUDAStream, kSides>& sides() const {
    static std::map<c10::DeviceIndex, std::array<c10::cuda::CUDAStream, kSides>> known;
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    const auto found = known.find(caller_.device_index());
    if (found != known.end()) return found->second;
    const auto side = [&] { return c10::cuda::getStreamFromPool(/*isHighPriority=*/false, caller_.device_index()); };
    return known.emplace(caller_.device_index(), std::array{side(), side()}).first->second;
  }

  c10::cuda::CUDAStream caller_;
  std::size_t busy_;  // sides that get parts
  at::cuda::CUDAEvent begin_;
};

}  // namespace

bool cudnn_varlen_attention_supports(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     std::string* reason) {
  std::string why = refusal(q, k, v);
  const bool supported = why.empty();
  if (reason) *reason = std::move(why);
  return supported;
}

UploadedTables upload_varlen_tables(std::vector<SampleTile> tiles, bool causal, const at::Tensor& q,
                                    const at::Tensor& k) {
  UploadedTables tables;
  tables.shape = shape_of(q, k);
  tables.causal = causal;
  std::int64_t q_tokens = 0, kv_tokens = 0;
  for (const SampleTile& tile : tiles) {
    RT_CHECK(!causal || tile.q_rows == tile.kv_rows, "a causal tile of {} queries and {} keys is not square",
             tile.q_rows, tile.kv_rows);
    q_tokens += tile.q_rows;
    kv_tokens += tile.kv_rows;
  }
  tables.covers_q = q_tokens == tables.shape.s_q * tables.shape.samples;
  tables.covers_kv = kv_tokens == tables.shape.s_kv * tables.shape.samples;

  const std::int64_t tokens = std::max(tables.shape.s_q, tables.shape.s_kv) * tables.shape.samples;
  const std::vector<VarlenGroup> groups = group_by_length(std::move(tiles), tokens);
  std::int64_t words = 0;
  for (const VarlenGroup& group : groups) {
    tables.groups.push_back({group.longest, group.capacity, words});
    words += VarlenTables::words(group.capacity);
  }
  // Pinned, so that the copy is queued like a kernel; the allocator keeps the memory until it is done.
  const at::Tensor host = at::empty({words}, at::TensorOptions(at::kLong).pinned_memory(true));
  for (std::size_t i = 0; i < groups.size(); ++i) {
    fill_tables(groups[i], tables.shape, host.mutable_data_ptr<std::int64_t>() + tables.groups[i].first_word);
  }
  const c10::cuda::CUDAGuard guard(q.device());
  tables.words = host.to(q.device(), /*non_blocking=*/true);
  return tables;
}

class CudnnVarlenAttention::Impl : public internal::CudnnPlans<VarlenPlanKey> {
 public:
  // One graph for each group of tiles, which share no row; `rows`: of the tensors of rows.
  void run_groups(VarlenPlanKey key, const UploadedTables& tiles, const at::Tensor& q, const Pointers& rows) {
    const c10::cuda::CUDAGuard guard(q.device());
    PartsBeside beside(tiles.groups.size());
    for (std::size_t i = 0; i < tiles.groups.size(); ++i) {
      const auto scope = beside.part(i);
      const UploadedTables::Group& group = tiles.groups[i];
      key.capacity = group.capacity;
      key.longest = group.longest;
      Pointers pointers = rows;
      auto* const table = reinterpret_cast<std::byte*>(tiles.words.data_ptr<std::int64_t>() + group.first_word);
      pointers[internal::kVarlenQLengths] = table + VarlenTables::q_lengths();
      pointers[internal::kVarlenKvLengths] = table + VarlenTables::kv_lengths(group.capacity);
      pointers[internal::kVarlenQOffsets] = table + VarlenTables::q_offsets(group.capacity);
      pointers[internal::kVarlenKvOffsets] = table + VarlenTables::kv_offsets(group.capacity);
      pointers[internal::kVarlenLseOffsets] = table + VarlenTables::lse_offsets(group.capacity);
      run(key, q, std::move(pointers));
    }
  }
};

CudnnVarlenAttention::CudnnVarlenAttention() : impl_(std::make_unique<Impl>()) {}
CudnnVarlenAttention::~CudnnVarlenAttention() = default;

CudnnAttentionResult CudnnVarlenAttention::forward(const at::Tensor& q_in, const at::Tensor& k_in,
                                                   const at::Tensor& v_in, const UploadedTables& tiles, double scale) {
  check_tables(tiles, q_in, k_in, v_in);
  const at::Tensor q = packed(q_in), k = packed(k_in), v = packed(v_in);
  const at::Tensor out = room(tiles.shape, tiles.shape.s_q, tiles.shape.n, tiles.covers_q, q.options());
  const at::Tensor lse = lse_room(tiles.shape, tiles.covers_q, q.options());
  impl_->run_groups(key_of(tiles, q, scale, false), tiles, q,
                    {{internal::kVarlenQ, q.data_ptr()},
                     {internal::kVarlenK, k.data_ptr()},
                     {internal::kVarlenV, v.data_ptr()},
                     {internal::kVarlenOut, out.data_ptr()},
                     {internal::kVarlenLse, lse.data_ptr()}});
  return {out, lse.permute({1, 2, 0}).contiguous()};
}

CudnnAttentionGradient CudnnVarlenAttention::backward(const at::Tensor& q_in, const at::Tensor& k_in,
                                                      const at::Tensor& v_in, const CudnnAttentionOutput& output,
                                                      const UploadedTables& tiles, double scale) {
  check_tables(tiles, q_in, k_in, v_in);
  const VarlenShape& s = tiles.shape;
  RT_CHECK(
      output.out.scalar_type() == q_in.scalar_type() && output.d_out.scalar_type() == q_in.scalar_type() &&
          output.lse.scalar_type() == at::kFloat,
      "attention of documents through cuDNN: expected out and its gradient in {} and lse in Float, got {}, {} and {}",
      c10::toString(q_in.scalar_type()), c10::toString(output.out.scalar_type()),
      c10::toString(output.d_out.scalar_type()), c10::toString(output.lse.scalar_type()));
  RT_CHECK(output.out.sizes() == q_in.sizes() && output.d_out.sizes() == q_in.sizes(),
           "attention of documents through cuDNN: out and its gradient do not have the shape of q");
  RT_CHECK(output.lse.dim() == 3 && output.lse.size(0) == s.samples && output.lse.size(1) == s.n &&
               output.lse.size(2) == s.s_q,
           "attention of documents through cuDNN: lse is not [batch {}, heads {}, queries {}]", s.samples, s.n, s.s_q);
  const at::Tensor q = packed(q_in), k = packed(k_in), v = packed(v_in);
  const at::Tensor out = packed(output.out), d_out = packed(output.d_out),
                   lse = output.lse.permute({2, 0, 1}).contiguous();
  const at::Tensor dq = room(s, s.s_q, s.n, tiles.covers_q, q.options());
  const at::Tensor dk = room(s, s.s_kv, s.g, tiles.covers_kv, q.options());
  const at::Tensor dv = room(s, s.s_kv, s.g, tiles.covers_kv, q.options());
  impl_->run_groups(key_of(tiles, q, scale, true), tiles, q,
                    {{internal::kVarlenQ, q.data_ptr()},
                     {internal::kVarlenK, k.data_ptr()},
                     {internal::kVarlenV, v.data_ptr()},
                     {internal::kVarlenOut, out.data_ptr()},
                     {internal::kVarlenDOut, d_out.data_ptr()},
                     {internal::kVarlenLse, lse.data_ptr()},
                     {internal::kVarlenDq, dq.data_ptr()},
                     {internal::kVarlenDk, dk.data_ptr()},
                     {internal::kVarlenDv, dv.data_ptr()}});
  return {dq, dk, dv};
}

std::size_t CudnnVarlenAttention::plans() const { return impl_->size(); }

}  // namespace ringtron
