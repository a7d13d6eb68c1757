// What --load may be: a fresh start only where nothing is; everything else is named, with what to give instead.
#include "ringtron/checkpoint/load_folder.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/checkpoint/describe_checkpoint.h"
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
  EXPECT_THAT(refusal(dir_.path()), AllOf(HasSubstr("none can be loaded"), HasSubstr("iteration 2"),
                                          HasSubstr("iteration 4"), HasSubstr("truncated"), HasSubstr("start afresh")));
}

TEST_F(LoadFolder, NamesOtherProgramsCheckpoints) {
  struct Row {
    const char* folder;
    std::vector<const char*> files;
    const char* named;
  };
  const Row rows[] = {
      {"release",
       {"latest_checkpointed_iteration.txt", "release/mp_rank_00/model_optim_rng.pt"},
       "Megatron-LM (torch format)"},
      {"legacy",
       {"latest_checkpointed_iteration.txt", "iter_0000010/mp_rank_00/model_optim_rng.pt"},
       "Megatron-LM (torch format)"},
      {"dist",
       {"latest_checkpointed_iteration.txt", "iter_0000010/.metadata", "iter_0000010/__0_0.distcp",
        "iter_0000010/metadata.json"},
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
    EXPECT_THAT(refusal(dir_ / row.folder), AllOf(HasSubstr(row.named), HasSubstr("--save of its own pretrain_gpt")))
        << row.folder;
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

// `inspect checkpoint` has neither --load nor --ckpt-step: its user must not be told to give them.
TEST_F(LoadFolder, InspectAdvisesInItsOwnWords) {
  const fs::path save = dir_ / "run/checkpoints";
  save_small(save, 4, nlohmann::json::object());
  const std::string give = "inspect checkpoint " + fs::absolute(save).string(), one = give + "/iter_0000004";
  ASSERT_EQ(::mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  put("notes/todo.txt");
  put("hf/config.json");
  put("hf/model.safetensors");
  fs::create_symlink(dir_ / "gone", dir_ / "link");
  fs::create_symlink(dir_ / "loop", dir_ / "loop");
  put("no_manifest/iter_0000004/shard_00000.safetensors");
  const std::pair<fs::path, std::string> rows[] = {
      {save / "iter_0000004/manifest.json", one},
      {save / "iter_0000004/shard_00000.safetensors", one},
      {save / "latest_checkpointed_iteration.txt", give},
      {dir_ / "run", give},
      {dir_ / "pipe", "is a named pipe, not a folder of checkpoints"},
      {"/dev/null", "is a device, not a folder of checkpoints"},
      {dir_ / "notes", "todo.txt"},
      {dir_ / "notes/todo.txt", "is a file, not a folder of checkpoints"},
      {dir_ / "hf", "Hugging Face"},
      {dir_ / "link", "which does not exist"},
      {dir_ / "loop", "cannot read"},
      {dir_ / "no_manifest/iter_0000004", "without a manifest.json"},
      {dir_ / "no_manifest", "none can be loaded"},
      {dir_ / "absent", "holds no checkpoint"},
  };
  for (const auto& [path, said] : rows) {
    try {
      describe_checkpoint(path);
      ADD_FAILURE() << path << " is described";
    } catch (const IoError& e) {
      EXPECT_THAT(e.what(), AllOf(HasSubstr(said), Not(HasSubstr("--load")), Not(HasSubstr("--ckpt-step")))) << path;
    }
  }
}

TEST_F(LoadFolder, ACheckpointUnderAnotherNameIsToldItsOwn) {
  for (const char* name : {"iter_4", "iter_0000004.bak"}) {
    const fs::path save = dir_ / name / "run";
    save_small(save, 4, nlohmann::json::object());
    fs::rename(save / "iter_0000004", save / name);
    EXPECT_THAT(refusal(save), HasSubstr(std::string(name) + " is one of iteration 4: rename it to iter_0000004"));
    fs::remove(save / name / "shard_00000.safetensors");
    EXPECT_THAT(refusal(save), HasSubstr("other things")) << "a damaged one is none";
  }
}

TEST_F(LoadFolder, OtherThingsAndOddPathsStop) {
  put("notes/todo.txt");
  EXPECT_THAT(refusal(dir_ / "notes"), AllOf(HasSubstr("other things"), HasSubstr("todo.txt")));
  EXPECT_THAT(refusal(dir_ / "notes/todo.txt"), HasSubstr("is a file"));
  EXPECT_THAT(refusal(dir_ / "notes/todo.txt/below"), HasSubstr("Not a directory"));
  fs::create_symlink(dir_ / "gone", dir_ / "link");
  EXPECT_THAT(refusal(dir_ / "link"),
              HasSubstr("link is a symbolic link to " + (dir_ / "gone").string() + ", which does not exist"));
  EXPECT_THAT(refusal(dir_ / "link/deeper"), HasSubstr("which does not exist"));
  put("emptied/latest_checkpointed_iteration.txt");
  EXPECT_THAT(refusal(dir_ / "emptied"), HasSubstr("latest_checkpointed_iteration.txt"));
  ASSERT_EQ(::mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(refusal(dir_ / "pipe"), HasSubstr("it is a named pipe, not a folder"));
  EXPECT_THAT(refusal("/dev/null"), HasSubstr("it is a device, not a folder"));
  fs::create_directories(dir_ / "fifo/iter_0000004");
  ASSERT_EQ(::mkfifo((dir_ / "fifo/iter_0000004/manifest.json").c_str(), 0600), 0);
  EXPECT_THAT(refusal(dir_ / "fifo"), HasSubstr("is a named pipe, not a file")) << "and does not wait for a writer";
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
