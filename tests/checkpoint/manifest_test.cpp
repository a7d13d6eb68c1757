#include "ringtron/checkpoint/manifest.h"

#include <gtest/gtest.h>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"

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
      {{"shard_00000.safetensors", "w#dim0[0:5]", 0, 5, 1}, {"shard_00001.safetensors", "w#dim0[5:8]", 5, 3, 2}}};
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
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].pieces[1].offset = 6; }).find("outside"), std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].pieces[0].length = 4; }).find("gap"), std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].pieces[0].length = 6; }).find("overlap"), std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].pieces.pop_back(); }).find("expected 8"), std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].pieces.clear(); }).find("no pieces"), std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.tensors["w"].dim = 2; }).find("dim 2"), std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.files.erase("shard_00001.safetensors"); }).find("not listed"),
            std::string::npos);
  EXPECT_NE(problem_after([](Manifest& m) { m.files["../x"] = {}; }).find("../x"), std::string::npos);
}

// Rows 5 to 8 of "w" in two ranges of elements.
Manifest with_ranges() {
  Manifest manifest = sample();
  std::vector<Piece>& pieces = manifest.tensors["w"].pieces;
  pieces.pop_back();
  pieces.push_back({"shard_00001.safetensors", "w#dim0[5:8]#[0:1]", 5, 3, 2, SlabRange{0, 1}});
  pieces.push_back({"shard_00000.safetensors", "w#dim0[5:8]#[1:6]", 5, 3, 2, SlabRange{1, 6}});
  return manifest;
}

// Programs from before there were ranges read a manifest without them, and refuse one that has them.
TEST(Manifest, RangesComeBackAndRaiseTheVersion) {
  const std::string text = manifest_to_text(with_ranges());
  EXPECT_EQ(manifest_to_text(manifest_from_text(text, "m")), text);
  EXPECT_EQ(nlohmann::json::parse(text).at("version"), 2);
  EXPECT_EQ(nlohmann::json::parse(manifest_to_text(sample())).at("version"), 1);
}

// Intact, and of a version that is yet to come: no damage, for which an older checkpoint would be taken.
TEST(Manifest, ANewerVersionIsNoDamage) {
  std::string newer = manifest_to_text(with_ranges());
  newer.replace(newer.find("\"version\": 2"), 12, "\"version\": 3");
  EXPECT_THROW(manifest_from_text(newer, "m"), CheckpointDamage);  // its checksum does not fit
  const std::string body = newer.substr(0, newer.rfind(",\n"));
  const std::string intact = body + ",\n \"xxh3\": \"" + hex64(hash64(body)) + "\"\n}\n";
  try {
    manifest_from_text(intact, "m");
    ADD_FAILURE() << "expected an IoError";
  } catch (const CheckpointDamage& e) {
    ADD_FAILURE() << "damage: " << e.what();
  } catch (const IoError& e) {
    EXPECT_NE(std::string(e.what()).find("m: version: ringtron-checkpoint 3 is newer than the versions 1 to 2"),
              std::string::npos)
        << e.what();
  }
}

TEST(Manifest, FindsGapsAndOverlapsOfRanges) {
  EXPECT_FALSE(manifest_problem(with_ranges()));
  const auto problem_after = [](std::size_t piece, SlabRange range) {
    Manifest manifest = with_ranges();
    Piece& changed = manifest.tensors["w"].pieces[piece];
    changed.range = range;
    changed.tensor = stored_name("w", {0, 5, 3}, range);
    return manifest_problem(manifest).value_or("");
  };
  EXPECT_NE(problem_after(2, {2, 6}).find("gap"), std::string::npos);
  EXPECT_NE(problem_after(2, {0, 6}).find("overlap"), std::string::npos);
  EXPECT_NE(problem_after(2, {1, 5}).find("expected 6 elements"), std::string::npos);
  EXPECT_NE(problem_after(2, {1, 7}).find("not a range"), std::string::npos);
  EXPECT_NE(problem_after(2, {1, 1}).find("not a range"), std::string::npos);
  Manifest lost = with_ranges();
  lost.tensors["w"].pieces.pop_back();
  EXPECT_NE(manifest_problem(lost).value_or("").find("expected 6 elements"), std::string::npos);
  Manifest renamed = with_ranges();
  renamed.tensors["w"].pieces[1].tensor = "w#dim0[5:8]";
  EXPECT_NE(manifest_problem(renamed).value_or("").find("cannot be"), std::string::npos);
}

TEST(Manifest, FindsSharedBytesAndSizesThatCannotBe) {
  const auto problem_after = [](auto change) {
    Manifest manifest = sample();
    change(manifest);
    return manifest_problem(manifest).value_or("");
  };
  const auto contains = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(contains(problem_after([](Manifest& m) { m.tensors["v"] = m.tensors["step"]; }), "cannot be step"));
  EXPECT_TRUE(contains(problem_after([](Manifest& m) {
                         TensorEntry empty{DType::f32, {0}, 0, {{"shard_00000.safetensors", "e", 0, 0, 1}}};
                         empty.pieces.push_back(empty.pieces[0]);
                         m.tensors["e"] = empty;
                       }),
                       "same bytes"));
  EXPECT_TRUE(contains(
      problem_after([](Manifest& m) { std::swap(m.tensors["w"].pieces[0].tensor, m.tensors["w"].pieces[1].tensor); }),
      "cannot be"));
  EXPECT_TRUE(
      contains(problem_after([](Manifest& m) { m.files["shard_00001.safetensors"].bytes = 10; }), "does not fit"));
  const std::int64_t huge = std::int64_t{1} << 61;  // rows whose bytes do not fit into 63 bits
  EXPECT_TRUE(contains(problem_after([&](Manifest& m) {
                         m.tensors["big"] = {DType::f64, {huge}, 0, {{"shard_00000.safetensors", "big", 0, huge, 1}}};
                       }),
                       "does not fit"));
}

// `text` with its checksum made right again, as a forger or another program would leave it.
std::string with_checksum(std::string text) {
  text.resize(text.rfind(",\n \"xxh3\""));
  return text + ",\n \"xxh3\": \"" + hex64(hash64(text)) + "\"\n}\n";
}

TEST(Manifest, NamesWrongTypesDoubledKeysAndDepth) {
  const auto fault_after = [](const std::string& from, const std::string& to) {
    std::string text = manifest_to_text(sample());
    text.replace(text.find(from), from.size(), to);
    try {
      manifest_from_text(with_checksum(text), "m");
    } catch (const CheckpointDamage& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const auto contains = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(
      contains(fault_after("\"iteration\": 2000", "\"iteration\": \"2000\""), "iteration: expected a whole number"));
  EXPECT_TRUE(
      contains(fault_after("\"iteration\": 2000", "\"iteration\": 2000.0"), "iteration: expected a whole number"));
  EXPECT_TRUE(contains(fault_after("\"iteration\": 2000", "\"iteration\": -1"), "got -1"));
  EXPECT_TRUE(contains(fault_after("\"iteration\": 2000", "\"iteration\": 1, \"iteration\": 2000"), "stands twice"));
  EXPECT_TRUE(contains(fault_after("\"bytes\": 400", "\"bytes\": true"), "files.shard_00000.safetensors.bytes"));
  EXPECT_TRUE(contains(fault_after("\"length\": 5", "\"length\": 18446744073709551615"), "tensors.w.pieces[0].length"));
  EXPECT_TRUE(contains(fault_after("\"lr\": 0.1", "\"lineage\": 1"), "metadata.lineage"));
  EXPECT_TRUE(
      contains(fault_after("\"lr\": 0.1", "\"lr\": " + std::string(100000, '[') + std::string(100000, ']')), "deeper"));
  EXPECT_EQ(fault_after("\"lr\": 0.1", "\"lr\": 0.2"), "") << "negative control: the checksum is right";
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
