// A conversation selects the same whether it is held turn by turn or replayed at once.
#include "engine/conversation.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/generate.h"
#include "engine/needle_engine.h"
#include "engine/session_cases.h"
#include "testing/expect_error.h"
#include "testing/relative_error.h"
#include "testing/traced_chunk_policy.h"

namespace chunkllm {
namespace {

using test::needle_engine;
using test::small_budget;

// Three turns of prose with question marks and answers, as one prompt.
Prompt three_turns() {
  const Tokenizer& tokenizer = needle_engine().tokenizer();
  const auto prose = [&](uint64_t seed, size_t n_bytes) {
    Rng rng(seed);
    return make_text(rng, static_cast<int64_t>(n_bytes));
  };
  const std::vector<ChatMessage> messages{{"user", prose(1, 1600)},
                                          {"assistant", prose(2, 500)},
                                          {"user", prose(3, 700)},
                                          {"assistant", prose(4, 300)},
                                          {"user", prose(5, 200)}};
  return chat_prompt(tokenizer, needle_engine().chat_template(), messages);
}

// Held turn by turn: prompts in blocks, answers token by token.
std::vector<float> hold(Session& session, const Prompt& prompt) {
  int64_t begin = 0;
  for (size_t turn = 0; turn < prompt.ends.size(); ++turn) {
    const int64_t end = prompt.ends[turn] + 1;
    const int64_t last = end - begin - 1;
    session.prefill(
        std::span(prompt.ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
        {&last, 1});
    if (turn == prompt.answers.size()) break;
    const Range answer = prompt.answers[turn];
    EXPECT_EQ(answer.begin, end);
    for (int64_t t = answer.begin; t < answer.end; ++t) {
      session.decode(prompt.ids[static_cast<size_t>(t)]);
    }
    begin = answer.end;
  }
  const std::span<const float> logits = session.logits();
  return {logits.begin(), logits.end()};
}

// The selections that each layer made.
std::vector<std::vector<test::ChoiceKey>> selecting_refreshes(const test::SelectionTrace& trace) {
  std::vector<std::vector<test::ChoiceKey>> refreshes;
  for (const auto& [layer, choices] : trace.choices) {
    refreshes.emplace_back();
    for (const auto& [key, chunks] : choices) refreshes.back().push_back(key);
  }
  return refreshes;
}

class ReplayTest : public testing::TestWithParam<PrefillKind> {};

TEST_P(ReplayTest, OnePrefillSelectsAsTheConversationDidTurnByTurn) {
  const Prompt prompt = three_turns();
  ASSERT_EQ(prompt.ends.size(), 3u);
  ASSERT_EQ(prompt.answers.size(), 2u);
  test::SelectionTrace trace;
  Session held(needle_engine(), test::traced(small_budget(GetParam())));
  test::trace_of(held).record(&trace);
  const std::vector<float> expected = hold(held, prompt);
  ASSERT_LT(held.policy().rows_attended(3), 400) << "the selection must be one";
  ASSERT_GT(held.n_tokens(), 700);

  for (const int64_t block : {int64_t{512}, int64_t{37}}) {
    SessionOptions options = small_budget(GetParam());
    options.block_tokens = block;
    Session replayed(needle_engine(), test::traced(options));
    test::SelectionTrace own;
    test::TraceDifferences differences;
    auto& policy = test::trace_of(replayed);
    policy.record(&own);
    policy.replay(&trace, &differences);
    replayed.prefill(prompt.ids, prompt.ends, {}, nullptr, prompt.answers);
    EXPECT_EQ(selecting_refreshes(own), selecting_refreshes(trace)) << "blocks of " << block;
    EXPECT_LE(relative_error(replayed.logits(), expected), test::kLogitsError);
    EXPECT_LE(differences.largest_boundary_gap, test::kScoreGap);
    EXPECT_LE(differences.largest_score_gap, test::kScoreGap);
    for (int64_t layer = 0; layer < 6; ++layer) {
      EXPECT_EQ(replayed.policy().rows_attended(layer), held.policy().rows_attended(layer));
    }
    EXPECT_TRUE(std::ranges::equal(replayed.origins(), held.origins()));
  }
}

// The test above can fail: without its answers the prefill is another computation.
TEST_P(ReplayTest, AnswersMatter) {
  const Prompt prompt = three_turns();
  const auto selecting = [&](std::span<const Range> answers) {
    Session session(needle_engine(), test::traced(small_budget(GetParam())));
    test::SelectionTrace trace;
    test::trace_of(session).record(&trace);
    session.prefill(prompt.ids, prompt.ends, {}, nullptr, answers);
    return selecting_refreshes(trace);
  };
  EXPECT_NE(selecting(prompt.answers), selecting({}));
}

TEST_P(ReplayTest, GoingBackIntoAnAnswerGivesTheSame) {
  const Prompt prompt = three_turns();
  Session straight(needle_engine(), small_budget(GetParam()));
  const GenerateOptions options{.max_tokens = 1};
  generate(straight, needle_engine().tokenizer(), prompt, options);
  const std::vector<float> expected(straight.logits().begin(), straight.logits().end());
  Session session(needle_engine(), small_budget(GetParam()));
  generate(session, needle_engine().tokenizer(), prompt, options);
  for (const int64_t n :
       {prompt.answers[1].begin + 5, prompt.answers[0].end + 3, prompt.answers[0].begin + 9}) {
    session.truncate(n);
    const GenerateResult result = generate(session, needle_engine().tokenizer(), prompt, options);
    EXPECT_LE(result.cached_tokens, n);
    EXPECT_GT(result.cached_tokens, n - 160) << "the last chunk runs again";
    EXPECT_LE(relative_error(session.logits(), expected), test::kLogitsError) << "back to " << n;
    EXPECT_TRUE(std::ranges::equal(session.origins(), straight.origins()));
  }
}

INSTANTIATE_TEST_SUITE_P(Prefill, ReplayTest,
                         testing::Values(PrefillKind::kChunk, PrefillKind::kFull),
                         [](const auto& kind) {
                           return kind.param == PrefillKind::kChunk ? "Chunk" : "Full";
                         });

TEST(Conversation, KeepsTheTokensThatWereGenerated) {
  const Engine& engine = needle_engine();
  const Tokenizer& tokenizer = engine.tokenizer();
  Conversation conversation(engine, engine.chat_template());
  conversation.set_system("Be brief.");
  const Prompt first = conversation.prompt("Hello there.");
  EXPECT_EQ(first.ends.size(), 1u);
  EXPECT_EQ(first.ends[0], first.n_tokens() - 1);
  // Letters one by one are not how the tokenizer would write the word.
  std::vector<int32_t> ids;
  for (const char c : std::string("river")) {
    const std::vector<int32_t> letter = tokenizer.encode(std::string(1, c));
    ids.insert(ids.end(), letter.begin(), letter.end());
  }
  ASSERT_NE(ids, tokenizer.encode("river"));
  conversation.add("Hello there.", "river", ids);
  const Prompt second = conversation.prompt("And then?");
  ASSERT_GT(second.n_tokens(), first.n_tokens() + 5);
  EXPECT_TRUE(std::equal(first.ids.begin(), first.ids.end(), second.ids.begin()));
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), second.ids.begin() + first.n_tokens()));
  ASSERT_EQ(second.answers.size(), 1u);
  EXPECT_EQ(second.answers[0], (Range{first.n_tokens(), first.n_tokens() + 6}));
  const std::vector<int32_t> eos_ids = engine.eos_ids();
  const int32_t last = second.ids[static_cast<size_t>(second.answers[0].end - 1)];
  EXPECT_TRUE(std::ranges::find(eos_ids, last) != eos_ids.end()) << last;
  EXPECT_EQ(second.ends, (std::vector<int64_t>{first.n_tokens() - 1, second.n_tokens() - 1}));
  conversation.clear();
  EXPECT_EQ(conversation.prompt("Hello there.").ids, first.ids);
}

TEST(Conversation, OnlyWhatWasShownIsKept) {
  const Tokenizer& tokenizer = needle_engine().tokenizer();
  const std::vector<int32_t> ids = tokenizer.encode("The river was quiet that day.");
  const auto text_of = [&](std::span<const int32_t> list) { return tokenizer.decode(list); };
  for (const std::string shown :
       {"The river was quiet that day.", "The river was qu", "The", "", "The river w"}) {
    const std::vector<int32_t> kept = tokens_of_shown(tokenizer, ids, shown);
    EXPECT_EQ(text_of(kept), shown);
  }
  EXPECT_EQ(tokens_of_shown(tokenizer, ids, "The river was quiet that day."), ids);
  // A character cut in two was not shown; nor was a marker after the text.
  std::vector<int32_t> longer = tokenizer.encode("caf\xc3\xa9");
  std::vector<int32_t> cut = longer;
  const std::vector<int32_t> next = tokenizer.encode("\xe2\x82\xac");
  cut.push_back(next.front());
  cut.push_back(needle_engine().eos_ids().front());
  EXPECT_EQ(text_of(tokens_of_shown(tokenizer, cut, "caf\xc3\xa9")), "caf\xc3\xa9");
}

TEST(Conversation, AnInterruptedAnswerIsHistoryAsFarAsItWasShown) {
  const Engine& engine = needle_engine();
  const Tokenizer& tokenizer = engine.tokenizer();
  Rng rng(3);
  const std::string user = make_text(rng, 1500);
  for (const size_t n_shown_bytes : {size_t{1}, size_t{17}, size_t{40}}) {
    Conversation conversation(engine, engine.chat_template());
    Session session(engine, small_budget());
    const Prompt first = conversation.prompt(user);
    CancelToken cancel;
    std::string shown;
    const auto stop_early = [&](std::string_view text) {
      shown += text;
      if (shown.size() >= n_shown_bytes) cancel.request();
    };
    GenerateOptions options{.max_tokens = 200, .sampling = {.temperature = 1.0, .seed = 4}};
    options.stops = {"no such text, but its begin is held back"};
    options.ignores_turn_end = true;  // the answer is long enough to be interrupted
    expect_error(ErrorCode::kInterrupted, "interrupted",
                 [&] { generate(session, tokenizer, first, options, stop_early, {}, &cancel); });
    const auto ids = session.tokens().subspan(first.ids.size());
    ASSERT_FALSE(ids.empty());
    conversation.add(user, shown, ids);

    const Prompt second = conversation.prompt("And then?");
    ASSERT_EQ(second.answers.size(), 1u);
    const Range answer = second.answers[0];
    EXPECT_EQ(tokenizer.decode(std::span(second.ids)
                                   .subspan(static_cast<size_t>(answer.begin),
                                            static_cast<size_t>(answer.size() - 1))),
              shown);
    Session fresh(engine, small_budget());
    const GenerateResult expected = generate(fresh, tokenizer, second, {.max_tokens = 1});
    const GenerateResult result = generate(session, tokenizer, second, {.max_tokens = 1});
    EXPECT_EQ(expected.cached_tokens, 0);
    EXPECT_GT(result.cached_tokens, first.n_tokens() - 160) << "the last chunk runs again";
    EXPECT_TRUE(std::ranges::equal(session.tokens(), second.ids));
    EXPECT_LE(relative_error(session.logits(), fresh.logits()), test::kLogitsError);
  }
}

TEST(Messages, AreCheckedOneByOne) {
  const auto parse = [](const std::string& text) {
    return parse_messages(nlohmann::ordered_json::parse(text), "m.json");
  };
  const auto messages = parse(R"([{"role":"system","content":"s"},{"role":"user","content":"u"}])");
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[1].content, "u");
  EXPECT_TRUE(messages[1].given.is_null());
  const auto more = parse(
      R"([{"role":"user","content":"u","name":"n","note":"x"},
          {"content":null,"role":"assistant","reasoning_content":"r"},
          {"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f"}}]},
          {"role":"tool","content":"t","tool_call_id":"c","name":null}])");
  ASSERT_EQ(more.size(), 4u);
  EXPECT_EQ(more[0].given.dump(), R"({"role":"user","content":"u","name":"n","note":"x"})");
  EXPECT_EQ(more[1].given.dump(), R"({"content":null,"role":"assistant","reasoning_content":"r"})");
  EXPECT_FALSE(more[2].given.contains("content"));
  EXPECT_EQ(more[3].content, "t");
  const std::vector<std::pair<std::string, std::string>> bad{
      {"[]", "holds no message"},
      {"{}", "array"},
      {"[3]", "message 1"},
      {R"([{"role":"user"}])", "content"},
      {R"([{"role":"user","content":3}])", "content"},
      {R"([{"role":"critic","content":"x"}])", "message 1: the role \"critic\""},
      {R"([{"role":"user","content":"x","count":3}])", "\"count\" must be a string"},
      {R"([{"role":"user","content":"x","tool_calls":{}}])", "\"tool_calls\" must be an array"},
      {R"([{"role":"user","content":[{"type":"text","text":"x"}]}])", "must be a string"},
      {R"([{"role":"assistant","tool_calls":null}])", "content"},
      {R"([{"role":"user","content":"x","tool_calls":[{}]}])", "tool_calls must hold"},
      {R"([{"role":"user","content":"x","tool_calls":[{"function":5}]}])", "tool_calls must hold"},
      {R"([{"role":"user","content":"x"},{"role":"assistant","content":"y"}])", "the user's"}};
  for (const auto& [text, part] : bad) {
    expect_error(ErrorCode::kData, part, [&, &given = text] { parse(given); });
  }
}

}  // namespace
}  // namespace chunkllm
