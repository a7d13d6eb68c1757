#include "ringtron/tools/json_line.h"

#include <gmock/gmock.h>

#include <string>

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The texts under "text"; {"FAULT"} and what was wrong for a line that is no document.
std::vector<std::string> texts(std::string_view line) {
  JsonLine json({"text"});
  if (!json.read(line)) return {"FAULT", json.fault()};
  return {json.texts(0).begin(), json.texts(0).end()};
}

TEST(JsonLine, ReadsWhatPythonReads) {
  EXPECT_THAT(texts(R"( {"text" : "a\n\u00e9\ud83d\ude00\/"} )"), ElementsAre("a\n\u00e9\U0001f600/"));
  EXPECT_THAT(texts(R"({"text":"first","text":"last"})"), ElementsAre("last"));
  EXPECT_THAT(texts(R"({"te\u0078t":"a"})"), ElementsAre("a"));
  EXPECT_THAT(texts("\xef\xbb\xbf{\"text\":\"a\"}\r"), ElementsAre("a"));
  EXPECT_THAT(texts(R"({"a":NaN,"b":-Infinity,"c":123456789012345678901234567890,"d":1e999,"text":"a"})"),
              ElementsAre("a"));
  EXPECT_THAT(texts(R"({"a":"\ud800","b":{"text":"inner"},"text":"a"})"), ElementsAre("a"));
  EXPECT_THAT(texts(R"({"text":["one",""," two"]})"), ElementsAre("one", "", " two"));
  EXPECT_THAT(texts(R"({"text":[ ]})"), IsEmpty());
  EXPECT_THAT(texts(R"({"text":"a\u0000b"})"), ElementsAre(std::string("a\0b", 3)));
}

TEST(JsonLine, HalvesOfSurrogatePairsAreCounted) {
  JsonLine json({"text"});
  ASSERT_TRUE(json.read(R"({"text":"\ud83dx\ude00\ud83d\ud83d\ude00","other":"\ud800"})"));
  EXPECT_EQ(json.texts(0)[0], "\ufffdx\ufffd\ufffd\U0001f600");
  EXPECT_EQ(json.lone_surrogates(), 3);
}

TEST(JsonLine, SaysWhatIsWrong) {
  const auto fault = [](std::string_view line) {
    JsonLine json({"text", "t"});
    return json.read(line) ? "none" : json.fault();
  };
  EXPECT_THAT(fault("[1]"), HasSubstr("expected a JSON object, got '[1]'"));
  EXPECT_THAT(fault(R"({"text":"a"})"), HasSubstr("under the key \"t\", which is missing"));
  EXPECT_THAT(fault(R"({"text":"a","t":null})"), HasSubstr("\"t\", which is null"));
  EXPECT_THAT(fault(R"({"text":"a","t":["a",1]})"), HasSubstr("a list of other things than text"));
  EXPECT_THAT(fault(R"({"text":"a","text":5,"t":""})"), HasSubstr("\"text\", which is a number"));
  EXPECT_THAT(fault(R"({"text":"a","t":"b"} x)"), HasSubstr("behind the object"));
  EXPECT_THAT(fault("{\"text\":\"a\tb\"}"), HasSubstr("byte 11 of the line: a control character"));
  EXPECT_THAT(fault("{\"text\":\"\xff\"}"), HasSubstr("no UTF-8"));
  EXPECT_THAT(fault("{\"text\":\"\xed\xa0\x80\"}"), HasSubstr("no UTF-8"));
  for (const char* broken :
       {"01", "1.", ".5", "+1", "tru", "nan", "[1,]", "{\"a\":1,}", "\"\\x\"", "\"\\u12g4\"", "'x'", "\"", ""}) {
    EXPECT_THAT(fault(std::string("{\"text\":\"a\",\"t\":\"b\",\"x\":") + broken + "}"),
                HasSubstr("expected a JSON object, but at byte"))
        << broken;
  }
  EXPECT_LT(fault(std::string(1 << 20, 'x')).size(), 200u);
}

TEST(JsonLine, AnyDepth) {
  const std::size_t depth = 1000000;
  const std::string deep = std::string(depth, '[') + std::string(depth, ']');
  EXPECT_THAT(texts("{\"x\":" + deep + ",\"text\":\"a\"}"), ElementsAre("a"));
  EXPECT_THAT(texts("{\"text\":" + deep + "}"), ElementsAre("FAULT", HasSubstr("a list of other things")));
  EXPECT_THAT(texts("{\"text\":\"a\",\"x\":" + std::string(depth, '[')),
              ElementsAre("FAULT", HasSubstr("expected a value")));
}

}  // namespace
}  // namespace ringtron
