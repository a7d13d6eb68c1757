// What --load may be: a fresh start only where nothing is; everything else is named, with what to give instead.
#include "ringtron/checkpoint/load_folder.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "tests/checkpoint/small_checkpoint.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class LoadFolder : public ::testing::Test {
 protected:
  void put(const std::string& name) {
    const fs::path path = dir_ / name;
    fs::create_directories(path.parent_path());
    write_file_atomically(path, "x");
  }
  bool fresh(const fs::path& path, std::vector<fs::path> own = {}) { return !search_load_folder(path, own); }
  std::string refusal(const fs::path& path) {
    try {
      search_load_folder(path, {});
    } catch (const IoError& e) {
      return e.what();
    }
    return "";
  }

  TempDir dir_;
};

TEST_F(LoadFolder, NothingThereIsAFreshStart) {
  EXPECT_TRUE(fresh(dir_.path()));
  EXPECT_TRUE(fresh(dir_ / "absent"));
  EXPECT_TRUE(fresh(dir_ / "absent/deeper"));
}

TEST_F(LoadFolder, WhatAFirstRunLeavesIsAFreshStart) {
  put(".lease");
  put(".iter_0000002.partial/shard_00000.safetensors");
  put("events.out.tfevents.1.host");
  put("tensorboard/events.out.tfevents.1.host");
  fs::create_directory(dir_ / "lost+found");
  EXPECT_TRUE(fresh(dir_.path(), {dir_ / "tensorboard"}));
  EXPECT_FALSE(refusal(dir_.path()).empty()) << "negative control: a folder that the run does not write";
}

TEST_F(LoadFolder, AllDamagedStops) {
  save_small(dir_.path(), 2, nlohmann::json::object());
  save_small(dir_.path(), 4, nlohmann::json::object());
  cut_shard(dir_.path(), 4);
  EXPECT_EQ(search_load_folder(dir_.path(), {})->newest->iteration, 2) << "an older one is enough";
  cut_shard(dir_.path(), 2);
  EXPECT_THAT(refusal(dir_.path()), AllOf(HasSubstr("none can be loaded"), HasSubstr("iteration 2"), HasSubstr("iteration 4"),
                                          HasSubstr("truncated"), HasSubstr("start afresh")));
}

TEST_F(LoadFolder, NamesOtherProgramsCheckpoints) {
  struct Row {
    const char* folder;
    std::vector<const char*> files;
    const char* named;
  };
  const Row rows[] = {
      {"release", {"latest_checkpointed_iteration.txt", "release/mp_rank_00/model_optim_rng.pt"}, "Megatron-LM (torch format)"},
      {"legacy", {"latest_checkpointed_iteration.txt", "iter_0000010/mp_rank_00/model_optim_rng.pt"}, "Megatron-LM (torch format)"},
      {"dist", {"latest_checkpointed_iteration.txt", "iter_0000010/.metadata", "iter_0000010/__0_0.distcp", "iter_0000010/metadata.json"},
       "Megatron-LM (torch_dist format)"},
      {"common", {"iter_0000010/common.pt"}, "Megatron-LM (torch_dist format)"},
      {"iteration", {"mp_rank_00_000/model_optim_rng.pt"}, "Megatron-LM (torch format)"},
      {"fsdp", {".metadata", "__0_0.distcp"}, "PyTorch (distributed checkpoint)"},
      {"hf", {"config.json", "model-00001-of-00002.safetensors"}, "Hugging Face"},
      {"hf_bin", {"config.json", "pytorch_model.bin"}, "Hugging Face"},
      {"llama", {"params.json", "consolidated.00.pth"}, "Llama"},
      {"deepspeed", {"latest", "global_step10/mp_rank_00_model_states.pt"}, "DeepSpeed"},
      {"torch", {"model.pt"}, "PyTorch"},
  };
  for (const Row& row : rows) {
    for (const char* file : row.files) put(std::string(row.folder) + "/" + file);
    EXPECT_THAT(refusal(dir_ / row.folder), AllOf(HasSubstr(row.named), HasSubstr("own --save"))) << row.folder;
  }
}

TEST_F(LoadFolder, SaysWhichFolderToGive) {
  const fs::path save = dir_ / "run/checkpoints";
  save_small(save, 4, nlohmann::json::object());
  const std::string give = "--load " + fs::absolute(save).string();
  EXPECT_THAT(refusal(save / "iter_0000004"), AllOf(HasSubstr(give + ", with --ckpt-step 4")));
  EXPECT_THAT(refusal(save / "iter_0000004/"), AllOf(HasSubstr(give + ", with --ckpt-step 4")));
  EXPECT_THAT(refusal(save / "iter_0000004/manifest.json"), HasSubstr(give));
  EXPECT_THAT(refusal(save / "iter_0000004/shard_00000.safetensors"), HasSubstr(give));
  EXPECT_THAT(refusal(save / "latest_checkpointed_iteration.txt"), HasSubstr(give));
  EXPECT_THAT(refusal(dir_ / "run"), HasSubstr(give)) << "one folder further down";
}

TEST_F(LoadFolder, OtherThingsAndOddPathsStop) {
  put("notes/todo.txt");
  EXPECT_THAT(refusal(dir_ / "notes"), AllOf(HasSubstr("other things"), HasSubstr("todo.txt")));
  EXPECT_THAT(refusal(dir_ / "notes/todo.txt"), HasSubstr("is a file"));
  EXPECT_THAT(refusal(dir_ / "notes/todo.txt/below"), HasSubstr("Not a directory"));
  fs::create_symlink(dir_ / "gone", dir_ / "link");
  EXPECT_THAT(refusal(dir_ / "link"), HasSubstr("symbolic link"));
  put("emptied/latest_checkpointed_iteration.txt");
  EXPECT_THAT(refusal(dir_ / "emptied"), HasSubstr("latest_checkpointed_iteration.txt"));
  ASSERT_EQ(::mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(refusal(dir_ / "pipe").empty());
  fs::create_directories(dir_ / "fifo/iter_0000004");
  ASSERT_EQ(::mkfifo((dir_ / "fifo/iter_0000004/manifest.json").c_str(), 0600), 0);
  EXPECT_THAT(refusal(dir_ / "fifo"), HasSubstr("is not a file")) << "and does not wait for a writer";
}

// A folder in a loop of links cannot be read, whoever asks: EACCES without a second user.
TEST_F(LoadFolder, WhatCannotBeReadIsNotDamage) {
  save_small(dir_.path(), 2, nlohmann::json::object());
  save_small(dir_.path(), 4, nlohmann::json::object());
  const fs::path shard = dir_ / "iter_0000004/shard_00000.safetensors";
  fs::remove(shard);
  fs::create_symlink(shard, shard);
  try {
    search_load_folder(dir_.path(), {});
    FAIL() << "no error";
  } catch (const CheckpointDamage& e) {
    FAIL() << "taken for damage: " << e.what();
  } catch (const IoError& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("cannot read"), HasSubstr(shard.string())));
  }
  fs::create_symlink(dir_ / "loop", dir_ / "loop");
  EXPECT_THAT(refusal(dir_ / "loop"), HasSubstr("cannot read"));
}

}  // namespace
}  // namespace ringtron
