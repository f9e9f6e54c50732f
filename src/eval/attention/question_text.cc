#include "eval/attention/question_text.h"

#include <algorithm>
#include <string>
#include <vector>

namespace chunkllm {
namespace {

constexpr int64_t kBytesPerToken = 5;  // at the first try
constexpr TaskKind kAsked[] = {TaskKind::kNumber,   TaskKind::kWord,       TaskKind::kSentence,
                               TaskKind::kMultiKey, TaskKind::kMultiValue, TaskKind::kVariables};

std::vector<Task> draw_tasks(Rng& rng, int64_t n) {
  TakenNames taken;
  std::vector<Task> tasks;
  for (int64_t i = 0; i < n; ++i) {
    tasks.push_back(
        make_task(rng, kAsked[static_cast<size_t>(i) % std::size(kAsked)], Forms::kHeldOut, taken));
  }
  return tasks;
}

}  // namespace

QuestionTexts::QuestionTexts(const Engine& engine, const HaystackMaker& haystacks)
    : engine_(engine), haystacks_(haystacks) {
  if (haystacks.has_chat()) chat_ = engine.chat_template();
}

Prompt QuestionTexts::make(Rng& rng, int64_t ctx, int64_t n_questions) const {
  Prompt prompt;
  fit_to_tokens(rng, ctx, ctx * kBytesPerToken, [&](Rng& draw, int64_t n_bytes) {
    const std::string text = haystacks_.passage(draw, n_bytes);
    const std::vector<Task> tasks = draw_tasks(draw, n_questions);
    prompt = encode(
        hide_tasks(draw, std::string_view(text).substr(0, static_cast<size_t>(n_bytes)), tasks));
    return prompt.n_tokens();
  });
  return prompt;
}

Prompt QuestionTexts::encode(const TaskDocument& document) const {
  return chat_ ? encode_chat(document) : encode_plain(document);
}

Prompt QuestionTexts::encode_chat(const TaskDocument& document) const {
  std::vector<ChatMessage> messages;
  for (const TaskQuestion& question : document.questions) {
    if (messages.empty()) {
      messages.push_back({"user", document.text + "\n\n" + question.question});
    } else {
      messages.push_back({"user", question.question});
    }
    messages.push_back({"assistant", question.answer});
  }
  messages.pop_back();
  return chat_prompt(engine_.tokenizer(), *chat_, messages);
}

Prompt QuestionTexts::encode_plain(const TaskDocument& document) const {
  std::string whole = document.text;
  std::vector<Range> answers;  // bytes, of all questions but the last
  std::vector<int64_t> ends;   // bytes
  for (const TaskQuestion& question : document.questions) {
    if (!ends.empty()) {
      const auto& answered = document.questions[ends.size() - 1];
      whole += " " + answered.answer;
      answers.push_back({ends.back(), std::ssize(whole)});
    }
    whole += "\n\nQuestion: " + question.question + "\nAnswer:";
    ends.push_back(std::ssize(whole));
  }
  const std::vector<TokenSpan> spans = engine_.tokenizer().encode_with_offsets(
      whole, {.add_special_tokens = true, .parse_special = false});
  // The first token that ends after a byte.
  const auto token_after = [&](int64_t byte) {
    return std::ranges::upper_bound(spans, byte, {}, &TokenSpan::end) - spans.begin();
  };
  Prompt prompt;
  for (const TokenSpan& span : spans) prompt.ids.push_back(span.id);
  for (const int64_t end : ends) prompt.ends.push_back(token_after(end) - 1);
  for (const Range& answer : answers) {
    prompt.answers.push_back({token_after(answer.begin), token_after(answer.end)});
  }
  return prompt;
}

}  // namespace chunkllm
