// What the report reads out of logs: lines of JSON, printed lines of Ringtron and Megatron-LM, broken ones, resumed
// ones.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/tools/report/json_log_reader.h"
#include "ringtron/tools/report/page_data.h"
#include "ringtron/tools/report/read_run.h"
#include "ringtron/tools/report/text_log_reader.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

RunLog read_json(const std::string& text) {
  RunLogBuilder builder;
  for (const std::string& line : split(text, '\n')) read_json_log_line(line, builder);
  return builder.finish("json");
}

RunLog read_text(const std::string& text) {
  RunLogBuilder builder;
  TextLogReader reader(builder);
  for (const std::string& line : split(text, '\n')) reader.read(line);
  return builder.finish("text");
}

std::string train(int iteration, double loss) {
  return fmt::format(R"({{"kind":"train","time":"t{0}","iteration":{0},"train_iterations":9,"lm loss":{1}}})",
                     iteration, loss);
}

std::vector<std::int64_t> iterations(const RunLog& run) {
  std::vector<std::int64_t> out;
  for (const auto& [iteration, numbers] : run.steps) out.push_back(iteration);
  return out;
}

TEST(JsonLog, KindsOfLines) {
  const RunLog run = read_json(
      R"({"kind":"start","iteration":0,"train_iterations":9,"world_size":2,"device":"GPU","peak_tflops":100,"options":{"lr":"0.1"}}
{"kind":"train","time":"a","iteration":1,"lm loss":4.5,"milliseconds_of_ranks":{"optimizer":[9,9],"forward-backward":[90,90]}}
{"kind":"train","time":"b","iteration":2,"lm loss":null,"milliseconds_of_ranks":{"optimizer":[1,3],"forward-backward":[4,0]}}
{"kind":"evaluation","on":"validation","set":"books","iteration":2,"lm loss":4.25}
{"kind":"evaluation","on":"test","iteration":2,"lm loss":4}
{"kind":"save","iteration":2,"seconds":2,"bytes":5,"seconds_waited":1}
{"kind":"something new","iteration":2}
)");
  EXPECT_EQ(run.world_size, 2);
  EXPECT_EQ(run.device, "GPU");
  EXPECT_EQ(run.peak_tflops, 100);
  ASSERT_NE(run.option("lr"), nullptr);
  EXPECT_EQ(*run.option("lr"), "0.1");
  EXPECT_EQ(run.steps.at(1).at("lm loss"), 4.5);
  EXPECT_TRUE(std::isnan(run.steps.at(2).at("lm loss")));
  ASSERT_EQ(run.evaluations.size(), 2u);
  EXPECT_EQ(run.evaluations[0].set, "validation-books");
  EXPECT_EQ(run.evaluations[1].set, "test");
  ASSERT_EQ(run.transfers.size(), 1u);
  EXPECT_EQ(run.transfers[0].waited, 1);
  ASSERT_EQ(run.parts.size(), 2u);  // in the log's order; the first line of a start does not count
  EXPECT_EQ(run.parts[0].name, "optimizer");
  EXPECT_THAT(run.parts[0].ranks, ElementsAre(1, 3));
  EXPECT_EQ(run.parts[1].least, 4);  // a rank that does not have the part is not the fastest
  EXPECT_EQ(run.unread_lines, 0);
  EXPECT_TRUE(run.seams.empty());
}

TEST(JsonLog, AResumedRunTakesThePlaceOfWhatItRepeats) {
  const std::string start = R"({"kind":"start","iteration":2,"train_iterations":9,"options":{}})";
  const RunLog run = read_json(train(1, 1) + "\n" + train(2, 2) + "\n" + train(3, 3) + "\n" + train(5, 5) +
                               "\n{\"kind\":\"evaluation\",\"on\":\"validation\",\"iteration\":5,\"lm loss\":7}\n" +
                               start + "\n" + train(3, 30) + "\n");
  EXPECT_THAT(iterations(run), ElementsAre(1, 2, 3));
  EXPECT_EQ(run.steps.at(3).at("lm loss"), 30);
  EXPECT_TRUE(run.evaluations.empty());
  ASSERT_EQ(run.seams.size(), 1u);
  EXPECT_EQ(run.seams[0].iteration, 2);
  EXPECT_EQ(run.seams[0].repeated_lines, 2);
}

TEST(JsonLog, TwoRunsThatDoNotSayWhereTheyBegin) {
  const RunLog run = read_json(train(1, 1) + "\n" + train(2, 2) + "\n" + train(1, 10) + "\n");
  EXPECT_THAT(iterations(run), ElementsAre(1));
  EXPECT_EQ(run.steps.at(1).at("lm loss"), 10);
  ASSERT_EQ(run.seams.size(), 1u);
  EXPECT_EQ(run.seams[0].iteration, 0);
}

TEST(JsonLog, CutLines) {
  const std::string cut = train(3, 3).substr(0, 30);
  const RunLog at_end = read_json(train(1, 1) + "\n" + train(2, 2) + "\n" + cut);
  EXPECT_THAT(iterations(at_end), ElementsAre(1, 2));
  EXPECT_EQ(at_end.unread_lines, 1);
  // The next run has gone on behind it, in the same line.
  const RunLog between = read_json(train(1, 1) + "\n" + cut + train(2, 2) + "\n" + train(3, 3) + "\n");
  EXPECT_THAT(iterations(between), ElementsAre(1, 2, 3));
  EXPECT_EQ(between.unread_lines, 1);
}

// Of Megatron-LM (a newer and an older form) and of Ringtron, behind launchers.
constexpr const char* kMegatron = R"(using world size: 8, data-parallel size: 4, context-parallel size: 1
[default0]:------------------------ arguments ------------------------
[default0]:  adam_beta1 ...................................... 0.9
[default0]:  data_path ....................................... None
[default0]:  blank ...........................................
[default0]:  a_name_that_is_longer_than_the_column_of_its_names_is  7
[default0]:-------------------- end of arguments ---------------------
(min, max) time across ranks (ms):
    model-and-optimizer-setup ......................: (1000.00, 1000.00)
[default7]: [2024-05-01 12:00:00.5] iteration       10/     500 | consumed samples:          2560 | elapsed time per iteration (ms): 1234.5 | throughput per GPU (TFLOP/s/GPU): 123.4 | learning rate: 1.500000E-05 | global batch size:   256 | lm loss: 1.093750E+01 | load_balancing_loss: 1.5E+00 | loss scale: 1.0 | grad norm: 2.500 | num zeros: 3 | number of skipped iterations:   1 | number of nan iterations:   0 |
[default7]:[Rank 7] (after 10 iterations) memory (MB) | allocated: 10.0 | max allocated: 2048.0 | reserved: 3000.0 | max reserved: 3000.0
(min, max) time across ranks (ms):
    forward-backward ...............................: (100.00, 110.00)
    optimizer ......................................: (5.00, 5.50)
7: iteration       20/     500 | consumed samples:          5120 | elapsed time per iteration (s): 1.5 | learning rate: 3.000000E-05 | global batch size:   256 | lm loss: NAN | loss scale: 1.0 | number of skipped iterations:   0 | number of nan iterations:   1 | TFLOPs: 99.5 |
------------------------------------------------------------------------------------------------
 validation loss at iteration 20 | lm loss value: 8.500000E+00 | lm loss PPL: 4.9E+03 |
------------------------------------------------------------------------------------------------
  successfully saved checkpoint from iteration      20 to /somewhere [ t 1/1, p 1/1 ]
(min, max) time across ranks (ms):
    save-checkpoint ................................: (1500.00, 2000.00)
[rank 7]  validation loss at iteration 20 on test set | lm loss value: 8.250000E+00 | lm loss PPL: 3.8E+03 |
)";

TEST(TextLog, Megatron) {
  const RunLog run = read_text(kMegatron);
  EXPECT_EQ(run.world_size, 8);
  EXPECT_EQ(run.train_iterations, 500);
  EXPECT_THAT(iterations(run), ElementsAre(10, 20));
  const NamedNumbers& first = run.steps.at(10);
  EXPECT_EQ(first.at("consumed_samples"), 2560);
  EXPECT_EQ(first.at("milliseconds_per_iteration"), 1234.5);
  EXPECT_EQ(first.at("tflops_per_gpu"), 123.4);
  EXPECT_EQ(first.at("learning_rate"), 1.5e-5);
  EXPECT_EQ(first.at("lm loss"), 10.9375);
  EXPECT_EQ(first.at("load_balancing_loss"), 1.5);
  EXPECT_EQ(first.at("grad_norm"), 2.5);
  EXPECT_EQ(first.at("skipped_iterations"), 1);
  EXPECT_EQ(first.at("memory_max_allocated_bytes"), 2048.0 * 1024 * 1024);
  const NamedNumbers& second = run.steps.at(20);
  EXPECT_EQ(second.at("milliseconds_per_iteration"), 1500);
  EXPECT_EQ(second.at("tflops_per_gpu"), 99.5);
  EXPECT_TRUE(std::isnan(second.at("lm loss")));
  EXPECT_EQ(run.first_time, "2024-05-01 12:00:00.5");
  ASSERT_EQ(run.evaluations.size(), 2u);
  EXPECT_EQ(run.evaluations[0].set, "validation");
  EXPECT_EQ(run.evaluations[0].loss, 8.5);
  EXPECT_EQ(run.evaluations[1].set, "test");
  ASSERT_EQ(run.parts.size(), 2u);  // neither the start nor the save
  EXPECT_EQ(run.step_milliseconds, 1234.5);
  EXPECT_EQ(run.parts[0].name, "forward-backward");
  EXPECT_EQ(run.parts[0].least, 100);
  EXPECT_EQ(run.parts[0].most, 110);
  ASSERT_EQ(run.transfers.size(), 1u);
  EXPECT_EQ(run.transfers[0].iteration, 20);
  EXPECT_EQ(run.transfers[0].seconds, 2);
  ASSERT_NE(run.option("adam_beta1"), nullptr);
  EXPECT_EQ(*run.option("adam_beta1"), "0.9");
  EXPECT_EQ(*run.option("data_path"), "None");
  EXPECT_EQ(*run.option("blank"), "");
  EXPECT_EQ(*run.option("a_name_that_is_longer_than_the_column_of_its_names_is"), "7");
  EXPECT_EQ(run.unread_lines, 0);
}

TEST(TextLog, RingtronResumed) {
  const auto line = [](int iteration, double loss) {
    return fmt::format(
        "[rank 3]  [2026-11-30 00:46:10.834975] iteration {:8d}/      10 | consumed samples:           20 | elapsed time per "
        "iteration (ms): 310.9 | learning rate: 5.000000E-04 | global batch size:     4 | lm loss: {:.6E} | loss scale: 1.0 | "
        "number of skipped iterations:   0 | number of nan iterations:   0 | tokens/s: 1234 | time left: 0:00:10 |\n",
        iteration, loss);
  };
  const RunLog run = read_text(
      line(5, 6) +
      "[rank 0]   successfully saved checkpoint from iteration       5 to out/own [ t 1/1, p 1/1 ]\n"
      "[rank 0]   saved 1.5 GB in 0.5 s (3 GB/s)\n" +
      line(8, 5) + line(9, 4) +
      "[rank 0]   successfully loaded checkpoint from out/own [ t 1/2, p 1/1 ] at iteration 5\n"
      "[rank 0]   loaded 1.5 GB in 0.25 s (6 GB/s)\n" +
      line(6, 5.5) + "(min, max) time across ranks (ms):\n" +
      "times across ranks (ms):\n  forward-backward:\n     rank  0: 3.00\n     rank  1: 5.00\n  optimizer:\n     rank  1: 2.00\n" +
      line(10, 3).substr(0, 150));
  EXPECT_THAT(iterations(run), ElementsAre(5, 6, 10));
  EXPECT_EQ(run.steps.at(5).at("tokens_per_second"), 1234);
  ASSERT_EQ(run.seams.size(), 1u);
  EXPECT_EQ(run.seams[0].iteration, 5);
  EXPECT_EQ(run.seams[0].repeated_lines, 2);
  ASSERT_EQ(run.transfers.size(), 2u);
  EXPECT_EQ(run.transfers[0].bytes, 1.5e9);
  EXPECT_EQ(run.transfers[1].seconds, 0.25);
  EXPECT_EQ(run.unread_lines, 1);  // the last one, of which the whole fields count
  EXPECT_FALSE(run.steps.at(10).contains("lm loss"));
  ASSERT_EQ(run.parts.size(), 2u);
  EXPECT_THAT(run.parts[0].ranks, ElementsAre(3, 5));
  EXPECT_EQ(run.parts[1].least, 2);
}

TEST(TextLog, CutInsideOfANumber) {
  const RunLog run =
      read_text("junk\n iteration       10/     500 | consumed samples:          2560 | lm loss: 1.09375");
  EXPECT_FALSE(run.steps.at(10).contains("lm loss"));
  EXPECT_EQ(run.unread_lines, 1);
}

// Logs that were broken anyhow are read to their end, and drawn.
TEST(Logs, AnyBytes) {
  const std::string logs[] = {kMegatron, train(1, 1) + "\n" + train(2, 1e300) + "\n" +
                                             R"({"kind":"start","iteration":1,"options":{"seq_length":"9"}})" + "\n" +
                                             R"({"kind":"train","iteration":2,"milliseconds_of_ranks":{"a":[1,2]}})"};
  std::mt19937 dice(7);
  for (int i = 0; i < 3000; ++i) {
    std::string text = logs[i % 2];
    for (int changes = 1 + static_cast<int>(dice() % 8); changes > 0; --changes) {
      const std::size_t at = dice() % text.size();
      constexpr std::string_view kOdd = "0123456789eE-+.:|/{}[]\",\n\xff ";
      if (dice() % 8 == 0)
        text.erase(at, dice() % 40);
      else
        text[at] = kOdd[dice() % kOdd.size()];
      if (text.empty()) text = " ";
    }
    const std::vector<RunLog> runs = {i % 2 == 0 ? read_text(text) : read_json(text)};
    EXPECT_FALSE(page_data(runs, std::nullopt).empty());
  }
}

class Folder : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(path_ / "logs" / "deep"); }
  void TearDown() override { std::filesystem::remove_all(path_); }
  void write(const std::string& name, const std::string& text) { std::ofstream(path_ / name) << text; }
  std::string fault() {
    try {
      read_run(path_);
    } catch (const std::exception& e) {
      return e.what();
    }
    return "";
  }

  const std::filesystem::path path_ =
      std::filesystem::path(::testing::TempDir()) / fmt::format("report_log_test_{}", ::getpid());
};

TEST_F(Folder, LinesOfJsonCountBeforePrintedOnesAndInTheirOrder) {
  write("b.jsonl", train(1, 1) + "\n" + train(2, 2) + "\n");
  write("logs/a.jsonl", train(3, 3) + "\n");
  write("logs/deep/c.jsonl", train(4, 4) + "\n");  // too deep
  write("other.jsonl", "{\"text\":\"no log\"}\n");
  write("run.log", kMegatron);
  EXPECT_THAT(iterations(read_run(path_)), ElementsAre(1, 2, 3));
  std::filesystem::remove(path_ / "b.jsonl");
  std::filesystem::remove(path_ / "logs" / "a.jsonl");
  EXPECT_THAT(iterations(read_run(path_)), ElementsAre(10, 20));
}

TEST_F(Folder, WhatIsNoLogIsRefused) {
  EXPECT_THAT(fault(), HasSubstr("expected a log of a run in this folder"));
  write("run.log", "nothing of interest\n");
  EXPECT_THAT(fault(), HasSubstr("expected a log of a run in this folder"));
  EXPECT_THROW(read_run(path_ / "run.log"), ConfigError);
  write("empty.jsonl", "");
  EXPECT_THROW(read_run(path_ / "empty.jsonl"), ConfigError);
  EXPECT_THROW(read_run(path_ / "absent"), IoError);
}

TEST_F(Folder, NamesSayWhichRun) {
  write("log.jsonl", train(1, 1) + "\n");
  write("seven.jsonl", train(1, 1) + "\n");
  EXPECT_EQ(read_run(path_ / "log.jsonl").name, path_.filename().string());
  EXPECT_EQ(read_run(path_ / "seven.jsonl").name, "seven.jsonl");
  EXPECT_EQ(read_run(path_.string() + "/").name, path_.filename().string());
}

}  // namespace
}  // namespace ringtron
