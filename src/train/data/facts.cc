#include "train/data/facts.h"

#include <fmt/core.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <span>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "text/sentences.h"
#include "train/data/grammar.h"
#include "train/data/synthetic_words.h"

namespace chunkllm {
namespace {

// Above the words of the synthetic text: subjects, values, and the attributes that have such
// values.
constexpr GrammarRule kFactRules[] = {
    {"person", "5*{first_f}|5*{first_m}|{first_f} {surname}|{first_m} {surname}"},
    {"quality",
     "amber|ancient|bold|bright|broken|calm|clever|cold|curious|distant|eager|early|faded|fierce|"
     "frozen|gentle|golden|happy|hidden|hollow|humble|icy|jolly|late|lively|lonely|lucky|mellow|"
     "misty|"
     "narrow|noble|pale|patient|proud|quick|quiet|rapid|rusty|secret|silent|silver|simple|slow|"
     "small|"
     "solid|steady|stormy|sunny|swift|tall|tender|tiny|vivid|warm|wild|wise|wooden|young"},
    {"object",
     "anchor|arrow|bell|branch|bridge|candle|canyon|castle|cedar|cloud|comet|compass|copper|"
     "crystal|"
     "desert|dragon|eagle|engine|falcon|feather|field|forest|fountain|garden|glacier|hammer|harbor|"
     "hill|island|jacket|kettle|ladder|lake|lantern|lemon|lion|maple|marble|meadow|mirror|mountain|"
     "ocean|orchard|owl|pebble|pencil|piano|planet|pocket|rabbit|raven|river|rocket|sail|shadow|"
     "ship|"
     "spoon|stone|sparrow|table|temple|thunder|tiger|tower|tree|tunnel|valley|violin|wagon|whale|"
     "wheel|willow|window|winter|wolf"},
    {"color", "amber|black|blue|brown|crimson|gold|gray|green|orange|pink|purple|red|silver|white"},
    {"city",
     "Amsterdam|Athens|Atlanta|Auckland|Austin|Baltimore|Bangkok|Barcelona|Berlin|Bogota|Boston|"
     "Brussels|Budapest|Cairo|Calgary|Chicago|Copenhagen|Dallas|Delhi|Denver|Detroit|Dresden|"
     "Dublin|"
     "Edinburgh|Florence|Frankfurt|Geneva|Glasgow|Hamburg|Hanoi|Havana|Helsinki|Houston|Istanbul|"
     "Jakarta|Kyoto|Lagos|Lima|Lisbon|Liverpool|London|Los Angeles|Lyon|Madrid|Manila|Marseille|"
     "Melbourne|Memphis|Mexico City|Miami|Milan|Montreal|Moscow|Mumbai|Munich|Nairobi|Naples|"
     "Nashville|New Orleans|New York|Osaka|Oslo|Ottawa|Oxford|Paris|Philadelphia|Phoenix|Portland|"
     "Porto|Prague|Quebec|Riga|Rome|Salzburg|San Diego|San "
     "Francisco|Santiago|Seattle|Seoul|Seville|"
     "Shanghai|Singapore|Sofia|Stockholm|Sydney|Tallinn|Tokyo|Toronto|Trieste|Turin|Vancouver|"
     "Venice|"
     "Vienna|Vilnius|Warsaw|Wellington|York|Zagreb|Zurich"},
    {"four", "{any_digit}{any_digit}{any_digit}{any_digit}"},
    {"number3", "{digit}{any_digit}{any_digit}"},
    {"number5", "{digit}{four}"},
    {"number7", "{digit}{four}{any_digit}{any_digit}"},
    {"code", "{color}-{digit}{any_digit}{any_digit}"},
    {"words", "{quality} {object}"},
    {"hyphenated", "{quality}-{object}"},
    {"hex_digit", "0|1|2|3|4|5|6|7|8|9|a|b|c|d|e|f"},
    {"hex4", "{hex_digit}{hex_digit}{hex_digit}{hex_digit}"},
    {"hex8", "{hex4}{hex4}"},
    {"minute", "0{digit}|1{any_digit}|2{any_digit}|3{any_digit}|4{any_digit}|5{any_digit}"},
    {"time", "{digit}:{minute}|1{any_digit}:{minute}|20:{minute}|21:{minute}|22:{minute}"},
    {"act",
     "buy fresh bread|climb the old tower|drink coffee|eat a sandwich|eat ice cream|feed the ducks|"
     "fly a kite|hear the choir sing|listen to the street musicians|look at the boats|paint the "
     "bridges|play chess|read a book|ride a bicycle|ride the ferry|take a long walk|visit the "
     "night market|walk barefoot|watch the birds|watch the ships come in|write letters"},
    {"spot",
     "along the canal|at the harbor|by the fountain|by the lake|by the river|in the old garden|in "
     "the "
     "park|in the square|near the cathedral|near the lighthouse|on the beach|on the hill|on the "
     "pier|"
     "under the chestnut trees"},
    {"moment",
     "after the rain|at dawn|at sunset|before breakfast|in the early morning|in the spring|late in "
     "the "
     "evening|on a clear night|on a quiet afternoon|on a sunny day|on a warm evening|when it "
     "snows"},
    {"phrase", "2*{act} {moment}|sit {spot} {moment}"},
};

const Grammar& grammar() {
  static constexpr std::array<std::span<const GrammarRule>, 2> kTables = {kSyntheticWords,
                                                                          kFactRules};
  static const Grammar instance(kTables, {});
  return instance;
}

struct Attribute {
  std::string_view name;
  std::string_view value;  // the rule that makes it
};
constexpr Attribute kNamedAfter[] = {
    {"secret code", "number5"}, {"secret code", "number5"}, {"phone number", "number7"},
    {"room number", "number3"}, {"secret key", "hex8"},     {"birthplace", "city"},
    {"departure time", "time"},
};
constexpr Attribute kPossessive[] = {
    {"access code", "code"},     {"access code", "code"},   {"secret code", "number5"},
    {"phone number", "number7"}, {"favorite city", "city"}, {"teacher", "first_f"},
};
// Of values of keys.
constexpr std::string_view kValues[] = {"number7", "number7", "hex8", "words"};

template <typename T, size_t n>
const T& pick(Rng& rng, const T (&list)[n]) {
  return list[rng.below(static_cast<int64_t>(n))];
}

struct SubjectFact {
  std::string subject;  // the person, place or key
  Fact fact;
};

SubjectFact make_subject_fact(Rng& rng, FactKind kind) {
  switch (kind) {
    case FactKind::kNamedAfter: {
      const Attribute& attribute = pick(rng, kNamedAfter);
      const std::string person = make_value(rng, "person");
      std::string value = make_value(rng, attribute.value);
      return {person,
              {fmt::format("The {} of {} is {}.", attribute.name, person, value),
               fmt::format("What is the {} of {}?", attribute.name, person), std::move(value)}};
    }
    case FactKind::kPossessive: {
      const Attribute& attribute = pick(rng, kPossessive);
      const std::string person = make_value(rng, "person");
      std::string value = make_value(rng, attribute.value);
      return {person,
              {fmt::format("{}'s {} is {}.", person, attribute.name, value),
               fmt::format("What is {}'s {}?", person, attribute.name), std::move(value)}};
    }
    case FactKind::kMagicNumber: {
      const std::string key = make_value(rng, "hyphenated");
      std::string value = make_value(rng, "number7");
      return {key,
              {fmt::format("One of the special magic numbers for {} is: {}.", key, value),
               fmt::format(
                   "What is the special magic number for {} mentioned in the provided text?", key),
               std::move(value)}};
    }
    case FactKind::kBestThing: {
      const std::string city = make_value(rng, "city");
      std::string value = make_value(rng, "phrase");
      return {city,
              {fmt::format("The best thing to do in {} is {}.", city, value),
               fmt::format("What is the best thing to do in {}?", city), std::move(value)}};
    }
    case FactKind::kKeyValue: {
      const std::string key = make_value(rng, "words");
      std::string value = make_value(rng, pick(rng, kValues));
      return {key,
              {fmt::format("\"{}\": \"{}\"", key, value),
               fmt::format("What is the value of the key \"{}\"?", key), std::move(value)}};
    }
  }
  fail(ErrorCode::kInvalidArgument, "there is no fact of kind {}", static_cast<int>(kind));
}

void check_count(const char* what, int64_t n, int64_t max) {
  if (n < 0 || n > max) {
    fail(ErrorCode::kInvalidArgument, "{} {} facts: choose 0 to {}", what, n, max);
  }
}

bool is_letter(char c) { return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z'); }

// Whether a sentence of its own can stand after the sentence that ends at `end`: that one ends in a
// full stop or the like (a heading does not), and what follows begins anew.
bool suits(std::string_view text, size_t end) {
  constexpr std::string_view kClosers[] = {"\"", "'", ")", "]", "”", "’"};
  std::string_view before = text.substr(0, end);
  for (bool closed = true; closed;) {
    closed = false;
    for (const std::string_view closer : kClosers) {
      if (before.ends_with(closer)) {
        before.remove_suffix(closer.size());
        closed = true;
      }
    }
  }
  if (!before.ends_with('.') && !before.ends_with('!') && !before.ends_with('?')) return false;

  std::string_view after = text.substr(end);
  if (after.empty() || (after[0] != ' ' && after[0] != '\n' && after[0] != '\r')) return false;
  const size_t begin = after.find_first_not_of(" \r\n\t");
  if (begin == std::string_view::npos) return false;
  // Up to a few marks may open the next sentence; its first letter tells.
  after = after.substr(begin, 8);
  if (std::string_view(",;:-)").find(after[0]) != std::string_view::npos) return false;
  const auto letter = std::find_if(after.begin(), after.end(), is_letter);
  return letter == after.end() || *letter < 'a';
}

}  // namespace

std::string make_value(Rng& rng, std::string_view rule) {
  std::string made;
  grammar().expand(grammar().rule(rule), rng, {}, made);
  return made;
}

bool is_sentence(FactKind kind) { return kind != FactKind::kKeyValue; }

Fact make_fact(Rng& rng) { return make_fact(rng, pick(rng, kFactKinds)); }

Fact make_fact(Rng& rng, FactKind kind) { return make_subject_fact(rng, kind).fact; }

std::vector<Fact> make_facts(Rng& rng, int64_t n) {
  check_count("cannot make", n, kMaxFacts);
  std::vector<Fact> facts;
  std::unordered_set<std::string> taken;  // subjects and answers
  // Ends: the keys alone are several thousand more than kMaxFacts.
  while (static_cast<int64_t>(facts.size()) < n) {
    SubjectFact made = make_subject_fact(rng, pick(rng, kFactKinds));
    if (taken.contains(made.subject) || taken.contains(made.fact.answer)) continue;
    taken.insert(std::move(made.subject));
    taken.insert(made.fact.answer);
    facts.push_back(std::move(made.fact));
  }
  return facts;
}

bool answer_matches(std::string_view generated, const Fact& fact) {
  const size_t begin = generated.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos || fact.answer.empty()) return false;
  generated.remove_prefix(begin);
  if (!generated.starts_with(fact.answer)) return false;
  generated = generated.substr(fact.answer.size(), U8_MAX_LENGTH);
  if (generated.empty()) return true;
  UChar32 next = 0;
  int32_t i = 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(generated.data());
  U8_NEXT(bytes, i, static_cast<int32_t>(generated.size()), next);
  return next < 0 || !u_isalnum(next);
}

std::vector<int64_t> sentence_places(std::string_view text) {
  std::vector<int64_t> places;
  for (const int64_t end : sentence_ends(text)) {
    if (suits(text, static_cast<size_t>(end))) places.push_back(end);
  }
  return places;
}

std::string hide_facts(std::string_view text, const std::vector<Fact>& facts, Rng& rng,
                       std::vector<int64_t>* offsets) {
  if (offsets) offsets->clear();
  std::string hidden;
  if (facts.empty()) return std::string(text);
  std::vector<int64_t> places = sentence_places(text);
  if (places.empty()) places.push_back(std::ssize(text));
  const auto n = static_cast<int64_t>(facts.size());
  const auto size = static_cast<int64_t>(text.size());
  int64_t copied = 0;  // bytes of `text` already in `hidden`
  for (int64_t i = 0; i < n; ++i) {
    const auto first = std::lower_bound(places.begin(), places.end(), size * i / n);
    const auto last = std::lower_bound(first, places.end(), size * (i + 1) / n);
    int64_t place = places.back();
    if (first < last) {
      place = first[rng.below(last - first)];
    } else if (first != places.end()) {
      place = *first;
    }
    place = std::max(place, copied);
    hidden += text.substr(static_cast<size_t>(copied), static_cast<size_t>(place - copied));
    copied = place;
    if (!hidden.empty() && hidden.back() != '\n') hidden += ' ';
    if (offsets) offsets->push_back(static_cast<int64_t>(hidden.size()));
    hidden += facts[static_cast<size_t>(i)].sentence;
  }
  return hidden += text.substr(static_cast<size_t>(copied));
}

RetrievalChat make_retrieval_chat(Rng& rng, std::string_view text, int64_t n_hidden,
                                  int64_t n_asked) {
  check_count("cannot hide", n_hidden, kMaxFacts);
  check_count("cannot ask for", n_asked, n_hidden);
  std::vector<Fact> facts = make_facts(rng, n_hidden);
  std::vector<int64_t> offsets;
  RetrievalChat chat;
  chat.document = hide_facts(text, facts, rng, &offsets);
  for (size_t i = 0; i < facts.size(); ++i) {
    chat.hidden.push_back(
        {offsets[i], offsets[i] + static_cast<int64_t>(facts[i].sentence.size())});
  }
  // The first n_asked steps of a shuffle.
  for (int64_t i = 0; i < n_asked; ++i) {
    const auto a = static_cast<size_t>(i);
    const auto b = static_cast<size_t>(i + rng.below(n_hidden - i));
    std::swap(facts[a], facts[b]);
    std::swap(offsets[a], offsets[b]);
    chat.asked.push_back(facts[a]);
    chat.asked_offsets.push_back(offsets[a]);
  }
  return chat;
}

std::string user_turn(const RetrievalChat& chat, size_t index) {
  if (index >= chat.asked.size()) {
    fail(ErrorCode::kInvalidArgument, "question {} of a chat that asks {}: count from 0", index,
         chat.asked.size());
  }
  return chat.document + "\n\n" + chat.asked[index].question;
}

}  // namespace chunkllm
