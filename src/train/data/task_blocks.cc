#include "train/data/task_blocks.h"

#include <fmt/core.h>

#include "base/error.h"
#include "train/data/facts.h"

namespace chunkllm {
namespace {

using Text = std::string_view;

template <size_t n>
Text pick(Rng& rng, const Text (&list)[n]) {
  return list[rng.below(static_cast<int64_t>(n))];
}

std::string make_uuid(Rng& rng) {
  const auto hex4 = [&] { return make_value(rng, "hex4"); };
  std::string uuid = make_value(rng, "hex8");
  for (int i = 0; i < 3; ++i) uuid += "-" + hex4();
  return uuid + "-" + hex4() + hex4() + hex4();
}

// "fill({}, x)": a form with its only place filled.
std::string fill(Text form, Text value) {
  std::string text(form);
  const size_t at = text.find("{}");
  return at == std::string::npos ? text : text.replace(at, 2, value);
}

constexpr Text kJsonQuestions[] = {
    "What is the value of the key \"{}\"?", "Which value does \"{}\" have?",
    "Give the value that belongs to \"{}\".", "Look up \"{}\" and answer with its value.",
    "What does the JSON object hold under \"{}\"?"};
constexpr Text kJsonHeldOut[] = {
    "Please read out what is stored for the key \"{}\" in the JSON data above. Answer with it "
    "alone."};
constexpr Text kJsonAnswers[] = {"{}", "\"{}\"", "{}.", "The value is \"{}\"."};

}  // namespace

TaskDocument make_json(Rng& rng, Forms forms, int64_t n_pairs, int64_t n_questions) {
  if (n_questions < 0 || n_questions > n_pairs) {
    fail(ErrorCode::kInvalidArgument, "cannot ask for {} of {} pairs", n_questions, n_pairs);
  }
  const bool has_uuids = forms == Forms::kHeldOut || rng.below(2) == 0;
  const auto make_key = [&] { return has_uuids ? make_uuid(rng) : make_value(rng, "words"); };
  constexpr Text kValueRules[] = {"number7", "hex8", "words", "city"};
  const Text value_rule = pick(rng, kValueRules);
  TaskDocument document;
  TakenNames taken;
  document.text = "{\n";
  // Questions are spread over the object, one a part.
  for (int64_t part = 0, made = 0; part < std::max<int64_t>(n_questions, 1); ++part) {
    const int64_t end = n_questions > 0 ? n_pairs * (part + 1) / n_questions : n_pairs;
    const int64_t asked = n_questions > 0 ? made + rng.below(end - made) : -1;
    for (; made < end; ++made) {
      std::string key = make_key();
      while (!taken.insert(key).second) key = make_key();
      const std::string value = has_uuids ? make_uuid(rng) : make_value(rng, value_rule);
      const int64_t begin = std::ssize(document.text);
      document.text +=
          fmt::format("  \"{}\": \"{}\"{}\n", key, value, made + 1 < n_pairs ? "," : "");
      if (made != asked) continue;
      document.hidden.push_back({begin, std::ssize(document.text)});
      const Text question =
          forms == Forms::kTraining ? pick(rng, kJsonQuestions) : pick(rng, kJsonHeldOut);
      document.questions.push_back(
          {TaskKind::kJson, fill(question, key), fill(pick(rng, kJsonAnswers), value), {value}});
    }
  }
  document.text += "}\n";
  return document;
}

}  // namespace chunkllm
