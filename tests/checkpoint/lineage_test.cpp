// Which checkpoint a run goes on from when a folder holds several branches: the one saved last, never a larger
// iteration of a branch that was left.
#include "ringtron/checkpoint/lineage.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/lineage_notice.h"
#include "ringtron/checkpoint/load_folder.h"
#include "tests/checkpoint/small_checkpoint.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kFirst = "1111111111111111", kBranch = "2222222222222222", kStranger = "3333333333333333";

class LineageFolder : public ::testing::Test {
 protected:
  void save(std::int64_t iteration, const std::string& run, std::vector<Ancestor> line = {}) {
    save_small(dir_.path(), iteration, Lineage{run, next_save_number(dir_.path()), std::move(line)});
  }
  // A run to 6; then back to 2, and 4 anew.
  void go_back() {
    for (const int iteration : {2, 4, 6}) save(iteration, kFirst);
    save(4, kBranch, {{kFirst, 2}});
  }
  CheckpointSearch search() { return find_newest_checkpoint(dir_.path()); }
  std::int64_t newest() { return search().newest ? search().newest->iteration : -1; }

  TempDir dir_;
};

TEST_F(LineageFolder, ALineOfRestartsIsTakenByItsEnd) {
  save(2, kFirst);
  save(4, kFirst);
  save(6, kBranch, {{kFirst, 4}});
  EXPECT_EQ(newest(), 6);
  EXPECT_THAT(search().others, IsEmpty());
  EXPECT_EQ(load_notice(dir_.path(), search(), FolderUse::load), "");
}

TEST_F(LineageFolder, TheLastSavedWinsOverTheLargestIteration) {
  go_back();
  EXPECT_EQ(newest(), 4);
  EXPECT_THAT(load_notice(dir_.path(), search(), FolderUse::load),
              HasSubstr("of an abandoned branch or another run are iterations 6 of run " + kFirst));
  EXPECT_THAT(load_notice(dir_.path(), search(), FolderUse::inspect),
              AllOf(HasSubstr("shown is iteration 4"), Not(HasSubstr("--"))));
  save(6, kBranch, {{kFirst, 2}});  // reached again
  EXPECT_EQ(newest(), 6);
  EXPECT_THAT(search().others, IsEmpty());
}

TEST_F(LineageFolder, AnotherRunInAnOldFolder) {
  for (const int iteration : {2, 4, 6}) save(iteration, kFirst);
  EXPECT_THAT(save_notice(dir_.path(), {}), HasSubstr("iterations 2, 4, 6 of run " + kFirst));
  save(3, kStranger);
  EXPECT_EQ(newest(), 3);
  EXPECT_THAT(load_notice(dir_.path(), search(), FolderUse::load),
              AllOf(HasSubstr(kStranger), HasSubstr("2, 4, 6 of run " + kFirst)));
}

TEST_F(LineageFolder, ADamagedEndFallsBackOnItsOwnLineOnly) {
  go_back();
  cut_shard(dir_.path(), 4);
  EXPECT_EQ(newest(), 2) << "6 belongs to the branch that was left";
  ASSERT_EQ(search().damaged.size(), 1u);
  EXPECT_EQ(search().damaged[0].iteration, 4);
  EXPECT_THAT(fallback_advice(dir_.path(), 4), HasSubstr("--ckpt-step 2"));
  std::filesystem::remove_all(dir_ / "iter_0000002");
  EXPECT_EQ(newest(), -1);
  try {
    search_load_folder(dir_.path(), {});
    FAIL() << "no error";
  } catch (const IoError& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("iteration 4"), HasSubstr("another branch or run: iterations 6"),
                                HasSubstr("--ckpt-step")));
  }
}

TEST_F(LineageFolder, AnUnreadableManifestOfTheLastSavedStops) {
  go_back();
  write_file_atomically(dir_ / "iter_0000004/manifest.json", "{}");
  EXPECT_THROW(search_load_folder(dir_.path(), {}), IoError) << "by the pointer file 4 was saved last";
  write_file_atomically(dir_ / "latest_checkpointed_iteration.txt", "6");
  EXPECT_EQ(search_load_folder(dir_.path(), {})->newest->iteration, 6);
  EXPECT_EQ(search().unplaced.size(), 1u);
}

// Megatron-LM goes on from what this file names, and its users go back by editing it.
TEST_F(LineageFolder, AnEditedPointerFileIsTold) {
  for (const int iteration : {2, 4, 6}) save(iteration, kFirst);
  const auto notice = [&](const std::string& text, FolderUse use = FolderUse::load) {
    write_file_atomically(dir_ / "latest_checkpointed_iteration.txt", text);
    return tracker_notice(dir_.path(), search(), use);
  };
  EXPECT_EQ(notice("6"), "");
  EXPECT_EQ(notice("6\n"), "");
  EXPECT_THAT(notice("2\n"),
              AllOf(HasSubstr("names iteration 2; it does not count here: going on from 6, the last saved"),
                    HasSubstr("--ckpt-step 2 goes back")));
  EXPECT_THAT(notice("2", FolderUse::inspect), AllOf(HasSubstr("shown is 6"), Not(HasSubstr("--"))));
  EXPECT_THAT(notice("8"), HasSubstr("names iteration 8, of which there is no checkpoint; going on from 6"));
  EXPECT_THAT(notice("release"), HasSubstr("holds \"release\", which is no iteration; going on from 6"));
  EXPECT_THAT(notice(""), HasSubstr("which is no iteration"));
  cut_shard(dir_.path(), 6);
  EXPECT_EQ(notice("6"), "") << "told as damaged";
  std::filesystem::remove(dir_ / "latest_checkpointed_iteration.txt");
  EXPECT_EQ(tracker_notice(dir_.path(), search(), FolderUse::load), "");
}

TEST_F(LineageFolder, FoldersFromBeforeLineageAreTakenByIteration) {
  for (const int iteration : {2, 4, 6}) save_small(dir_.path(), iteration, nlohmann::json::object());
  EXPECT_EQ(newest(), 6);
  EXPECT_THAT(search().others, IsEmpty());
  const std::vector<Ancestor> line = line_through(Lineage{}, 2);
  EXPECT_THAT(save_notice(dir_.path(), line), HasSubstr("iterations 4, 6 of a run without lineage"));
  save(4, kBranch, line);
  EXPECT_EQ(newest(), 4);
  EXPECT_EQ(search().others.size(), 1u);
}

TEST_F(LineageFolder, GoingBackIsToldBeforeTheFirstSave) {
  for (const int iteration : {2, 4, 6}) save(iteration, kFirst);
  const Lineage loaded = *list_checkpoints(dir_.path())[0].lineage;
  EXPECT_THAT(save_notice(dir_.path(), line_through(loaded, 2)), HasSubstr("iterations 4, 6 of run " + kFirst));
  EXPECT_EQ(save_notice(dir_.path(), line_through(loaded, 6)), "");
  EXPECT_EQ(save_notice(dir_ / "absent", {}), "");
  std::filesystem::create_directories(dir_ / "iter_0000008/mp_rank_00");
  const std::string foreign = save_notice(dir_.path(), line_through(loaded, 6));
  EXPECT_THAT(foreign, HasSubstr("8 (damaged, or not of Ringtron)"));
  EXPECT_THAT(foreign, HasSubstr("is moved aside and kept"));
}

TEST(Lineage, ComesBackEqualAndRefusesTheRest) {
  const Lineage lineage{kBranch, 3, {{"", 1}, {kFirst, 2}}};
  const nlohmann::json right = {{"lineage", lineage_to_json(lineage)}};
  const Lineage back = lineage_of_metadata(right);
  EXPECT_EQ(back.run, lineage.run);
  EXPECT_EQ(back.save, lineage.save);
  EXPECT_EQ(back.ancestors, lineage.ancestors);
  EXPECT_TRUE(lineage_of_metadata(nullptr).run.empty());
  for (const auto& [key, value] : std::initializer_list<std::pair<const char*, nlohmann::json>>{
           {"run", 5},
           {"run", ""},
           {"run", "x"},
           {"save", 0},
           {"save", -1},
           {"save", 1.5},
           {"ancestors", nullptr},
           {"ancestors", {{{"run", kFirst}}}},
           {"ancestors", {{{"run", kFirst}, {"iteration", "2"}}}}}) {
    nlohmann::json wrong = right;
    wrong["lineage"][key] = value;
    EXPECT_THROW(lineage_of_metadata(wrong), IoError) << key << " " << value;
  }
  EXPECT_NE(new_run_name(), new_run_name());
}

TEST(Lineage, KeepsTheLatestOfManyAncestors) {
  Lineage lineage{kFirst, 1, {}};
  for (int i = 0; i < 1500; ++i) lineage.ancestors = line_through(lineage, i);
  EXPECT_EQ(lineage.ancestors.size(), 1000u);
  EXPECT_EQ(lineage.ancestors.back().iteration, 1499);
}

}  // namespace
}  // namespace ringtron
