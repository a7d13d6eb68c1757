// A training run that ends at the k-th file operation of a save, for every k, with and without --async-save: the newest
// complete checkpoint loads, to the bit, and a run that goes on from it saves over what is left.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_names.h"
#include "ringtron/checkpoint/checkpoint_reader.h"
#include "ringtron/train/checkpoint_loader.h"
#include "ringtron/train/checkpoint_saver.h"
#include "tests/checkpoint/faulty_file_system.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kSavedBefore = 1, kSaved = 2, kSavedAfter = 4;
constexpr int kFailed = 1, kNotStruck = 2, kWrong = 99;  // exit codes of a child

enum class How { sync, async };

// The exit code of `body` in a process of its own: this one starts no thread, so that it can go on forking.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    int code = kWrong;
    try {
      at::set_num_threads(1);
      code = body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class SaveCrashPoints : public ::testing::Test {
 protected:
  void SetUp() override {
    write_toy_corpus(corpus());
    ASSERT_EQ(in_child([&] { return run_to(dir_ / "before", kSavedBefore, How::sync); }), 0);
    fs::copy(dir_ / "before", dir_ / "reference", fs::copy_options::recursive);
    ASSERT_EQ(in_child([&] { return run_to(dir_ / "reference", kSaved, How::sync); }), 0);
    for (const auto& [folder, iteration] : {std::pair{dir_ / "before", kSavedBefore}, {dir_ / "reference", kSaved}})
      shards_[iteration] = read_file(shard_of(folder, iteration));
    ASSERT_NE(shards_[kSavedBefore], shards_[kSaved]);
  }

  std::string corpus() const { return dir_ / "corpus"; }
  static fs::path shard_of(const fs::path& folder, std::int64_t iteration) {
    return iteration_folder(folder, iteration) / "shard_00000.safetensors";
  }

  // One step a call of run(); the checkpoint before goes once the new one is complete.
  ToyTraining start(const fs::path& folder) const {
    return ToyTraining(toy_config({.micro_batch = 8}, corpus(),
                                  fmt::format("{} --save {} --load {} --save-interval 1 --save-retain-interval 100",
                                              kLlamaLike, folder.string(), folder.string())));
  }

  static void step(ToyTraining& run) {
    const auto loader = run.loader();
    run.parts().step().run(*loader);
  }

  // Saves; beside training, which makes one step more meanwhile.
  static void save(ToyTraining& run, CheckpointSaver& saver, How how) {
    if (how == How::sync) return saver.save(run.state());
    saver.begin(run.state());
    step(run);
    saver.finish();
  }

  // Loads what is there, trains to `iteration` and saves it.
  int run_to(const fs::path& folder, int iteration, How how, Fault fault = Fault::none, int at = 0) const {
    ToyTraining run = start(folder);
    load_checkpoint(run.job(), run.state());
    while (run.state().progress.iteration < iteration) step(run);
    FaultyFileSystem files(fault, at);
    CheckpointSaver saver(run.job(), files);
    save(run, saver, how);
    return 0;
  }

  // The iteration of the newest complete checkpoint, which holds what the reference run's does; -1: something is wrong.
  std::int64_t newest(const fs::path& folder) {
    const auto search = find_newest_checkpoint(folder);
    if (!search.newest || !search.damaged.empty()) return -1;
    CheckpointReader(search.newest->folder).verify();
    const std::int64_t iteration = search.newest->iteration;
    const auto expected = shards_.find(iteration);
    if (expected != shards_.end() && expected->second != read_file(shard_of(folder, iteration))) return -1;
    return iteration;
  }

  fs::path copy_of_before(int k) const {
    const fs::path folder = dir_ / fmt::format("at_{}", k);
    fs::copy(dir_ / "before", folder, fs::copy_options::recursive);
    return folder;
  }

  void sweep_crashes(How how) {
    int found_before = 0, found_saved = 0, k = 1;
    for (;; ++k) {
      const fs::path folder = copy_of_before(k);
      const int code = in_child([&] { return run_to(folder, kSaved, how, Fault::crash, k); });
      if (code == 0) break;  // there is no k-th operation
      ASSERT_EQ(code, FaultyFileSystem::kCrashExitCode) << "operation " << k;
      const std::int64_t found = newest(folder);
      EXPECT_TRUE(found == kSavedBefore || found == kSaved) << "crash at operation " << k << ": " << found;
      (found == kSaved ? found_saved : found_before) += 1;
      // The next run loads it, goes on and saves over what is left.
      ASSERT_EQ(in_child([&] { return run_to(folder, kSavedAfter, how); }), 0) << "after operation " << k;
      EXPECT_EQ(newest(folder), kSavedAfter) << "after operation " << k;
      for (const auto& entry : fs::directory_iterator(folder))
        EXPECT_FALSE(entry.path().filename().string().starts_with(".iter_")) << entry.path();
      fs::remove_all(folder);
    }
    std::printf("%d crash points; then the newest complete checkpoint was the one before %d times, the new one %d\n",
                k - 1, found_before, found_saved);
    EXPECT_GT(k, 20);
    EXPECT_GT(found_before, 0);
    EXPECT_GT(found_saved, 0);
  }

  // An error at every operation: what fails is told, nothing is lost, and the next try of the same run works.
  void sweep_errors() {
    int failed = 0, k = 1;
    for (bool is_struck = true; is_struck; ++k) {
      const fs::path folder = copy_of_before(k);
      const int code = in_child([&] {
        ToyTraining run = start(folder);
        load_checkpoint(run.job(), run.state());
        step(run);
        FaultyFileSystem files(Fault::io_error, k);
        CheckpointSaver saver(run.job(), files);
        bool is_told = false;
        try {
          save(run, saver, How::async);
        } catch (const IoError&) {
          is_told = true;
          if (newest(folder) < kSavedBefore) return kWrong;
          save(run, saver, How::async);
        }
        return files.operations() < k ? kNotStruck : is_told ? kFailed : 0;
      });
      is_struck = code != kNotStruck;
      ASSERT_TRUE(code == 0 || code == kFailed || code == kNotStruck)
          << "error at operation " << k << ": exit code " << code;
      failed += code == kFailed;
      EXPECT_GE(newest(folder), kSaved) << "error at operation " << k;
      fs::remove_all(folder);
    }
    EXPECT_GT(failed, 10);
  }

  TempDir dir_;
  std::map<std::int64_t, std::string> shards_;  // by iteration, of the run without faults
};

TEST_F(SaveCrashPoints, OfASaveThatTrainingWaitsFor) { sweep_crashes(How::sync); }

TEST_F(SaveCrashPoints, OfASaveBesideTraining) { sweep_crashes(How::async); }

TEST_F(SaveCrashPoints, ErrorsOfASaveBesideTraining) { sweep_errors(); }

TEST_F(SaveCrashPoints, AnotherStateWouldBeNoticed) {  // negative control
  const fs::path folder = copy_of_before(0);
  EXPECT_EQ(newest(folder), kSavedBefore);
  const std::string other = shards_[kSaved];
  std::swap(shards_[kSavedBefore], shards_[kSaved]);
  EXPECT_EQ(newest(folder), -1);
}

}  // namespace
}  // namespace ringtron::testing
