#include "engine/stop_strings.h"

#include <gtest/gtest.h>

#include "testing/expect_error.h"

namespace chunkllm {
namespace {

// What is shown of a text that comes in pieces of n bytes.
std::string shown_in_pieces(const std::vector<std::string>& stops, const std::string& text,
                            size_t n) {
  StopStrings filter(stops);
  std::string shown;
  for (size_t i = 0; i < text.size() && !filter.stop().has_value(); i += n) {
    shown += filter.push(text.substr(i, n));
  }
  return shown + filter.finish();
}

TEST(StopStrings, EndAtTheSamePlaceHoweverTheTextIsCut) {
  struct Case {
    std::vector<std::string> stops;
    std::string text;
    std::string shown;
  };
  const std::vector<Case> cases{
      {{}, "all of it", "all of it"},
      {{"###"}, "one ## two ### three", "one ## two "},
      {{"aab"}, "aaaab and more", "aa"},
      {{"end"}, "the e en en", "the e en en"},
      {{"bc", "abcd"}, "xabcd", "xa"},  // bc is complete first
      {{"c", "abc"}, "xabc", "x"},      // both at once: the longer
      {{"\nUser:"}, "Hello\nUser\nUser: more", "Hello\nUser"},
      {{"é"}, "caf\xc3\xa8 caf\xc3\xa9!", "caf\xc3\xa8 caf"},
      {{"x"}, "x", ""},
  };
  for (const Case& c : cases) {
    for (size_t n = 1; n <= c.text.size(); ++n) {
      EXPECT_EQ(shown_in_pieces(c.stops, c.text, n), c.shown) << c.text << " in pieces of " << n;
    }
  }
}

TEST(StopStrings, HoldBackNoMoreThanMayBecomeAStop) {
  StopStrings filter({"stop"});
  EXPECT_EQ(filter.push("a st"), "a ");
  EXPECT_EQ(filter.push("ay"), "stay");
  EXPECT_EQ(filter.push("sto"), "");
  EXPECT_EQ(filter.push("p it"), "");
  EXPECT_TRUE(filter.stop().has_value());
  EXPECT_EQ(filter.push("more"), "");
  EXPECT_EQ(filter.finish(), "");
}

TEST(StopStrings, RefuseWhatCannotBeMatched) {
  expect_error(ErrorCode::kInvalidArgument, "--stop is empty", [] { StopStrings({"a", ""}); });
  expect_error(ErrorCode::kInvalidArgument, "byte 1", [] { StopStrings({"a\xff"}); });
}

}  // namespace
}  // namespace chunkllm
