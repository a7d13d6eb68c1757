#include "ringtron/telemetry/log_json.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ringtron {
namespace {

TEST(LogJson, TrainLineHasWhatThereIsAndNothingElse) {
  TrainingLogLine line;
  line.timestamp = "2026-11-30 10:11:12.123456";
  line.iteration = 7;
  line.train_iterations = 10;
  line.consumed_samples = 28;
  line.milliseconds_per_iteration = 0.1;
  line.learning_rate = 1e-4;
  line.global_batch_size = 4;
  line.losses = {{"lm loss", std::nan("")}};
  EXPECT_EQ(json_of(line, {}),
            R"({"kind":"train","time":"2026-11-30 10:11:12.123456","iteration":7,"train_iterations":10,)"
            R"("consumed_samples":28,"milliseconds_per_iteration":0.1,"learning_rate":0.0001,"global_batch_size":4,)"
            R"("lm loss":null,"loss_scale":1,"skipped_iterations":0,"nan_iterations":0})");
  line.area_imbalance = 1.25;
  line.memory_allocated = 5;
  line.memory_max_allocated = 4'000'000'000;
  const std::vector<PartTimes> parts = {{"forward-backward", {1.5, 2}}, {"nobody's", {0, 0}}};
  const std::string text = json_of(line, parts);
  EXPECT_TRUE(text.ends_with(
      R"("nan_iterations":0,"attention_area_max_over_mean":1.25,"memory_allocated_bytes":5,)"
      R"("memory_max_allocated_bytes":4000000000,"milliseconds_of_ranks":{"forward-backward":[1.5,2]}})"))
      << text;
}

TEST(LogJson, StartHasTheConfiguration) {
  const StartRecord record{.timestamp = "now",
                           .iteration = 5,
                           .consumed_samples = 20,
                           .train_iterations = 10,
                           .world_size = 8,
                           .device = "NVIDIA H200",
                           .peak_tflops = 989,
                           .options = {{"data_path", "a \"b\"\n"}, {"lr", "0.1"}}};
  EXPECT_EQ(json_of(record),
            R"({"kind":"start","time":"now","iteration":5,"consumed_samples":20,"train_iterations":10,"world_size":8,)"
            R"("device":"NVIDIA H200","peak_tflops":989,"options":{"data_path":"a \"b\"\u000a","lr":"0.1"}})");
}

TEST(LogJson, SavesAndLoads) {
  TransferRecord record{
      .kind = TransferRecord::Kind::save, .timestamp = "now", .iteration = 5, .seconds = 2, .bytes = 3e9};
  EXPECT_EQ(json_of(record), R"({"kind":"save","time":"now","iteration":5,"seconds":2,"bytes":3000000000})");
  EXPECT_EQ(format_transfer(record), "  saved 3 GB in 2 s (1.5 GB/s)");
  record.seconds_waited = 0.25;
  EXPECT_EQ(format_transfer(record), "  saved 3 GB in 2 s (1.5 GB/s), for which training waited 0.25 s");
  record = {.kind = TransferRecord::Kind::load, .timestamp = "now", .iteration = 5, .seconds = 0, .bytes = 1234};
  EXPECT_EQ(json_of(record), R"({"kind":"load","time":"now","iteration":5,"seconds":0,"bytes":1234})");
  EXPECT_EQ(format_transfer(record), "  loaded 1.23e-06 GB in 0 s");
}

}  // namespace
}  // namespace ringtron
