#include "data/ruler/needles.h"

#include "base/error.h"
#include "data/block_items.h"
#include "data/facts.h"

namespace chunkllm {
namespace {

constexpr int64_t kOtherKeys = 3;  // of a multi-key question
constexpr int64_t kMany = 4;       // values of a key, or keys of a question

struct Needle {
  std::string text;
  double depth = 0;
};

// Adds the needles of one plan and returns its question.
TaskQuestion add_needles(Rng& rng, const NeedlePlan& plan, TakenNames& taken,
                         std::vector<Needle>& needles) {
  const auto new_key = [&] { return make_new_value(rng, "hyphenated", taken); };
  const auto new_value = [&] { return make_needle_value(rng, plan.value, taken); };
  const auto hide = [&](const std::string& key, const std::string& value, double depth) {
    needles.push_back({needle_sentence(plan.value, key, value), depth});
  };
  const double depth = static_cast<double>(plan.depth_percent) / 100;
  std::vector<std::string> keys = {new_key()};
  TaskQuestion question;
  switch (plan.kind) {
    case NeedleKind::kSingle:
    case NeedleKind::kMultiKey:
      question.expected = {new_value()};
      hide(keys[0], question.expected[0], depth);
      if (plan.kind == NeedleKind::kSingle) break;
      for (int64_t i = 0; i < kOtherKeys; ++i) hide(new_key(), new_value(), rng.uniform());
      break;
    case NeedleKind::kMultiValue:
      for (int64_t i = 0; i < kMany; ++i) {
        question.expected.push_back(new_value());
        hide(keys[0], question.expected.back(), rng.uniform());
      }
      break;
    case NeedleKind::kMultiQuery:
      for (int64_t i = 0; i < kMany; ++i) {
        if (i > 0) keys.push_back(new_key());
        question.expected.push_back(new_value());
        hide(keys.back(), question.expected.back(), rng.uniform());
      }
      break;
  }
  question.question = needle_question(plan.value, keys, question.expected.size());
  return question;
}

}  // namespace

std::string make_needle_value(Rng& rng, NeedleValue kind, TakenNames& taken) {
  switch (kind) {
    case NeedleValue::kNumbers:
      return make_new_value(rng, "number7", taken);
    case NeedleValue::kWords:
      return make_new_value(rng, "hyphenated", taken);
    case NeedleValue::kUuids: {
      const auto hex4 = [&] { return make_value(rng, "hex4"); };
      return make_new_value(rng, "hex8", taken) + "-" + hex4() + "-" + hex4() + "-" + hex4() + "-" +
             make_value(rng, "hex8") + hex4();
    }
  }
  return {};
}

std::string needle_sentence(NeedleValue kind, std::string_view key, std::string_view value) {
  return fmt::format("One of the special magic {} for {} is: {}.", enum_name(kind), key, value);
}

std::string needle_noun(NeedleValue kind, bool is_one) {
  std::string_view noun = enum_name(kind);
  if (is_one) noun.remove_suffix(1);
  return std::string(noun);
}

std::string list_of_keys(const std::vector<std::string>& keys) {
  std::string list;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i > 0) list += i + 1 == keys.size() ? ", and " : ", ";
    list += keys[i];
  }
  return list;
}

std::string needle_question(NeedleValue kind, const std::vector<std::string>& keys,
                            size_t n_values) {
  const bool is_one = n_values == 1;
  return fmt::format("What {} the special magic {} for {} mentioned in the provided text?",
                     is_one ? "is" : "are all", needle_noun(kind, is_one), list_of_keys(keys));
}

std::vector<NeedlePlan> plan_needles(const std::vector<NeedleKind>& kinds,
                                     const std::vector<NeedleValue>& values,
                                     const std::vector<int64_t>& depths, int64_t sample,
                                     int64_t n) {
  std::vector<NeedlePlan> plans;
  for (int64_t i = sample * n; i < (sample + 1) * n; ++i) {
    const auto turn = static_cast<size_t>(i) / kinds.size();
    plans.push_back({kinds[static_cast<size_t>(i) % kinds.size()],
                     values[turn / depths.size() % values.size()], depths[turn % depths.size()]});
    // Without a depth of its own every question is of another kind of value.
    if (!plans.back().has_depth()) plans.back().value = values[turn % values.size()];
  }
  return plans;
}

TaskDocument hide_needle_plans(Rng& rng, std::string_view text,
                               const std::vector<NeedlePlan>& plans) {
  TaskDocument document;
  TakenNames taken;
  std::vector<Needle> needles;
  for (const NeedlePlan& plan : plans) {
    document.questions.push_back(add_needles(rng, plan, taken, needles));
  }
  std::vector<std::string> facts;
  std::vector<double> depths;
  for (const Needle& needle : needles) {
    facts.push_back(needle.text);
    depths.push_back(needle.depth);
  }
  document.text = hide_facts_at(text, facts, depths, &document.hidden);
  return document;
}

}  // namespace chunkllm
