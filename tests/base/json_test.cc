#include "base/json.h"

#include <string>
#include <vector>

#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

std::string nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, KeepsEveryKindOfValue) {
  const auto value =
      parse_json(R"( {"a": [1, -2, 0.5, true, null, "\u00e9"], "b": {"c": {}}} )", "x");
  EXPECT_EQ(value.dump(), "{\"a\":[1,-2,0.5,true,null,\"\xc3\xa9\"],\"b\":{\"c\":{}}}");
  EXPECT_TRUE(value["a"][0].is_number_unsigned());
  EXPECT_TRUE(value["a"][1].is_number_integer());
  EXPECT_EQ(parse_json("7", "x"), 7);
}

TEST(Json, OrderedObjectsKeepTheOrderOfTheText) {
  const std::string text = R"({"b":1,"a":{"d":[{"z":0,"y":1}],"c":2},"0":null})";
  EXPECT_EQ(parse_ordered_json(text, "x").dump(), text);
  EXPECT_NE(parse_json(text, "x").dump(), text);
  expect_error(ErrorCode::kData, "stands twice",
               [] { parse_ordered_json(R"({"a":1,"a":2})", "x"); });
  expect_error(ErrorCode::kData, "deeper", [] { parse_ordered_json(nested(65), "x"); });
  // Each member is compared with those before: their number is limited, so that none takes long.
  const auto members = [](int n) {
    std::string object = "{\"first\":0";
    for (int i = 1; i < n; ++i) object += ",\"" + std::to_string(i) + "\":0";
    return object + "}";
  };
  EXPECT_EQ(parse_ordered_json(members(1024), "x").size(), 1024u);
  expect_error(ErrorCode::kData, "1024 members", [&] { parse_ordered_json(members(1025), "x"); });
  EXPECT_EQ(parse_json(members(1025), "x").size(), 1025u);
}

TEST(Json, SameKeyInDifferentObjectsIsFine) {
  EXPECT_EQ(parse_json(R"({"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]})", "x")["b"][1]["a"], 3);
}

TEST(Json, RefusesWhatIsNotOneValue) {
  for (const std::string text :
       {"", " ", "{", "[1,]", "{\"a\":1,}", "{a:1}", "1 2", "{} x", "nul", "01", "1e9999", "NaN",
        "'a'", "\"\xff\"", "\"\x01\"", "\"\\ud800\""}) {
    expect_error(ErrorCode::kData, "file.json", [&] { parse_json(text, "file.json"); });
  }
  expect_error(ErrorCode::kData, "", [] { parse_json(std::string_view("1\0", 2), "x"); });
}

TEST(Json, SaysWhereOnce) {
  const auto message = [](const std::string& text) {
    try {
      parse_json(text, "items.jsonl, line 7");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message("{\"a\": x}").find("line 1"), std::string::npos) << message("{\"a\": x}");
  EXPECT_NE(message("{\"a\": x}").find("line 7 is not valid JSON (byte 7): syntax error"),
            std::string::npos)
      << message("{\"a\": x}");
  EXPECT_NE(message("{\n\"a\": x}").find("line 2, column"), std::string::npos);
}

TEST(JsonFields, RefusalsEndWithTheAdvice) {
  const auto object = parse_json(R"({"n": 7, "nothing": null, "text": "x"})", "x");
  const JsonFields fields(object, "file.json", "copy it again");
  expect_error(ErrorCode::kData, "file.json: \"n\" is 7, outside 0 to 6; copy it again",
               [&] { fields.integer("n", 0, 6); });
  expect_error(ErrorCode::kData, "\"nothing\" is null; copy it again",
               [&] { fields.string("nothing"); });
  expect_error(ErrorCode::kData, "\"none\" is missing; copy it again", [&] { fields.at("none"); });
  expect_error(ErrorCode::kData, "must be true or false, found string; copy it again",
               [&] { fields.boolean_or("text", false); });
  EXPECT_FALSE(fields.has("nothing"));
  EXPECT_EQ(fields.integer_or("nothing", 0, 1, 5), 5);
}

TEST(Json, EveryCutOfATextIsRefused) {
  const std::string text = R"({"a": [1, {"b": "c"}], "d": -1.5e3, "e": [true, null]})";
  ASSERT_NO_THROW(parse_json(text, "x"));
  for (size_t n = 0; n < text.size(); ++n) {
    expect_error(ErrorCode::kData, "x", [&] { parse_json(text.substr(0, n), "x"); });
  }
}

TEST(Json, RefusesAKeyThatStandsTwice) {
  expect_error(ErrorCode::kData, "\"size\" stands twice",
               [] { parse_json(R"({"size": 1, "b": {}, "size": 1})", "x"); });
  expect_error(ErrorCode::kData, "twice", [] { parse_json(R"([{"a": {"b": 1, "b": 2}}])", "x"); });
}

TEST(Json, NestingIsLimited) {
  EXPECT_NO_THROW(parse_json(nested(64), "x"));
  expect_error(ErrorCode::kData, "deeper than 64", [] { parse_json(nested(65), "x"); });
  expect_error(ErrorCode::kData, "deeper", [] { parse_json(std::string(10'000'000, '['), "x"); });
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  expect_error(ErrorCode::kData, "deeper", [&] { parse_json(objects, "x"); });
}

TEST(Json, MessagesShowLittleOfHostileText) {
  const std::string text = "\"" + std::string(100'000, 'a') + "\n\xff";
  try {
    parse_json(text, "x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_LT(std::string(error.what()).size(), 400u);
  }
  expect_error(ErrorCode::kData, "\"a\\nb\"", [] { parse_json(R"({"a\nb": 1, "a\nb": 2})", "x"); });
  EXPECT_EQ(show_text("a\nb\xc3\xa9"), R"("a\nb\u00e9")");
  EXPECT_LT(show_text(std::string(1000, '\xff')).size(), 600u);
}

TEST(JsonFile, ReadsAFileWithinItsLimit) {
  const TempFolder folder;
  write_text(folder / "a.json", "{\"a\": 1}");
  EXPECT_EQ(read_json_file(folder / "a.json", 8)["a"], 1);
  expect_error(ErrorCode::kData, "a.json has 8 bytes",
               [&] { read_json_file(folder / "a.json", 7); });
}

TEST(JsonFile, NamesAPathThatCannotBeRead) {
  const TempFolder folder;
  expect_error(ErrorCode::kIo, "none.json", [&] { read_json_file(folder / "none.json"); });
  expect_error(ErrorCode::kIo, "not a regular file", [&] { read_json_file(folder.path()); });
  expect_error(ErrorCode::kIo, "not a regular file", [] { read_json_file("/dev/zero"); });
}

class JsonFieldsTest : public testing::Test {
 protected:
  const nlohmann::json object_ = parse_json(
      R"({"n": 5, "negative": -3, "huge": 18446744073709551615, "half": 0.5, "whole": 2.0,
          "yes": true, "text": "abc", "null": null, "list": [1]})",
      "x");
  const JsonFields fields_{object_, "config.json"};
};

TEST_F(JsonFieldsTest, ReadsFieldsOfTheirType) {
  EXPECT_EQ(fields_.integer("n", 5, 5), 5);
  EXPECT_EQ(fields_.integer("negative", -10, 0), -3);
  EXPECT_EQ(fields_.number("half", 0, 1), 0.5);
  EXPECT_EQ(fields_.number("n", 0, 10), 5.0);
  EXPECT_EQ(fields_.string("text"), "abc");
  EXPECT_TRUE(fields_.boolean_or("yes", false));
  EXPECT_EQ(fields_.at("list").size(), 1u);
  EXPECT_TRUE(fields_.has("n"));
}

TEST_F(JsonFieldsTest, MissingAndNullTakeTheFallback) {
  for (const char* name : {"none", "null"}) {
    EXPECT_FALSE(fields_.has(name));
    EXPECT_EQ(fields_.integer_or(name, 0, 1, 77), 77);
    EXPECT_EQ(fields_.number_or(name, 0, 1, 7.5), 7.5);
    EXPECT_TRUE(fields_.boolean_or(name, true));
    EXPECT_EQ(fields_.string_or(name, "else"), "else");
    expect_error(ErrorCode::kData, name, [&] { fields_.at(name); });
    expect_error(ErrorCode::kData, name, [&] { fields_.integer(name, 0, 1); });
    expect_error(ErrorCode::kData, name, [&] { fields_.number(name, 0, 1); });
    expect_error(ErrorCode::kData, name, [&] { fields_.string(name); });
  }
}

TEST_F(JsonFieldsTest, RefusesOtherTypesAndValuesOutsideTheLimits) {
  const auto refused = [](const auto& action) {
    expect_error(ErrorCode::kData, "config.json: \"", action);
  };
  for (const char* name : {"half", "whole", "yes", "text", "list", "huge"}) {
    refused([&] { fields_.integer(name, INT64_MIN, INT64_MAX); });
    refused([&] { fields_.integer_or(name, INT64_MIN, INT64_MAX, 1); });
  }
  refused([&] { fields_.integer("n", 6, 10); });
  refused([&] { fields_.integer("n", 0, 4); });
  for (const char* name : {"yes", "text", "list"})
    refused([&] { fields_.number(name, -1e99, 1e99); });
  refused([&] { fields_.number("half", 0.6, 1); });
  refused([&] { fields_.number_or("half", 0, 0.4, 1); });
  for (const char* name : {"n", "text", "list"}) refused([&] { fields_.boolean_or(name, true); });
  for (const char* name : {"n", "yes", "list"}) refused([&] { fields_.string(name); });
  refused([&] { fields_.string_or("n", ""); });
}

TEST(JsonFields, RefusesWhatIsNoObject) {
  for (const char* text : {"[]", "1", "null", "\"a\""}) {
    const auto value = parse_json(text, "x");
    expect_error(ErrorCode::kData, "config.json", [&] { JsonFields(value, "config.json"); });
  }
}

}  // namespace
}  // namespace chunkllm
