#include "ringtron/tools/profile/profile_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "ringtron/tools/profile/chrome_trace.h"

namespace ringtron {
namespace {

using nlohmann::json;

TEST(Percentiles, AreValuesOfTheList) {
  std::vector<double> values(100);
  std::iota(values.rbegin(), values.rend(), 1.0);
  const Percentiles p = percentiles(values);
  EXPECT_EQ(p.p50, 50);
  EXPECT_EQ(p.p90, 90);
  EXPECT_EQ(p.p99, 99);
  EXPECT_EQ(p.least, 1);
  EXPECT_EQ(p.most, 100);
  EXPECT_EQ(percentiles({7.0}).p99, 7.0);
  EXPECT_EQ(percentiles({1.0, 2.0}).p50, 1.0);
}

TransportProfile some_transport() {
  TransportProfile p;
  p.transport = "p2p";
  p.layers = "0-3";
  p.planned = p.counted = {1024, 1024};
  p.step = {0.010, 0.011, 0.012, 0.009, 0.013};
  p.local_seconds = 0.008;
  p.transfer_seconds = 0.003;
  p.tflops = 1.5;
  return p;
}

TEST(ProfileReport, ATransferIsExposedOrHidden) {
  TransportProfile p = some_transport();
  EXPECT_NEAR(p.exposed_seconds(), 0.002, 1e-12);
  EXPECT_NEAR(p.hidden_seconds(), 0.001, 1e-12);
  p.local_seconds = 0.011;  // noise: a step cannot hide more than there is
  EXPECT_EQ(p.exposed_seconds(), 0.0);
  EXPECT_EQ(p.hidden_seconds(), p.transfer_seconds);
  p.local_seconds = 0.001;
  EXPECT_EQ(p.hidden_seconds(), 0.0);
}

TEST(ProfileReport, OtherBytesThanPlannedAreAFaultOfTheirRank) {
  CpProfile profile;
  profile.transports = {some_transport(), some_transport()};
  EXPECT_TRUE(byte_faults(profile).empty());
  profile.transports[1].transport = "a2a";
  profile.transports[1].counted = {1024, 1000};
  EXPECT_EQ(byte_faults(profile),
            std::vector<std::string>{"a2a: context-parallel rank 1 sent 1000 bytes, its plan has 1024"});
}

TEST(ProfileReport, JsonHoldsWhatTheTableShows) {
  CpProfile profile;
  profile.ranks = 2;
  profile.transports = {some_transport()};
  profile.choice = "p2p: why";
  const json all = json::parse(profile_json(profile));
  EXPECT_EQ(all.at("ranks"), 2);
  const json& p = all.at("transports").at(0);
  EXPECT_EQ(p.at("planned_bytes"), p.at("counted_bytes"));
  EXPECT_EQ(p.at("step_seconds").at("p90"), 0.011);
  EXPECT_NEAR(p.at("exposed_seconds").get<double>(), 0.002, 1e-12);
  const std::vector<std::string> table = profile_table(profile);
  EXPECT_NE(table[3].find("1.0 KiB = plan"), std::string::npos) << table[3];
  EXPECT_EQ(table.at(table.size() - 4), "auto: p2p: why");
}

TEST(ChromeTrace, EventsOfARankSurviveTheirText) {
  const std::vector<TraceEvent> events = {{"attend", "forward", 1, 0.25, 0.5, 0},
                                          {"exchange", "backward", -1, 1.0, 0.125, 1}};
  const std::vector<TraceEvent> back = trace_events_of(to_text(events));
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].name, "attend");
  EXPECT_EQ(back[1].pass, "backward");
  EXPECT_EQ(back[1].step, -1);
  EXPECT_EQ(back[1].duration, 0.125);
  EXPECT_EQ(back[1].lane, 1);
}

TEST(ChromeTrace, EveryRankHasATrackForWorkAndOneForMessages) {
  const TraceEvent attend{"attend", "forward", 0, 0.5, 0.25, 0}, exchange{"exchange", "forward", 0, 0.5, 0.125, 1};
  const json trace = json::parse(chrome_trace({{"p2p", {{attend, exchange}, {attend}}}}));
  std::vector<int> tracks;
  for (const json& event : trace.at("traceEvents")) {
    if (event.at("ph") != "X") continue;
    tracks.push_back(event.at("tid"));
    EXPECT_EQ(event.at("ts"), 0.5e6);
  }
  EXPECT_EQ(tracks, (std::vector<int>{0, 1, 2}));
}

TEST(ChromeTrace, MessagesThatOverlapHaveTracksOfTheirOwn) {
  const auto exchange = [](double begin, double duration) {
    return TraceEvent{"exchange", "forward", -1, begin, duration, 1};
  };
  const json trace =
      json::parse(chrome_trace({{"a2a", {{exchange(0, 2), exchange(1, 2), exchange(2, 1)}, {exchange(0, 1)}}}}));
  std::vector<int> tracks;
  for (const json& event : trace.at("traceEvents")) {
    if (event.at("ph") == "X") tracks.push_back(event.at("tid"));
  }
  EXPECT_EQ(tracks, (std::vector<int>{1, 2, 1, 4}));
}

}  // namespace
}  // namespace ringtron
