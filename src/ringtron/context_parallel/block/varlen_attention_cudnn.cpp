// Batches of tiles by cuDNN's varlen graphs. What layers share, the tables of a batch, is kept as long as the batch.
#include <ATen/ATen.h>

#include <map>
#include <mutex>
#include <tuple>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block/block_attention.h"
#include "ringtron/context_parallel/block/varlen_attention.h"
#include "ringtron/kernels/attention/cudnn_varlen_attention.h"

namespace ringtron {
namespace {

// A batch's tiles, those of every sample once for each.
std::vector<SampleTile> sample_tiles(const VarlenBatch& batch, std::int64_t samples) {
  std::vector<SampleTile> tiles;
  for (const VarlenTile& tile : batch.tiles) {
    const bool every = tile.sample == kAllSamples;
    for (std::int64_t sample = every ? 0 : tile.sample; sample < (every ? samples : tile.sample + 1); ++sample) {
      tiles.push_back({sample, tile.q.begin, tile.q.length(), tile.kv.begin, tile.kv.length()});
    }
  }
  return tiles;
}

class CudnnVarlenBlockAttention final : public VarlenAttention {
 public:
  explicit CudnnVarlenBlockAttention(bool deterministic) : deterministic_(deterministic) {}

  bool supports(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, Pass pass) const override {
    if (deterministic_ && pass == Pass::backward) return false;
    return cudnn_varlen_attention_supports(q, k, v);
  }

  BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const std::shared_ptr<const VarlenBatch>& batch, double scale) const override {
    const std::lock_guard lock(mutex_);
    CudnnAttentionResult result = cudnn_.forward(q, k, v, tables_of(batch, q, k), scale);
    return {std::move(result.out), std::move(result.lse)};
  }

  BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OutputGradient& output,
                         const std::shared_ptr<const VarlenBatch>& batch, double scale) const override {
    // cuDNN computes delta itself, from d_out and out in the type of q.
    const at::ScalarType type = q.scalar_type();
    const CudnnAttentionOutput merged{output.d_out.to(type), output.out.to(type), output.lse};
    const std::lock_guard lock(mutex_);
    CudnnAttentionGradient gradient = cudnn_.backward(q, k, v, merged, tables_of(batch, q, k), scale);
    return {std::move(gradient.dq), std::move(gradient.dk), std::move(gradient.dv)};
  }

 private:
  // Parts of the heads, under an all-to-all, may differ in number; then each number has tables of its own.
  using Key = std::tuple<const VarlenBatch*, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
  struct Kept {
    std::weak_ptr<const VarlenBatch> batch;
    UploadedTables tables;
  };

  const UploadedTables& tables_of(const std::shared_ptr<const VarlenBatch>& batch, const at::Tensor& q,
                                  const at::Tensor& k) const {
    const Key key{batch.get(), q.size(1), q.size(2), k.size(2), q.size(3)};
    const auto found = kept_.find(key);
    // An address may be that of a batch that is gone.
    if (found != kept_.end() && found->second.batch.lock() == batch) return found->second.tables;
    std::erase_if(kept_, [](const auto& entry) { return entry.second.batch.expired(); });
    return kept_
        .insert_or_assign(key, Kept{batch, upload_varlen_tables(sample_tiles(*batch, q.size(1)), batch->causal, q, k)})
        .first->second.tables;
  }

  bool deterministic_;
  // The backward runs on autograd's thread. What is kept changes speed, not results.
  mutable std::mutex mutex_;
  mutable CudnnVarlenAttention cudnn_;
  mutable std::map<Key, Kept> kept_;
};

}  // namespace

std::unique_ptr<VarlenAttention> make_cudnn_varlen_attention(bool deterministic) {
  return std::make_unique<CudnnVarlenBlockAttention>(deterministic);
}

}  // namespace ringtron
