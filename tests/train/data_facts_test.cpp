// What is said when a run goes on with other data than its checkpoint was made with.
#include "ringtron/train/data_facts.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const CorpusFacts kA{"a", 200, 20200, "1", "2", 16};
const CorpusFacts kB{"b", 100, 300, "3", "4", 16};

TEST(DataFacts, EqualContentIsSilent) {
  EXPECT_THAT(changed_data({kA, kB}, {kA, kB}), IsEmpty());
  EXPECT_THAT(changed_data({}, {kA}), IsEmpty()) << "a checkpoint from before there were any";
  CorpusFacts moved = kA;
  moved.path = "/elsewhere/a";
  EXPECT_THAT(changed_data({kA, kB}, {moved, kB}), IsEmpty());
  EXPECT_THAT(changed_data({kA}, {kA, kB}), IsEmpty()) << "the flags differ, and that is told";
  CorpusFacts other_sample = kA;
  other_sample.hashed_bytes = 1;
  other_sample.content_hash = "5";
  EXPECT_THAT(changed_data({kA}, {other_sample}), IsEmpty()) << "checksums of other bytes cannot be compared";
}

TEST(DataFacts, OtherContentIsToldWithBothNumbers) {
  CorpusFacts grown = kA;
  grown.documents = 250;
  grown.tokens = 25250;
  grown.index_hash = "9";
  EXPECT_THAT(
      changed_data({kB, kA}, {kB, grown}),
      ElementsAre(AllOf(HasSubstr("the corpus a has other content"), HasSubstr("200 documents with 20200 tokens then"),
                        HasSubstr("250 documents with 25250 tokens now"))));
  CorpusFacts edited = kA;
  edited.content_hash = "9";
  EXPECT_THAT(changed_data({kA}, {edited}), ElementsAre(HasSubstr("of another checksum")));
  edited.path = "/elsewhere/a";
  EXPECT_THAT(changed_data({kA}, {edited}), ElementsAre(HasSubstr("/elsewhere/a has other content than a had")));
}

TEST(DataFacts, ComeBackEqualAndRefuseTheRest) {
  const nlohmann::json right = {{"data", data_facts_to_json({kA, kB})}};
  const DataFacts back = data_facts_of_metadata(right);
  ASSERT_EQ(back.size(), 2u);
  EXPECT_THAT(changed_data(back, {kA, kB}), IsEmpty());
  EXPECT_EQ(back[1].tokens, 300);
  EXPECT_THAT(data_facts_of_metadata({{"iteration", 1}}), IsEmpty());
  for (const char* key : {"path", "documents", "tokens", "index_hash", "content_hash", "hashed_bytes"}) {
    nlohmann::json wrong = right;
    wrong["data"][0][key] = -1.5;
    EXPECT_THROW(data_facts_of_metadata(wrong), IoError) << key;
  }
  EXPECT_THROW(data_facts_of_metadata({{"data", 1}}), IoError);
}

}  // namespace
}  // namespace ringtron
