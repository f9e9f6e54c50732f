// Keys and values in a JSON object.

#include <algorithm>

#include "base/error.h"
#include "data/facts.h"
#include "data/ruler/ruler.h"

namespace chunkllm {
namespace {

struct Pair {
  std::string key;
  std::string value;
};

// Two words with a hyphen, or more where these are taken.
std::string make_word_key(Rng& rng, TakenNames& taken) {
  std::string key = make_value(rng, "hyphenated");
  while (!taken.insert(key).second) key += "-" + make_value(rng, "object");
  return key;
}

// "{" and a pair a line, as json.dumps() writes pairs.
std::string to_json(const std::vector<Pair>& pairs) {
  std::string text = "{";
  for (const Pair& pair : pairs) {
    if (text.size() > 1) text += ",\n ";
    text += fmt::format("\"{}\": \"{}\"", pair.key, pair.value);
  }
  return text + "}";
}

// The object as a paragraph of its own between two sentences.
std::string put_between(Rng& rng, const std::string& object, std::string_view passage) {
  const std::vector<int64_t> places = sentence_places(passage);
  const auto place = static_cast<size_t>(
      places.empty() ? std::ssize(passage)
                     : places[static_cast<size_t>(rng.below(std::ssize(places)))]);
  std::string_view after = passage.substr(place);
  after.remove_prefix(std::min(after.find_first_not_of(" \r\n\t"), after.size()));
  std::string text(passage.substr(0, place));
  if (!text.empty()) text += "\n\n";
  text += object;
  if (!after.empty()) text += "\n\n";
  return text += after;
}

}  // namespace

RulerText make_json_text(Rng& rng, const JsonPairs& settings, std::string_view passage,
                         int64_t n_bytes) {
  const bool is_inside = settings.n_pairs > 0;
  const int64_t n_least = is_inside ? settings.n_pairs : settings.n_questions;
  TakenNames keys;
  std::vector<Pair> pairs;
  const auto wants_more = [&](int64_t size_bytes) {
    return std::ssize(pairs) < n_least || (!is_inside && size_bytes < n_bytes);
  };
  for (int64_t size_bytes = 0; wants_more(size_bytes);) {
    Pair pair;
    if (settings.values == NeedleValue::kUuids) {
      pair.key = make_needle_value(rng, settings.values, keys);
    } else {
      pair.key = make_word_key(rng, keys);
    }
    TakenNames values;  // of this pair: another may have the same
    pair.value = make_needle_value(rng, settings.values, values);
    size_bytes += std::ssize(pair.key) + std::ssize(pair.value) + 9;
    pairs.push_back(std::move(pair));
  }
  const std::string object = to_json(pairs);
  RulerText text;
  if (is_inside) {
    text.text =
        "Extract the value corresponding to the specified key in the JSON object that stands in "
        "the text below.\n\nText:\n" +
        put_between(rng, object, passage);
  } else {
    text.text =
        "Extract the value corresponding to the specified key in the JSON object below.\n\nJSON "
        "data:\n" +
        object;
  }
  // Question i is about a pair in the i-th of so many equal parts.
  const int64_t n = std::ssize(pairs);
  const int64_t n_questions = std::min(settings.n_questions, n);
  for (int64_t i = 0; i < n_questions; ++i) {
    const int64_t begin = n * i / n_questions;
    const int64_t end = n * (i + 1) / n_questions;
    const Pair& pair = pairs[static_cast<size_t>(begin + rng.below(end - begin))];
    text.questions.push_back(
        {fmt::format("\n\nKey: \"{}\"\nCorresponding value:", pair.key), {}, {pair.value}});
  }
  shuffle(rng, text.questions);
  return text;
}

}  // namespace chunkllm
