// What the report shows of a run: curves that keep their spikes, numbers, differences of two configurations.
#include "ringtron/tools/report/report_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "ringtron/tools/report/page_data.h"
#include "ringtron/tools/report/run_curves.h"
#include "ringtron/tools/report/run_facts.h"
#include "ringtron/tools/report/thin_out.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(ThinOut, KeepsSpikesGapsAndEnds) {
  std::vector<double> values(50'000, 1.0);
  values[12'345] = 100;
  values[12'347] = -100;
  values[30'000] = kNaN;
  const auto kept = thin_out(values, 100);
  EXPECT_LE(kept.size(), 302u);
  EXPECT_TRUE(std::ranges::is_sorted(kept));
  EXPECT_EQ(std::ranges::adjacent_find(kept), kept.end());
  for (const std::size_t i : {0, 12'345, 12'347, 30'000, 49'999}) EXPECT_EQ(std::ranges::count(kept, i), 1) << i;
  // Every n-th point, as a negative control, has lost them.
  EXPECT_NE(12'345 % (values.size() / 100), 0u);
}

TEST(ThinOut, FewPointsStayAll) {
  EXPECT_THAT(thin_out(std::vector<double>{3, 1, 2}, 1), ElementsAre(0, 1, 2));
  EXPECT_TRUE(thin_out({}, 10).empty());
}

TEST(MovingMean, LeavesOutWhatIsNoNumber) {
  const auto means = moving_mean(std::vector<double>{1, 2, kNaN, 6, 7}, 1);
  EXPECT_EQ(means[0], 1);  // an end stands for itself
  EXPECT_EQ(means[1], 1.5);
  EXPECT_TRUE(std::isnan(means[2]));
  EXPECT_EQ(means[3], 6.5);
  EXPECT_EQ(means[4], 7);
}

RunLog run_of(int steps, const std::string& name = "one") {
  RunLog run;
  run.name = name;
  run.options = {{"seq_length", "1024"}, {"lr", "1e-4"}};
  run.train_iterations = steps;
  run.world_size = 8;
  run.device = "NVIDIA H200";
  run.peak_tflops = 989;
  for (int i = 1; i <= steps; ++i) {
    run.steps[i] = {{"lm loss", 10.0 / i},
                    {"milliseconds_per_iteration", 500.0},
                    {"consumed_samples", 4.0 * i},
                    {"global_batch_size", 4},
                    {"tflops_per_gpu", 494.5},
                    {"loss_scale", 1},
                    {"memory_max_allocated_bytes", 1024.0 * 1024 * 1024 * 40}};
  }
  return run;
}

std::string fact(const std::vector<RunLog>& runs, const std::string& label, std::size_t run = 0) {
  for (const auto& [name, values] : facts_of(runs, std::nullopt))
    if (name == label) return values[run];
  return "absent";
}

TEST(Facts, OfOneRun) {
  const std::vector<RunLog> runs = {run_of(2000)};
  EXPECT_EQ(fact(runs, "Iterations"), "2,000 of 2,000");
  EXPECT_EQ(fact(runs, "Training loss"), "0.0050");
  EXPECT_EQ(fact(runs, "Time of a step"), "500 ms");
  EXPECT_EQ(fact(runs, "Time of all steps"), "16 min");
  EXPECT_EQ(fact(runs, "Tokens"), "8.19 M");
  EXPECT_EQ(fact(runs, "Tokens a second"), "8.19 K");
  EXPECT_EQ(fact(runs, "TFLOP/s a GPU"), "494.5 (50.0%)");
  EXPECT_EQ(fact(runs, "Memory"), "40 GiB");
  EXPECT_EQ(fact(runs, "Ranks"), "8 × NVIDIA H200");
  EXPECT_EQ(fact(runs, "Validation loss"), "absent");
  EXPECT_EQ(fact(runs, "Skipped iterations"), "absent");
}

TEST(Facts, OptionsAreComparedAsNumbersToo) {
  const std::string a = "1e-05", b = "0.00001", c = "0.0001", word = "cosine";
  EXPECT_TRUE(same_option(&a, &b));
  EXPECT_FALSE(same_option(&a, &c));
  EXPECT_FALSE(same_option(&a, &word));
  EXPECT_FALSE(same_option(&a, nullptr));
}

TEST(Charts, OnlyOfWhatThereIsAndChanges) {
  RunLog run = run_of(5);
  const auto titles = [&] {
    std::vector<std::string> out;
    for (const Chart& chart : charts_of({curves_of(run)}, false)) out.push_back(chart.title);
    return out;
  };
  EXPECT_THAT(titles(), ElementsAre("Loss", "Throughput", "Tokens", "Time of a step", "Memory"));
  run.steps[3]["loss_scale"] = 2;
  run.steps[3]["part forward-backward"] = 2;
  EXPECT_THAT(titles(),
              ElementsAre("Loss", "Throughput", "Tokens", "Time of a step", "Memory", "Loss scale", "Parts of a step"));
}

TEST(Page, SizeDoesNotGrowWithTheRunAndSpikesStay) {
  RunLog run = run_of(60'000);
  run.steps[31'234]["lm loss"] = 77.7;
  run.steps[40'000]["lm loss"] = kNaN;
  const std::vector<RunLog> runs = {std::move(run)};
  const std::string text = page_data(runs, std::nullopt);
  EXPECT_LT(text.size(), 1'000'000u);
  const Json loss = Json::parse(text)["runs"][0]["series"]["lm loss"];
  EXPECT_EQ(std::ranges::count(loss["y"], Json(77.7)), 1);
  EXPECT_EQ(std::ranges::count(loss["y"], Json(nullptr)), 1);
  EXPECT_EQ(loss["x"].size(), loss["y"].size());
}

TEST(Page, SeamsSkipsAndDifferences) {
  std::vector<RunLog> runs = {run_of(10), run_of(10, "</script><b>two")};
  runs[0].seams = {{5, 3}};
  runs[0].steps[7]["skipped_iterations"] = 1;
  runs[0].unread_lines = 1;
  runs[1].options = {{"lr", "2e-4"}, {"seq_length", "1024"}, {"other", "1"}};
  const Json data = Json::parse(page_data(runs, 1000.0));
  EXPECT_EQ(data["runs"][0]["marks"]["seams"][0]["iteration"], 5);
  EXPECT_EQ(data["runs"][0]["marks"]["skipped"], Json({7}));
  EXPECT_EQ(data["runs"][0]["notes"],
            Json({"went on from iteration 5; 3 log lines of before lay behind it and are left out",
                  "1 log line could not be read, or not to the end"}));
  EXPECT_EQ(data["peaks"], Json({1000.0, 1000.0}));
  std::vector<std::string> different;
  for (const Json& option : data["options"])
    if (option["differ"] == true) different.push_back(option["name"]);
  EXPECT_THAT(different, ElementsAre("lr", "other"));
  const std::string page = report_page(runs, std::nullopt);
  EXPECT_THAT(page, Not(HasSubstr("</script><b>")));
  EXPECT_THAT(page, HasSubstr("<title>Report: one, &lt;/script>&lt;b>two"));
  EXPECT_THAT(page, Not(HasSubstr("@DATA@")));
  for (const char* outside : {"src=", "href=", "@import", "url(http", "fetch("})
    EXPECT_THAT(page, Not(HasSubstr(outside)));
}

TEST(Page, ALogOfEvaluationsAlone) {
  RunLog run;
  run.evaluations = {{"test", 100, 3.5}};
  const std::vector<RunLog> runs = {run};
  const Json data = Json::parse(page_data(runs, std::nullopt));
  EXPECT_THAT(data["runs"][0]["notes"][0].get<std::string>(), HasSubstr("no steps"));
  EXPECT_EQ(data["charts"][0]["title"], "Loss");
}

}  // namespace
}  // namespace ringtron
