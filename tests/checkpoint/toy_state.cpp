#include "tests/checkpoint/toy_state.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <nlohmann/json.hpp>

#include "ringtron/base/random.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/lineage.h"

namespace ringtron::testing {
namespace {

ToyTensor make(std::uint64_t seed, std::uint64_t index, std::string name, DType dtype, Shape shape, Cut cut) {
  ToyTensor tensor{std::move(name), dtype, std::move(shape), cut, {}};
  tensor.bytes.resize(static_cast<std::size_t>(*element_count(tensor.shape)) * size_of(dtype));
  for (std::size_t i = 0; i < tensor.bytes.size(); ++i) {
    tensor.bytes[i] = static_cast<std::byte>(random_word(seed, index, i));
  }
  return tensor;
}

// What owner `owner` of `owners` has of a slab; false: nothing. The first owner has a small share.
bool keep_range(TensorSlice& slice, int owner, int owners) {
  if (owners == 1) return true;
  const std::int64_t elements = slab_elements(slice.global_shape, slice.slab);
  if (elements == 0) return owner == 0;
  const std::int64_t first = (elements + 6) / 7;
  const auto end_of = [&](int i) { return i == 0 ? first : std::max(first, elements * (i + 1) / owners); };
  const SlabRange range{owner == 0 ? 0 : end_of(owner - 1), end_of(owner)};
  if (range.size() <= 0) return false;
  const std::size_t size = size_of(slice.dtype);
  slice.bytes =
      slice.bytes.subspan(static_cast<std::size_t>(range.begin) * size, static_cast<std::size_t>(range.size()) * size);
  if (range.size() < elements) slice.range = range;
  return true;
}

}  // namespace

std::vector<ToyTensor> toy_state(std::uint64_t seed) {
  struct Row {
    const char* name;
    Shape shape;
    Cut cut;
  };
  const Row rows[] = {
      {"embedding.word_embeddings.weight", {24, 6}, Cut::column},
      {"decoder.layers.0.self_attention.linear_proj.weight", {6, 16}, Cut::row},
      {"decoder.layers.0.mlp.linear_fc1.weight", {32, 6}, Cut::gated},
      {"decoder.layers.0.mlp.linear_fc1.bias", {32}, Cut::gated},
      {"decoder.layers.0.mlp.conv.weight", {3, 8, 5}, Cut::row},
      {"decoder.final_layernorm.weight", {7}, Cut::replicated},
      {"decoder.empty", {0, 4}, Cut::replicated},
  };
  std::vector<ToyTensor> state;
  for (const Row& row : rows) {
    const std::string name = row.name;
    state.push_back(make(seed, state.size(), "model." + name, DType::bf16, row.shape, row.cut));
    state.push_back(make(seed, state.size(), "optimizer.main." + name, DType::f32, row.shape, row.cut));
    state.push_back(make(seed, state.size(), "optimizer.exp_avg." + name, DType::f64, row.shape, row.cut));
  }
  state.push_back(make(seed, state.size(), "optimizer.step", DType::i64, {}, Cut::replicated));
  return state;
}

std::vector<Slab> slabs_of(const ToyTensor& tensor, int rank, int tp) {
  if (tensor.cut == Cut::replicated) return {whole_slab(tensor.shape)};
  const int dim = tensor.cut == Cut::row ? 1 : 0;
  if (tensor.cut != Cut::gated) {
    const std::int64_t rows = tensor.shape[static_cast<std::size_t>(dim)] / tp;
    return {{dim, rank * rows, rows}};
  }
  const std::int64_t half = tensor.shape[0] / 2, rows = half / tp;
  return {{0, rank * rows, rows}, {0, half + rank * rows, rows}};
}

std::vector<std::byte> slab_bytes(const ToyTensor& tensor, const Slab& slab) {
  const std::size_t size = size_of(tensor.dtype);
  std::int64_t inner = 1;
  for (std::size_t d = static_cast<std::size_t>(slab.dim) + 1; d < tensor.shape.size(); ++d) inner *= tensor.shape[d];
  const std::int64_t rows = rows_along(tensor.shape, slab.dim);
  std::vector<std::byte> out;
  for (std::int64_t element = 0; element < *element_count(tensor.shape); ++element) {
    const std::int64_t row = element / inner % rows;
    if (row < slab.offset || row >= slab.offset + slab.length) continue;
    const auto at = tensor.bytes.begin() + element * static_cast<std::int64_t>(size);
    out.insert(out.end(), at, at + static_cast<std::int64_t>(size));
  }
  return out;
}

void save_state(FileSystem& files, const std::filesystem::path& save_folder, std::int64_t iteration,
                const std::vector<ToyTensor>& state, int tp, int owners, Beside beside) {
  const SaveLease lease(save_folder);
  CheckpointWriter writer(files, save_folder, iteration);
  writer.prepare(lease);
  const auto write = [&](int shard) {
    const int rank = shard / owners, owner = shard % owners;
    std::vector<std::vector<std::byte>> owned;
    std::vector<TensorSlice> slices;
    for (const ToyTensor& tensor : state) {
      if (tensor.cut == Cut::replicated && rank != 0) continue;
      for (const Slab& slab : slabs_of(tensor, rank, tp)) {
        owned.push_back(slab_bytes(tensor, slab));
        slices.push_back({tensor.name, tensor.dtype, tensor.shape, slab, owned.back()});
        if (!keep_range(slices.back(), owner, owners)) slices.pop_back();
      }
    }
    return writer.write_shard(shard, slices);
  };
  std::vector<std::string> parts;
  std::vector<std::future<std::string>> shards;
  for (int shard = 0; shard < tp * owners; ++shard)
    shards.push_back(std::async(beside == Beside::threads ? std::launch::async : std::launch::deferred, write, shard));
  try {
    for (auto& shard : shards) parts.push_back(shard.get());
  } catch (...) {
    for (auto& shard : shards) {
      if (beside == Beside::threads && shard.valid()) shard.wait();
    }
    writer.abandon();
    throw;
  }
  parts.push_back("");  // a rank that owns nothing
  const Lineage lineage{.run = "0123456789abcdef", .save = next_save_number(save_folder), .ancestors = {}};
  writer.publish(
      parts, {{"consumed_samples", iteration * 8}, {"layout", {{"tp", tp}}}, {"lineage", lineage_to_json(lineage)}});
}

bool loads_equal(CheckpointReader& reader, const std::vector<ToyTensor>& state, int rank, int tp) {
  for (const ToyTensor& tensor : state) {
    for (const Slab& slab : slabs_of(tensor, rank, tp)) {
      const auto expected = slab_bytes(tensor, slab);
      std::vector<std::byte> got(expected.size(), std::byte{0x5a});
      reader.read_slice(tensor.name, slab, got);
      if (got != expected) return false;
    }
  }
  return true;
}

}  // namespace ringtron::testing
