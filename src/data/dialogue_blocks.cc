// Dialogue: scripts and chat logs.

#include <fmt/core.h>

#include <algorithm>

#include "data/block_items.h"

namespace chunkllm {
namespace {

using Text = std::string_view;

// What somebody says about an object {k}: {v} is what is asked for.
struct Statement {
  Text line;
  Text value_rule;
  Text question;  // {a} is the speaker
  Text held_out;
};
constexpr Statement kStatements[] = {
    {"I left the {k} {v}.", "spot", "Where did {a} leave the {k}?",
     "In the conversation above, {a} tells where the {k} is. Where is it?"},
    {"You can find the {k} {v}.", "spot", "What did {a} say about the {k}?",
     "Please repeat what {a} told the others about the {k}."},
    {"The {k} costs {v} dollars.", "number3", "What does the {k} cost, as {a} says?",
     "Which price of the {k} is named by {a} in the conversation?"},
    {"I sold the {k} to {v}.", "person", "To whom did {a} sell the {k}?",
     "Who bought the {k} from {a}?"},
    {"The number on the {k} is {v}.", "number5", "What did {a} say about the {k}?",
     "Which number has {a} read on the {k}?"},
    {"They will bring the {k} from {v}.", "city", "According to {a}, where does the {k} come from?",
     "From which city will the {k} be brought, as {a} says?"},
    {"We need the {k} at {v}.", "time", "When is the {k} needed, as {a} says?",
     "At what time do they need the {k}? {a} mentions it."},
};
constexpr Text kAnswers[] = {"{v}.", "{v}", "{a} said: \"{k}\"", "{a} said that it was {v}."};

struct Script {
  int64_t style = 0;
  int64_t minute = 0;

  std::string line(Rng& rng, const std::string& speaker, const std::string& said) {
    minute += rng.below(3);
    std::string upper = speaker;
    for (char& c : upper) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    switch (style) {
      case 0:
        return fmt::format("{}: {}\n", upper, said);
      case 1:
        return fmt::format("{}: {}\n", speaker, said);
      case 2:
        return fmt::format("[{:02}:{:02}] {}: {}\n", minute / 60 % 24, minute % 60, speaker, said);
      case 3:
        return fmt::format("**{}**: {}\n", speaker, said);
      default:
        return fmt::format("{}. {}\n", upper, said);
    }
  }
};

}  // namespace

TaskDocument make_dialogue_block(Rng& rng, Forms forms, int64_t n_bytes, int64_t n_questions) {
  const std::vector<std::string> sentences = make_sentences(rng, n_bytes * 4);
  TakenNames taken;
  std::vector<std::string> speakers;
  for (int64_t n = 2 + rng.below(4); n > 0; --n) {
    speakers.push_back(make_new_value(rng, rng.below(2) == 0 ? "first_f" : "first_m", taken));
  }
  const auto any_speaker = [&]() -> const std::string& {
    return speakers[static_cast<size_t>(rng.below(std::ssize(speakers)))];
  };
  Script script{rng.below(5), rng.below(1440)};
  // A fact now and then, so that there are more than are asked for.
  const int64_t n_facts = n_questions + rng.below(4);
  std::vector<BlockItem> items;
  size_t next = 0;
  int64_t n_made = 0;
  for (int64_t size = 0; size < n_bytes || n_made < n_facts;) {
    const std::string& speaker = any_speaker();
    std::string said;
    for (int64_t n = 1 + rng.below(3); n > 0; --n) {
      said += (said.empty() ? "" : " ") + sentences[next++ % sentences.size()];
    }
    BlockItem item;
    const int64_t lines_left = std::max<int64_t>((n_bytes - size) / 120, 1);
    if (rng.below(lines_left) < n_facts - n_made) {
      const Statement& statement = pick_of(rng, kStatements);
      const std::string object = make_new_value(rng, "words", taken);
      const std::string value = make_new_value(rng, statement.value_rule, taken);
      const std::string fact = fill_form(statement.line, {}, object, value);
      said = rng.below(2) == 0 ? fact : said + " " + fact;
      const Text form = forms == Forms::kTraining ? statement.question : statement.held_out;
      const Text answer = pick_of(rng, kAnswers);
      item.question = {TaskKind::kDialogue,
                       fill_form(form, speaker, object, {}),
                       fill_form(answer, speaker, fact, value),
                       {value}};
      ++n_made;
    }
    item.text = script.line(rng, speaker, said);
    size += std::ssize(item.text);
    items.push_back(std::move(item));
  }
  return join_items(rng, "", items, "", n_questions);
}

}  // namespace chunkllm
