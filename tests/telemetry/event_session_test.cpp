// What readers of TensorBoard see of runs that end, crash and resume in one folder, and of trouble with its disk.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <map>

#include "ringtron/base/error.h"
#include "ringtron/telemetry/tensorboard/event_history.h"
#include "ringtron/telemetry/tensorboard/event_reader.h"
#include "ringtron/telemetry/tensorboard/event_writer.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Steps = std::map<std::string, std::vector<std::int64_t>>;

constexpr std::int64_t kBatch = 4;

// As TensorBoard's EventAccumulator: files in the order of their names, a session start purges all tags from its step
// on.
Steps seen_in(const std::filesystem::path& folder) {
  Steps steps;
  for (const std::string& name : event_file_names(folder)) {
    read_events(folder / name, [&](const ReadEvent& event) {
      if (event.session_start) {
        for (auto& [tag, list] : steps) std::erase_if(list, [&](std::int64_t step) { return step >= event.step; });
      }
      if (!event.tag.empty()) steps[std::string(event.tag)].push_back(event.step);
    });
  }
  return steps;
}

// Iterations first to last of a run.
void write_steps(EventWriter& writer, std::int64_t first, std::int64_t last) {
  for (std::int64_t i = first; i <= last; ++i) {
    writer.add_scalar("lm loss", static_cast<double>(i), i);
    writer.add_scalar("lm loss vs samples", static_cast<double>(i), i * kBatch);
  }
  writer.flush();
}

void run(const std::filesystem::path& folder, std::int64_t first, std::int64_t last) {
  EventWriter writer(folder, {first - 1, (first - 1) * kBatch});
  writer.add_text("lr", "1e-3", first - 1);
  write_steps(writer, first, last);
}

void expect_each_step_once(const std::filesystem::path& folder, std::int64_t last) {
  Steps steps = seen_in(folder);
  ASSERT_EQ(steps["lm loss"].size(), static_cast<std::size_t>(last));
  ASSERT_EQ(steps["lm loss vs samples"].size(), static_cast<std::size_t>(last));
  for (std::int64_t i = 1; i <= last; ++i) {
    EXPECT_EQ(steps["lm loss"][static_cast<std::size_t>(i - 1)], i);
    EXPECT_EQ(steps["lm loss vs samples"][static_cast<std::size_t>(i - 1)], i * kBatch);
  }
}

TEST(EventSession, StepsOfACrashedRunAreRepeatedOnce) {
  testing::TempDir dir;
  run(dir.path(), 1, 7);
  run(dir.path(), 5, 10);
  expect_each_step_once(dir.path(), 10);
}

TEST(EventSession, ManyCrashesInOneSecond) {
  testing::TempDir dir;
  run(dir.path(), 1, 7);
  for (const std::int64_t first : {3, 3, 6, 2, 8, 1, 5}) run(dir.path(), first, first + 6);
  expect_each_step_once(dir.path(), 11);
}

TEST(EventSession, RunsThatEndAtTheirSaveWriteNothingAgain) {
  testing::TempDir dir;
  for (std::int64_t first = 1; first <= 41; first += 4) run(dir.path(), first, first + 3);
  expect_each_step_once(dir.path(), 44);
  std::int64_t records = 0;
  for (const std::string& name : event_file_names(dir.path())) {
    read_events(dir / name, [&](const ReadEvent& event) { records += event.scalar.has_value(); });
  }
  EXPECT_EQ(records, 2 * 44);
}

TEST(EventSession, AFreshRunReplacesAll) {
  testing::TempDir dir;
  run(dir.path(), 1, 7);
  ::testing::internal::CaptureStderr();
  run(dir.path(), 5, 7);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "it goes on";
  ::testing::internal::CaptureStderr();
  run(dir.path(), 1, 3);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("holds the points of another run up to iteration 7"));
  expect_each_step_once(dir.path(), 3);
  EXPECT_THAT(seen_in(dir.path())["lr"], ElementsAre(0));
}

TEST(EventSession, ATornRecordAndForeignFilesDoNotMatter) {
  testing::TempDir dir;
  run(dir.path(), 1, 7);
  const std::string first = event_file_names(dir.path())[0];
  std::filesystem::resize_file(dir / first, std::filesystem::file_size(dir / first) - 5);
  std::ofstream(dir / "events.out.tfevents.junk") << "no events";
  std::filesystem::create_directory(dir / "events.out.tfevents.folder");
  run(dir.path(), 5, 9);
  expect_each_step_once(dir.path(), 9);
}

TEST(EventSession, NamesSortBehindThoseOfAClockThatWasAhead) {
  testing::TempDir dir;
  const std::string ahead = "events.out.tfevents." + std::to_string(std::time(nullptr) + 600) + ".host.1.0";
  std::ofstream(dir / ahead) << "";
  const EventWriter writer(dir.path());
  EXPECT_EQ(event_file_names(dir.path())[0], ahead);
}

TEST(EventSession, NamesSortBehindEveryFileThatIsThere) {
  testing::TempDir dir;
  for (const char* there : {"9999999998.host.1.0", "9999999999.host.1.0", "99999999999999999999.host.1.0", "junk"}) {
    std::ofstream(dir / (std::string("events.out.tfevents.") + there)) << "";
    for (int run = 0; run < 2; ++run) {
      const std::string last = event_file_names(dir.path()).back();
      const EventWriter writer(dir.path());
      EXPECT_GT(writer.path().filename().string(), last);
      EXPECT_EQ(event_file_names(dir.path()).back(), writer.path().filename().string());
    }
  }
}

TEST(EventSession, TwoAtOnceAreTold) {
  testing::TempDir dir;
  EventWriter first(dir.path());
  write_steps(first, 1, 2);
  ::testing::internal::CaptureStderr();
  {
    const EventWriter second(dir.path(), {2, 2 * kBatch});
  }
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("another run writes TensorBoard's events"));
}

TEST(EventSession, ADeletedFolderIsMadeAgain) {
  testing::TempDir dir;
  const auto folder = dir / "tb";
  EventWriter writer(folder);
  write_steps(writer, 1, 2);
  std::filesystem::remove_all(folder);
  ::testing::internal::CaptureStderr();
  write_steps(writer, 3, 4);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("was deleted"));
  EXPECT_THAT(seen_in(folder)["lm loss"], ElementsAre(3, 4));
}

// A limit on the size of files stands for a full disk: a write gets through in part, then fails.
TEST(EventSession, AFullDiskIsWaitedOut) {
  testing::TempDir dir;
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  EventWriter writer(dir.path());
  write_steps(writer, 1, 10);
  const rlimit small{static_cast<rlim_t>(std::filesystem::file_size(writer.path()) + 30), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  ::testing::internal::CaptureStderr();
  write_steps(writer, 11, 20);
  write_steps(writer, 21, 30);
  const std::string told = ::testing::internal::GetCapturedStderr();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_THAT(told, HasSubstr("cannot be written"));
  EXPECT_EQ(told.find("cannot be written"), told.rfind("cannot be written")) << "told once: " << told;
  ::testing::internal::CaptureStderr();
  write_steps(writer, 31, 32);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("written again"));
  expect_each_step_once(dir.path(), 32);
}

TEST(EventSession, AFileInPlaceOfTheFolderIsRefused) {
  testing::TempDir dir;
  std::ofstream(dir / "tb") << "a file";
  EXPECT_THROW(EventWriter(dir / "tb"), IoError);
}

}  // namespace
}  // namespace ringtron
