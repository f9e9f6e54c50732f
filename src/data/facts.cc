#include "data/facts.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "base/error.h"
#include "data/grammar.h"
#include "data/synthetic_words.h"
#include "text/sentences.h"

namespace chunkllm {
namespace {

// Above the words of the synthetic text: subjects and values.
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

// Where facts can stand; at least one place.
std::vector<int64_t> places_in(std::string_view text) {
  std::vector<int64_t> places = sentence_places(text);
  if (places.empty()) places.push_back(std::ssize(text));
  return places;
}

// A text and the facts that are put into it, from left to right.
class FactWriter {
 public:
  explicit FactWriter(std::string_view text) : text_(text) {}

  // Puts a fact after the text's byte `place`, or behind the last fact; returns where it lies.
  int64_t add(std::string_view fact, int64_t place) {
    place = std::max(place, copied_);
    written_ += text_.substr(static_cast<size_t>(copied_), static_cast<size_t>(place - copied_));
    copied_ = place;
    if (!written_.empty() && written_.back() != '\n') written_ += ' ';
    const int64_t offset = std::ssize(written_);
    written_ += fact;
    return offset;
  }
  std::string finish() { return std::move(written_ += text_.substr(static_cast<size_t>(copied_))); }

 private:
  std::string_view text_;
  std::string written_;
  int64_t copied_ = 0;  // bytes of the text
};

}  // namespace

std::string make_value(Rng& rng, std::string_view rule) {
  std::string made;
  grammar().expand(grammar().rule(rule), rng, {}, made);
  return made;
}

std::vector<int64_t> sentence_places(std::string_view text) {
  std::vector<int64_t> places;
  for (const int64_t end : sentence_ends(text)) {
    if (suits(text, static_cast<size_t>(end))) places.push_back(end);
  }
  return places;
}

std::string hide_facts(std::string_view text, const std::vector<std::string>& facts, Rng& rng,
                       std::vector<int64_t>* offsets) {
  if (offsets) offsets->clear();
  if (facts.empty()) return std::string(text);
  const std::vector<int64_t> places = places_in(text);
  const auto n = static_cast<int64_t>(facts.size());
  const auto size = static_cast<int64_t>(text.size());
  FactWriter writer(text);
  for (int64_t i = 0; i < n; ++i) {
    const auto first = std::lower_bound(places.begin(), places.end(), size * i / n);
    const auto last = std::lower_bound(first, places.end(), size * (i + 1) / n);
    int64_t place = places.back();
    if (first < last) {
      place = first[rng.below(last - first)];
    } else if (first != places.end()) {
      place = *first;
    }
    const int64_t offset = writer.add(facts[static_cast<size_t>(i)], place);
    if (offsets) offsets->push_back(offset);
  }
  return writer.finish();
}

std::string hide_facts_at(std::string_view text, const std::vector<std::string>& facts,
                          const std::vector<double>& depths, std::vector<Range>* hidden) {
  if (depths.size() != facts.size()) {
    fail(ErrorCode::kInvalidArgument, "{} facts cannot lie at {} depths", facts.size(),
         depths.size());
  }
  if (hidden) hidden->clear();
  if (facts.empty()) return std::string(text);
  const std::vector<int64_t> places = places_in(text);
  struct Placed {
    int64_t place = 0;
    const std::string* fact = nullptr;
  };
  std::vector<Placed> placed;
  for (size_t i = 0; i < facts.size(); ++i) {
    const auto wanted = static_cast<int64_t>(depths[i] * static_cast<double>(text.size()));
    auto place = std::lower_bound(places.begin(), places.end(), wanted);
    if (place == places.end() ||
        (place != places.begin() && wanted - place[-1] <= *place - wanted)) {
      --place;
    }
    placed.push_back({*place, &facts[i]});
  }
  std::ranges::stable_sort(placed, {}, &Placed::place);
  FactWriter writer(text);
  for (const Placed& one : placed) {
    const int64_t offset = writer.add(*one.fact, one.place);
    if (hidden) hidden->push_back({offset, offset + std::ssize(*one.fact)});
  }
  return writer.finish();
}

}  // namespace chunkllm
