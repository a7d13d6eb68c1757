// The CUDA build's half of cudnn_attention.h: graphs, their plans, and running them.
//
// This and the varlen graphs are the only files that include cudnn-frontend. cuDNN names dimensions (batch, heads,
// rows, head size) whatever their order in memory is; HeadStrides carries that order.
#include <ATen/ATen.h>
#include <cudnn_frontend.h>
#include <fmt/format.h>

#include "ringtron/base/check.h"
#include "ringtron/kernels/attention/cudnn_attention.h"
#include "ringtron/kernels/attention/cudnn_plans.h"

namespace ringtron {
namespace {

namespace fe = cudnn_frontend;
using GraphTensor = std::shared_ptr<fe::graph::Tensor_attributes>;

constexpr std::int64_t kLoadBytes = 16;  // the kernels load this much at a time and do not check for it

// Names of a graph's tensors.
enum Uid : std::int64_t { kQ = 1, kK, kV, kOut, kLse, kDOut, kDq, kDk, kDv };

struct BlockShape {
  std::int64_t s_q, s_kv, b, n, g, d;
  auto operator<=>(const BlockShape&) const = default;
};

struct HeadStrides {
  std::int64_t batch, head, row;
  auto operator<=>(const HeadStrides&) const = default;
};

// Everything that a plan depends on.
struct PlanKey {
  bool backward, causal, deterministic;
  at::ScalarType type;  // of all tensors but lse
  double scale;
  BlockShape shape;
  HeadStrides q, k, v;
  HeadStrides out, d_out, dq, dk, dv;  // backward
  auto operator<=>(const PlanKey&) const = default;
};

fe::DataType_t data_type(at::ScalarType type) {
  return type == at::kHalf ? fe::DataType_t::HALF : fe::DataType_t::BFLOAT16;
}

BlockShape shape_of(const at::Tensor& q, const at::Tensor& k) {
  return {q.size(0), k.size(0), q.size(1), q.size(2), k.size(2), q.size(3)};
}

HeadStrides packed(std::int64_t batch, std::int64_t heads, std::int64_t d) { return {heads * d, d, batch * heads * d}; }

// The strides of [s, b, h, d]. A dimension of size 1 may have any stride; it gets the packed one, so that equal layouts
// share a plan.
HeadStrides strides_of(const at::Tensor& x) {
  HeadStrides strides = packed(x.size(1), x.size(2), x.size(3));
  if (x.size(0) > 1) strides.row = x.stride(0);
  if (x.size(1) > 1) strides.batch = x.stride(1);
  if (x.size(2) > 1) strides.head = x.stride(2);
  return strides;
}

bool is_loadable(const at::Tensor& x) {
  bool in_place = x.stride(3) == 1 && reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % kLoadBytes == 0;
  for (std::int64_t dim = 0; dim < 3; ++dim) {
    const std::int64_t bytes = x.stride(dim) * x.element_size();
    in_place = in_place && (x.size(dim) == 1 || (bytes > 0 && bytes % kLoadBytes == 0));
  }
  return in_place;
}

// `x` itself where the kernels can load it in place, else a packed copy.
at::Tensor loadable(const at::Tensor& x) { return is_loadable(x) ? x : x.clone(at::MemoryFormat::Contiguous); }

at::Tensor packed_like(const at::Tensor& x) { return at::empty(x.sizes(), x.options()); }

void check_room(const CudnnAttentionGradient& room, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto fits = [](const at::Tensor& x, const at::Tensor& like) {
    return x.sizes() == like.sizes() && x.scalar_type() == like.scalar_type() && is_loadable(x);
  };
  RT_CHECK(
      fits(room.dq, q) && fits(room.dk, k) && fits(room.dv, v),
      "attention through cuDNN: room for gradients does not have the shapes and type of q, k and v, or is not aligned");
}

std::string describe(const PlanKey& key) {
  const BlockShape& s = key.shape;
  return fmt::format("{} of {} queries and {} keys, batch {}, heads {} and {}, head size {}{}",
                     key.backward ? "backward" : "forward", s.s_q, s.s_kv, s.b, s.n, s.g, s.d,
                     key.causal ? ", causal" : "");
}

// The parts that forward and backward graphs share.
class GraphParts {
 public:
  GraphParts(fe::graph::Graph& graph, const PlanKey& key) : graph_(graph), key_(key) {
    graph_.set_io_data_type(data_type(key.type))
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }

  GraphTensor queries(const char* name, Uid uid, const HeadStrides& strides) {
    return graph_.tensor(rows_of(name, uid, key_.shape.s_q, key_.shape.n, strides));
  }
  GraphTensor keys(const char* name, Uid uid, const HeadStrides& strides) {
    return graph_.tensor(rows_of(name, uid, key_.shape.s_kv, key_.shape.g, strides));
  }
  GraphTensor lse() {
    const BlockShape& s = key_.shape;
    return graph_.tensor(fe::graph::Tensor_attributes()
                             .set_name("lse")
                             .set_uid(kLse)
                             .set_dim({s.b, s.n, s.s_q, 1})
                             .set_stride({s.n * s.s_q, s.s_q, 1, 1})
                             .set_data_type(fe::DataType_t::FLOAT));
  }

  void output(const GraphTensor& tensor, Uid uid, std::int64_t rows, std::int64_t heads, const HeadStrides& strides) {
    const BlockShape& s = key_.shape;
    tensor->set_output(true)
        .set_uid(uid)
        .set_data_type(data_type(key_.type))
        .set_dim({s.b, heads, rows, s.d})
        .set_stride({strides.batch, strides.head, strides.row, 1});
  }

  template <class Attributes>
  void mask(Attributes& attributes) {
    attributes.set_attn_scale(static_cast<float>(key_.scale));
    // Top left with right bound 0 is the form whose masked tiles cuDNN skips.
    if (key_.causal) {
      attributes.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
    }
  }

 private:
  fe::graph::Tensor_attributes rows_of(const char* name, Uid uid, std::int64_t rows, std::int64_t heads,
                                       const HeadStrides& strides) {
    return fe::graph::Tensor_attributes()
        .set_name(name)
        .set_uid(uid)
        .set_dim({key_.shape.b, heads, rows, key_.shape.d})
        .set_stride({strides.batch, strides.head, strides.row, 1});
  }

  fe::graph::Graph& graph_;
  const PlanKey& key_;
};

void describe_forward(fe::graph::Graph& graph, const PlanKey& key) {
  const BlockShape& s = key.shape;
  GraphParts parts(graph, key);
  auto attributes = fe::graph::SDPA_attributes().set_name("attention").set_generate_stats(true);
  parts.mask(attributes);
  auto [out, lse] = graph.sdpa(parts.queries("q", kQ, key.q), parts.keys("k", kK, key.k), parts.keys("v", kV, key.v),
                               std::move(attributes));
  parts.output(out, kOut, s.s_q, s.n, packed(s.b, s.n, s.d));
  lse->set_output(true)
      .set_uid(kLse)
      .set_data_type(fe::DataType_t::FLOAT)
      .set_dim({s.b, s.n, s.s_q, 1})
      .set_stride({s.n * s.s_q, s.s_q, 1, 1});
}

void describe_backward(fe::graph::Graph& graph, const PlanKey& key) {
  const BlockShape& s = key.shape;
  GraphParts parts(graph, key);
  auto attributes = fe::graph::SDPA_backward_attributes().set_name("attention_backward");
  attributes.set_deterministic_algorithm(key.deterministic);
  parts.mask(attributes);
  auto [dq, dk, dv] = graph.sdpa_backward(parts.queries("q", kQ, key.q), parts.keys("k", kK, key.k),
                                          parts.keys("v", kV, key.v), parts.queries("out", kOut, key.out),
                                          parts.queries("d_out", kDOut, key.d_out), parts.lse(), std::move(attributes));
  parts.output(dq, kDq, s.s_q, s.n, key.dq);
  parts.output(dk, kDk, s.s_kv, s.g, key.dk);
  parts.output(dv, kDv, s.s_kv, s.g, key.dv);
}

void describe_graph(fe::graph::Graph& graph, const PlanKey& key) {
  if (key.backward) {
    describe_backward(graph, key);
  } else {
    describe_forward(graph, key);
  }
}

}  // namespace

class CudnnAttention::Impl : public internal::CudnnPlans<PlanKey> {};

CudnnAttention::CudnnAttention() : impl_(std::make_unique<Impl>()) {}
CudnnAttention::~CudnnAttention() = default;

CudnnAttentionResult CudnnAttention::forward(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                                             const CudnnAttentionOptions& options) {
  std::string reason;
  RT_CHECK(cudnn_attention_supports(q_in, k_in, v_in, options.causal, &reason), "attention through cuDNN: {}", reason);
  const at::Tensor q = loadable(q_in), k = loadable(k_in), v = loadable(v_in);
  const PlanKey key{.backward = false,
                    .causal = options.causal,
                    .deterministic = false,
                    .type = q.scalar_type(),
                    .scale = options.scale,
                    .shape = shape_of(q, k),
                    .q = strides_of(q),
                    .k = strides_of(k),
                    .v = strides_of(v),
                    .out = {},
                    .d_out = {},
                    .dq = {},
                    .dk = {},
                    .dv = {}};
  const BlockShape& s = key.shape;
  CudnnAttentionResult result{at::empty({s.s_q, s.b, s.n, s.d}, q.options()),
                              at::empty({s.b, s.n, s.s_q}, q.options().dtype(at::kFloat))};
  impl_->run(key, q,
             {{kQ, q.data_ptr()},
              {kK, k.data_ptr()},
              {kV, v.data_ptr()},
              {kOut, result.out.data_ptr()},
              {kLse, result.lse.data_ptr()}});
  return result;
}

CudnnAttentionGradient CudnnAttention::backward(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                                                const CudnnAttentionOutput& output,
                                                const CudnnAttentionOptions& options, CudnnAttentionGradient room) {
  std::string reason;
  RT_CHECK(cudnn_attention_supports(q_in, k_in, v_in, options.causal, &reason), "attention through cuDNN: {}", reason);
  RT_CHECK(output.out.scalar_type() == q_in.scalar_type() && output.d_out.scalar_type() == q_in.scalar_type() &&
               output.lse.scalar_type() == at::kFloat,
           "attention through cuDNN: expected out and its gradient in {} and lse in Float, got {}, {} and {}",
           c10::toString(q_in.scalar_type()), c10::toString(output.out.scalar_type()),
           c10::toString(output.d_out.scalar_type()), c10::toString(output.lse.scalar_type()));
  RT_CHECK(output.out.sizes() == q_in.sizes() && output.d_out.sizes() == q_in.sizes(),
           "attention through cuDNN: out and its gradient do not have the shape of q");
  const at::Tensor q = loadable(q_in), k = loadable(k_in), v = loadable(v_in);
  const at::Tensor out = loadable(output.out), d_out = loadable(output.d_out), lse = output.lse.contiguous();
  if (!room.dq.defined()) room = {packed_like(q), packed_like(k), packed_like(v)};
  check_room(room, q, k, v);
  const PlanKey key{.backward = true,
                    .causal = options.causal,
                    .deterministic = options.deterministic,
                    .type = q.scalar_type(),
                    .scale = options.scale,
                    .shape = shape_of(q, k),
                    .q = strides_of(q),
                    .k = strides_of(k),
                    .v = strides_of(v),
                    .out = strides_of(out),
                    .d_out = strides_of(d_out),
                    .dq = strides_of(room.dq),
                    .dk = strides_of(room.dk),
                    .dv = strides_of(room.dv)};
  const BlockShape& s = key.shape;
  RT_CHECK(lse.dim() == 3 && lse.size(0) == s.b && lse.size(1) == s.n && lse.size(2) == s.s_q,
           "attention through cuDNN: lse is not [batch {}, heads {}, queries {}]", s.b, s.n, s.s_q);
  impl_->run(key, q,
             {{kQ, q.data_ptr()},
              {kK, k.data_ptr()},
              {kV, v.data_ptr()},
              {kOut, out.data_ptr()},
              {kDOut, d_out.data_ptr()},
              {kLse, lse.data_ptr()},
              {kDq, room.dq.data_ptr()},
              {kDk, room.dk.data_ptr()},
              {kDv, room.dv.data_ptr()}});
  return room;
}

std::size_t CudnnAttention::plans() const { return impl_->size(); }

}  // namespace ringtron
