#include "ringtron/checkpoint/manifest.h"

#include <gtest/gtest.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

Manifest sample() {
  Manifest manifest;
  manifest.iteration = 2000;
  manifest.metadata = {{"consumed_samples", 16000}, {"lr", 0.1}};
  manifest.files["shard_00000.safetensors"] = {400, 0x0123456789abcdef};
  manifest.files["shard_00001.safetensors"] = {300, 7};
  manifest.tensors["w"] = {
      DType::f32,
      {8, 2},
      0,
      {{"shard_00000.safetensors", "w#0", 0, 5, 1}, {"shard_00001.safetensors", "w#1", 5, 3, 2}}};
  manifest.tensors["step"] = {DType::i64, {}, 0, {{"shard_00000.safetensors", "step", 0, 1, 3}}};
  return manifest;
}

TEST(Manifest, TextAndBackIsTheSame) {
  const std::string text = manifest_to_text(sample());
  EXPECT_EQ(manifest_to_text(manifest_from_text(text, "m")), text);
  EXPECT_TRUE(nlohmann::json::accept(text));
  EXPECT_EQ(nlohmann::json::parse(text).at("tensors").at("w").at("pieces").size(), 2u);
}

TEST(Manifest, EveryChangedByteIsNoticed) {
  const std::string text = manifest_to_text(sample());
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = text;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      EXPECT_THROW(manifest_from_text(changed, "m"), IoError) << "byte " << i << " bit " << bit;
    }
    EXPECT_THROW(manifest_from_text(text.substr(0, i), "m"), IoError) << "cut at " << i;
  }
}

TEST(Manifest, FindsGapsOverlapsAndStrangers) {
  EXPECT_FALSE(manifest_problem(sample()));
  const auto problem_after = [](auto change) {
    Manifest manifest = sample();
    change(manifest);
    return manifest_problem(manifest).value_or("");
  };
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].pieces[1].offset = 6; }).find("outside"),
            std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].pieces[0].length = 4; }).find("gap"),
            std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].pieces[0].length = 6; }).find("overlap"),
            std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].pieces.pop_back(); }).find("expected 8"),
            std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].pieces.clear(); }).find("no pieces"),
            std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].dim = 2; }).find("dim 2"), std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.files.erase("shard_00001.safetensors"); }).find("not listed"),
            std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.files["../x"] = {}; }).find("../x"), std::string::npos);
}

TEST(Manifest, PartsMustAgree) {
  const ManifestPart part{"shard_00002.safetensors", {10, 1}, {{"w", {DType::f32, {8, 2}, 0, {}}}}};
  ManifestPart other_shape = part, other_dim = part, same_file = part;
  other_shape.tensors["w"].shape = {8, 3};
  other_dim.tensors["w"].dim = 1;
  same_file.file = "shard_00001.safetensors";
  for (const ManifestPart& wrong : {other_shape, other_dim, same_file}) {
    Manifest manifest = sample();
    EXPECT_THROW(merge_part(manifest, wrong), InternalError);
  }
  Manifest manifest = sample();
  merge_part(manifest, part_from_text(part_to_text(part)));
  EXPECT_EQ(manifest.files.size(), 3u);
}

TEST(Manifest, OddMetadataDoesNotSpoilASave) {
  Manifest manifest = sample();
  manifest.metadata = nullptr;
  EXPECT_NO_THROW(manifest_from_text(manifest_to_text(manifest), "m"));
  manifest.metadata = {{"path", "\xff\xfe"}};  // not UTF-8: replaced, not fatal
  EXPECT_NO_THROW(manifest_from_text(manifest_to_text(manifest), "m"));
}

}  // namespace
}  // namespace ringtron
