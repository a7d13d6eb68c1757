// Folders of Hugging Face to checkpoints and back: the same bits.
#include "ringtron/hugging_face/convert.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_reader.h"
#include "ringtron/hugging_face/hf_folder.h"
#include "tests/hugging_face/small_models.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::small_model;
using testing::TempDir;

const ConvertProgress kSilent = [](std::uint64_t, std::uint64_t) {};
constexpr std::uint64_t kOneFile = std::uint64_t{1} << 40;

// All tensors of all safetensors of a folder: name to type, shape and bytes.
std::map<std::string, std::string> tensors_of(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& file : fs::directory_iterator(folder)) {
    if (file.path().extension() != ".safetensors") continue;
    const MappedFile mapped(file.path());
    const SafetensorsLayout layout = parse_safetensors(mapped.bytes(), file.path());
    for (const auto& [name, entry] : layout.entries) {
      const auto bytes = mapped.bytes().subspan(layout.data_begin + entry.begin, entry.end - entry.begin);
      out[name] = std::string(name_of(entry.dtype)) + to_string(entry.shape) +
                  std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
  }
  return out;
}

TEST(Convert, ThereAndBackIsTheSame) {
  for (const char* name : testing::kSmallModels) {
    for (const std::uint64_t shard_bytes : {kOneFile, std::uint64_t{8000}}) {
      SCOPED_TRACE(name);
      const TempDir dir;
      const ConvertSummary in = import_hf(small_model(name), dir / "checkpoints", kSilent);
      EXPECT_EQ(in.layers, 2);
      EXPECT_EQ(checkpoint_problem(in.folder), std::nullopt);
      CheckpointReader(in.folder).verify();
      const ConvertSummary out = export_hf(dir / "checkpoints", 0, dir / "hf", shard_bytes, kSilent);
      EXPECT_EQ(out.model_type, in.model_type);
      EXPECT_EQ(out.bytes, in.bytes);
      EXPECT_EQ(out.parameters, in.parameters);
      EXPECT_EQ(tensors_of(dir / "hf"), tensors_of(small_model(name)));
      EXPECT_EQ(fs::exists(dir / "hf/model.safetensors.index.json"), shard_bytes != kOneFile);
      EXPECT_EQ(stored_json_of(HfFolder(dir / "hf").model()), stored_json_of(HfFolder(small_model(name)).model()));
    }
  }
}

TEST(Convert, TellsHowFarItIs) {
  const TempDir dir;
  std::uint64_t last = 0, calls = 0, all = 0;
  const ConvertProgress progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GT(done, last);
    last = done;
    all = total;
    ++calls;
  };
  const ConvertSummary in = import_hf(small_model("llama3"), dir / "a", progress);
  EXPECT_EQ(last, all);
  EXPECT_EQ(last, in.bytes);
  EXPECT_GE(calls, static_cast<std::uint64_t>(in.tensors));
}

TEST(Convert, NothingIsLeftOfOneThatFails) {
  const TempDir dir;
  const ConvertProgress stop = [](std::uint64_t done, std::uint64_t total) {
    if (done > total / 2) throw IoError("stopped");
  };
  EXPECT_THROW(import_hf(small_model("qwen3"), dir / "a", stop), IoError);
  EXPECT_TRUE(list_iterations(dir / "a").empty());
  import_hf(small_model("qwen3"), dir / "a", kSilent);
  EXPECT_THROW(export_hf(dir / "a", 0, dir / "b", kOneFile, stop), IoError);
  EXPECT_FALSE(fs::exists(dir / "b/config.json"));
}

TEST(Convert, Refuses) {
  const TempDir dir;
  import_hf(small_model("qwen3"), dir / "a", kSilent);
  EXPECT_THAT([&] { import_hf(small_model("qwen3"), dir / "a", kSilent); },
              ::testing::ThrowsMessage<ConfigError>(HasSubstr("holds checkpoints already")));
  EXPECT_THAT([&] { export_hf(dir / "a", 0, dir.path(), kOneFile, kSilent); },
              ::testing::ThrowsMessage<ConfigError>(HasSubstr("expected a folder that is absent or empty")));
  EXPECT_THROW(export_hf(dir / "none", 0, dir / "b", kOneFile, kSilent), IoError);
  EXPECT_THAT([&] { export_hf(small_model("qwen3"), 0, dir / "b", kOneFile, kSilent); },
              ::testing::ThrowsMessage<IoError>(HasSubstr("Hugging Face")));
  EXPECT_THROW(export_hf(dir / "a", 7, dir / "b", kOneFile, kSilent), ConfigError);
}

}  // namespace
}  // namespace ringtron
