// Tensors of a Hugging Face folder as ours, in slabs, and folders that do not fit together.
#include "ringtron/hugging_face/hf_folder.h"

#include <gmock/gmock.h>

#include <cstring>

#include "ringtron/base/error.h"
#include "tests/hugging_face/small_models.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;
using testing::ChangedModel;
using ::testing::HasSubstr;
using testing::small_model;
using Json = nlohmann::json;

std::vector<float> read(const HfFolder& folder, const HfMapping& tensor, const Slab& slab) {
  std::vector<float> out(static_cast<std::size_t>(slab_elements(tensor.shape, slab)));
  folder.read_slice(tensor, slab, std::as_writable_bytes(std::span(out)));
  return out;
}

std::vector<float> read_whole(const HfFolder& folder, const std::string& name) {
  return read(folder, *folder.find(name), whole_slab(folder.find(name)->shape));
}

// A tensor of theirs, by the bytes of its file.
std::vector<float> theirs(const fs::path& folder, const std::string& name) {
  const MappedFile file(folder / "model.safetensors");
  const SafetensorsLayout layout = parse_safetensors(file.bytes(), folder);
  const SafetensorsEntry& entry = layout.entries.at(name);
  std::vector<float> out((entry.end - entry.begin) / sizeof(float));
  std::memcpy(out.data(), file.bytes().data() + layout.data_begin + entry.begin, entry.end - entry.begin);
  return out;
}

TEST(HfFolder, QkvRowsGoByGroup) {
  const fs::path path = small_model("qwen3");  // 4 heads in 2 groups, 8 channels each, hidden size 16
  const HfFolder folder(path);
  const std::vector<float> ours = read_whole(folder, "decoder.layers.1.self_attention.linear_qkv.weight");
  const std::string attention = "model.layers.1.self_attn.";
  const auto q = theirs(path, attention + "q_proj.weight"), k = theirs(path, attention + "k_proj.weight"),
             v = theirs(path, attention + "v_proj.weight");
  ASSERT_EQ(ours.size(), q.size() + k.size() + v.size());
  const auto same = [&](std::int64_t our_row, const std::vector<float>& from, std::int64_t row, std::int64_t rows) {
    return std::equal(from.begin() + row * 16, from.begin() + (row + rows) * 16, ours.begin() + our_row * 16);
  };
  EXPECT_TRUE(same(0, q, 0, 16) && same(16, k, 0, 8) && same(24, v, 0, 8));
  EXPECT_TRUE(same(32, q, 16, 16) && same(48, k, 8, 8) && same(56, v, 8, 8));
  EXPECT_FALSE(same(0, q, 16, 16));  // negative control
}

TEST(HfFolder, Gpt2MatricesAreTransposed) {
  const fs::path path = small_model("gpt2");
  const HfFolder folder(path);
  const auto ours = read_whole(folder, "decoder.layers.0.mlp.linear_fc1.weight");  // [64, 16]
  const auto fc = theirs(path, "transformer.h.0.mlp.c_fc.weight");                 // [16, 64]
  const auto qkv = read_whole(folder, "decoder.layers.0.self_attention.linear_qkv.weight");
  const auto attn = theirs(path, "transformer.h.0.attn.c_attn.weight");  // [16, 48]: queries, keys, values
  for (std::size_t row = 0; row < 64; ++row) {
    for (std::size_t column = 0; column < 16; ++column) ASSERT_EQ(ours[row * 16 + column], fc[column * 64 + row]);
  }
  for (std::size_t head = 0; head < 4; ++head) {  // of 4 channels: a query's, a key's, a value's rows
    for (std::size_t kind = 0; kind < 3; ++kind) {
      for (std::size_t channel = 0; channel < 4; ++channel) {
        for (std::size_t column = 0; column < 16; ++column) {
          ASSERT_EQ(qkv[((head * 3 + kind) * 4 + channel) * 16 + column],
                    attn[column * 48 + kind * 16 + head * 4 + channel]);
        }
      }
    }
  }
}

// Every slab of every tensor is that part of the whole.
TEST(HfFolder, Slabs) {
  for (const char* name : testing::kSmallModels) {
    const HfFolder folder(small_model(name));
    for (const HfMapping& tensor : folder.tensors()) {
      const std::vector<float> whole = read(folder, tensor, whole_slab(tensor.shape));
      const std::int64_t columns = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
      for (std::int64_t row = 0; row + 3 <= tensor.shape[0]; row += 5) {
        const std::vector<float> part = read(folder, tensor, {0, row, 3});
        ASSERT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + row * columns)) << name << " " << tensor.name;
      }
      if (columns < 8) continue;
      const std::vector<float> part = read(folder, tensor, {1, 3, 5});
      for (std::int64_t row = 0; row < tensor.shape[0]; ++row) {
        ASSERT_TRUE(std::equal(part.begin() + row * 5, part.begin() + (row + 1) * 5, whole.begin() + row * columns + 3))
            << name << " " << tensor.name;
      }
    }
  }
}

TEST(HfFolder, IsRecognised) {
  EXPECT_TRUE(is_hf_folder(small_model("llama3")));
  EXPECT_FALSE(is_hf_folder(small_model("")));
  EXPECT_FALSE(is_hf_folder("/nowhere"));
}

TEST(HfFolder, NamesWithoutPrefix) {  // as the hub's gpt2 has them, with the masks of older versions
  const ChangedModel model("gpt2");
  std::string bytes = read_file(model.folder() / "model.safetensors");
  const std::size_t length = parse_safetensors(std::as_bytes(std::span(bytes)), "").data_begin;
  Json header = Json::parse(bytes.substr(8, length - 8));
  Json renamed = Json::object();
  for (const auto& [name, value] : header.items())
    renamed[name.starts_with("transformer.") ? name.substr(12) : name] = value;
  std::string text = renamed.dump();
  text.resize(length - 8, ' ');
  write_file_atomically(model.folder() / "model.safetensors", bytes.substr(0, 8) + text + bytes.substr(length));
  EXPECT_EQ(read_whole(HfFolder(model.folder()), "decoder.final_layernorm.bias"),
            read_whole(HfFolder(small_model("gpt2")), "decoder.final_layernorm.bias"));
}

void expect_refused(const fs::path& folder, const std::string& message) {
  EXPECT_THAT([&] { HfFolder{folder}; }, ::testing::ThrowsMessage<IoError>(HasSubstr(message)));
}

TEST(HfFolder, MissingShard) {
  const ChangedModel model("llama3");
  fs::remove(model.folder() / "model-00002-of-00003.safetensors");
  expect_refused(model.folder(),
                 "model-00002-of-00003.safetensors is missing: model.safetensors.index.json says that it holds");
}

TEST(HfFolder, MissingTensorAndOneTooMany) {
  const ChangedModel model("llama3", [](Json& config) { config["num_hidden_layers"] = 3; });
  expect_refused(model.folder(), "model.layers.2.input_layernorm.weight is missing");
  const ChangedModel many("llama3", [](Json& config) { config["num_hidden_layers"] = 16384; });
  expect_refused(many.folder(), "model.layers.16383.input_layernorm.weight is missing");
  const ChangedModel fewer("llama3", [](Json& config) { config["num_hidden_layers"] = 1; });
  expect_refused(fewer.folder(), "model.layers.1.input_layernorm.weight [16] has no place in this model");
}

TEST(HfFolder, OtherShapes) {
  const ChangedModel model("llama3", [](Json& config) { config["intermediate_size"] = 32; });
  expect_refused(model.folder(),
                 "model.layers.0.mlp.down_proj.weight has shape [16, 24], by config.json it has [16, 32]");
}

TEST(HfFolder, OtherTypes) {
  const ChangedModel model("gpt2");
  std::string bytes = read_file(model.folder() / "model.safetensors");
  const std::string spoiled = bytes;
  for (std::size_t at = bytes.find("\"F32\""); at != std::string::npos; at = bytes.find("\"F32\""))
    bytes.replace(at, 5, "\"I32\"");
  write_file_atomically(model.folder() / "model.safetensors", bytes);
  expect_refused(model.folder(), "is of type I32, expected BF16, F16, F32 or F64");
  bytes = spoiled;
  bytes.replace(bytes.find("\"F32\""), 5, "\"F99\"");
  write_file_atomically(model.folder() / "model.safetensors", bytes);
  expect_refused(model.folder(), "unknown dtype");
  write_file_atomically(model.folder() / "model.safetensors", spoiled.substr(0, spoiled.size() - 4));
  expect_refused(model.folder(), "model.safetensors is not an intact safetensors file");
}

TEST(HfFolder, WeightsInAnotherForm) {
  const ChangedModel model("gpt2");
  fs::rename(model.folder() / "model.safetensors", model.folder() / "pytorch_model.bin");
  EXPECT_FALSE(is_hf_folder(model.folder()));
  expect_refused(model.folder(),
                 "has no safetensors. Weights in another form are written as safetensors by save_pretrained");
}

TEST(HfFolder, IndexThatLeavesTheFolder) {
  const ChangedModel model("llama3");
  write_file_atomically(model.folder() / "model.safetensors.index.json",
                        R"({"weight_map": {"a": "../b.safetensors"}})");
  expect_refused(model.folder(), "weight_map.a: expected the name of a file, got \"../b.safetensors\"");
}

}  // namespace
}  // namespace ringtron
