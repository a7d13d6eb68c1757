#include "ringtron/kernels/attention/cudnn_varlen_graph.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

namespace ringtron::internal {
namespace {

namespace fe = cudnn_frontend;
using GraphTensor = std::shared_ptr<fe::graph::Tensor_attributes>;

// The parts that forward and backward graphs share. cuDNN calls a tile a batch entry and `longest` its rows; where its
// rows really begin and end it reads from the tables.
class VarlenParts {
 public:
  VarlenParts(fe::graph::Graph& graph, const VarlenPlanKey& key)
      : graph_(graph), key_(key), io_(key.half ? fe::DataType_t::HALF : fe::DataType_t::BFLOAT16) {
    graph_.set_io_data_type(io_)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    q_offsets_ = table("q_offsets", kVarlenQOffsets, key.capacity + 1, fe::DataType_t::INT64);
    kv_offsets_ = table("kv_offsets", kVarlenKvOffsets, key.capacity + 1, fe::DataType_t::INT64);
    lse_offsets_ = table("lse_offsets", kVarlenLseOffsets, key.capacity + 1, fe::DataType_t::INT64);
  }

  GraphTensor queries(const char* name, VarlenUid uid) { return graph_.tensor(input(name, uid, key_.n, q_offsets_)); }
  GraphTensor keys(const char* name, VarlenUid uid) { return graph_.tensor(input(name, uid, key_.g, kv_offsets_)); }
  GraphTensor lse() {
    auto attributes = fe::graph::Tensor_attributes().set_name("lse");
    describe_lse(attributes);
    return graph_.tensor(attributes);
  }

  void query_output(const GraphTensor& tensor, VarlenUid uid) { output(tensor, uid, key_.n, q_offsets_); }
  void key_output(const GraphTensor& tensor, VarlenUid uid) { output(tensor, uid, key_.g, kv_offsets_); }
  void lse_output(const GraphTensor& tensor) {
    tensor->set_output(true);
    describe_lse(*tensor);
  }

  template <class Attributes>
  void tiles(Attributes& attributes) {
    attributes.set_attn_scale(static_cast<float>(key_.scale))
        .set_padding_mask(true)
        .set_seq_len_q(table("q_lengths", kVarlenQLengths, key_.capacity, fe::DataType_t::INT32))
        .set_seq_len_kv(table("kv_lengths", kVarlenKvLengths, key_.capacity, fe::DataType_t::INT32));
    // Top left with right bound 0 is the form whose masked blocks cuDNN skips.
    if (key_.causal) {
      attributes.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
    }
  }

 private:
  GraphTensor table(const char* name, VarlenUid uid, std::int64_t entries, fe::DataType_t type) {
    return graph_.tensor(fe::graph::Tensor_attributes()
                             .set_name(name)
                             .set_uid(uid)
                             .set_dim({entries, 1, 1, 1})
                             .set_stride({1, 1, 1, 1})
                             .set_data_type(type));
  }

  void describe_rows(fe::graph::Tensor_attributes& attributes, VarlenUid uid, std::int64_t heads,
                     const GraphTensor& offsets) const {
    const std::int64_t row = key_.row_step * heads * key_.d;
    attributes.set_uid(uid)
        .set_dim({key_.capacity, heads, key_.longest, key_.d})
        .set_stride({key_.longest * row, key_.d, row, 1})
        .set_data_type(io_)
        .set_ragged_offset(offsets);
  }

  void describe_lse(fe::graph::Tensor_attributes& attributes) const {
    const std::int64_t row = key_.row_step * key_.n;
    attributes.set_uid(kVarlenLse)
        .set_dim({key_.capacity, key_.n, key_.longest, 1})
        .set_stride({key_.longest * row, 1, row, 1})
        .set_data_type(fe::DataType_t::FLOAT)
        .set_ragged_offset(lse_offsets_);
  }

  fe::graph::Tensor_attributes input(const char* name, VarlenUid uid, std::int64_t heads,
                                     const GraphTensor& offsets) const {
    auto attributes = fe::graph::Tensor_attributes().set_name(name);
    describe_rows(attributes, uid, heads, offsets);
    return attributes;
  }

  void output(const GraphTensor& tensor, VarlenUid uid, std::int64_t heads, const GraphTensor& offsets) const {
    tensor->set_output(true);
    describe_rows(*tensor, uid, heads, offsets);
  }

  fe::graph::Graph& graph_;
  const VarlenPlanKey& key_;
  fe::DataType_t io_;
  GraphTensor q_offsets_, kv_offsets_, lse_offsets_;
};

void describe_forward(fe::graph::Graph& graph, const VarlenPlanKey& key) {
  VarlenParts parts(graph, key);
  auto attributes = fe::graph::SDPA_attributes().set_name("attention").set_generate_stats(true);
  parts.tiles(attributes);
  auto [out, lse] = graph.sdpa(parts.queries("q", kVarlenQ), parts.keys("k", kVarlenK), parts.keys("v", kVarlenV),
                               std::move(attributes));
  parts.query_output(out, kVarlenOut);
  parts.lse_output(lse);
}

void describe_backward(fe::graph::Graph& graph, const VarlenPlanKey& key) {
  VarlenParts parts(graph, key);
  auto attributes = fe::graph::SDPA_backward_attributes().set_name("attention_backward");
  parts.tiles(attributes);
  // Without these cuDNN wants workspace for capacity * longest rows.
  attributes.set_max_total_seq_len_q(key.q_rows).set_max_total_seq_len_kv(key.kv_rows);
  auto [dq, dk, dv] = graph.sdpa_backward(parts.queries("q", kVarlenQ), parts.keys("k", kVarlenK),
                                          parts.keys("v", kVarlenV), parts.queries("out", kVarlenOut),
                                          parts.queries("d_out", kVarlenDOut), parts.lse(), std::move(attributes));
  parts.query_output(dq, kVarlenDq);
  parts.key_output(dk, kVarlenDk);
  parts.key_output(dv, kVarlenDv);
}

}  // namespace

std::string describe(const VarlenPlanKey& key) {
  return fmt::format("{} of documents, up to {} {}tiles of up to {} rows, heads {} and {}, head size {}, {}",
                     key.backward ? "backward" : "forward", key.capacity, key.causal ? "causal " : "", key.longest,
                     key.n, key.g, key.d, key.half ? "fp16" : "bf16");
}

void describe_graph(fe::graph::Graph& graph, const VarlenPlanKey& key) {
  if (key.backward) {
    describe_backward(graph, key);
  } else {
    describe_forward(graph, key);
  }
}

}  // namespace ringtron::internal
