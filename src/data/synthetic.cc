#include "data/synthetic.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "data/grammar.h"
#include "data/synthetic_rules.h"
#include "data/synthetic_words.h"

namespace chunkllm {
namespace {

// The variables of the grammar, and where their values stand.
enum Variable : size_t { kWho, kHe, kHim, kHis, kWas, kOther, kOhe, kThird, kHouse };
enum Style : size_t { kLq = kHouse + 1, kRq, kLi, kRi, kDash, kSep, kVariables };
constexpr std::array<std::string_view, kVariables> kVariableNames = {
    "who",   "he", "him", "his", "was", "other", "ohe", "third",
    "house", "lq", "rq",  "li",  "ri",  "dash",  "sep"};

struct Pronouns {
  std::string_view he, him, his, was;
};
constexpr Pronouns kMale = {"he", "him", "his", "was"};
constexpr Pronouns kFemale = {"she", "her", "her", "was"};
constexpr Pronouns kNarrator = {"I", "me", "my", "was"};
constexpr Pronouns kSeveral = {"they", "them", "their", "were"};

struct Person {
  std::string name;  // as the story calls this person
  Pronouns pronouns;
};

// Quotation marks: outer left and right, inner left and right.
using Quotes = std::array<std::string_view, 4>;
constexpr Quotes kStraight = {"\"", "\"", "'", "'"};
constexpr Quotes kSingle = {"'", "'", "\"", "\""};
constexpr Quotes kCurly = {"“", "”", "‘", "’"};

const Grammar& grammar() {
  static constexpr std::array<std::span<const GrammarRule>, 3> kTables = {
      kSyntheticWords, kSyntheticPhrases, kSyntheticSentences};
  static const Grammar instance(kTables, kVariableNames);
  return instance;
}

// Breaks the paragraph's lines at spaces so that none exceeds `width` bytes, where words allow it.
std::string wrap(std::string_view paragraph, size_t width) {
  std::string wrapped;
  size_t column = 0;
  for (size_t begin = 0; begin < paragraph.size();) {
    const size_t end = std::min(paragraph.find(' ', begin), paragraph.size());
    const size_t next = std::min(paragraph.find_first_not_of(' ', end), paragraph.size());
    wrapped += paragraph.substr(begin, end - begin);
    column += end - begin;
    const size_t next_end = std::min(paragraph.find(' ', next), paragraph.size());
    if (next == paragraph.size()) break;
    if (column + (next_end - end) > width) {
      wrapped += '\n';
      column = 0;
    } else {
      wrapped += paragraph.substr(end, next - end);
      column += next - end;
    }
    begin = next;
  }
  return wrapped;
}

void replace_apostrophes(std::string& text) {
  std::string replaced;
  for (const char c : text) {
    if (c == '\'') {
      replaced += "’";
    } else {
      replaced += c;
    }
  }
  text = std::move(replaced);
}

class Writer {
 public:
  explicit Writer(Rng& rng)
      : rng_(rng), narration_(rule("narration")), essay_(rule("essay")), speech_(rule("speech")) {}

  std::string write(size_t n_bytes) {
    while (true) {
      if (chapters_left_-- == 0) begin_story();
      paragraph(make("heading"));
      for (int64_t left = 20 + rng_.below(40); left > 0; --left) {
        if (text_.size() >= n_bytes) return std::move(text_);
        passage();
      }
    }
  }

  std::string write_verse(size_t n_bytes) {
    begin_story();
    while (text_.size() < n_bytes) {
      set_any_subject();
      verse();
    }
    return std::move(text_);
  }

 private:
  static size_t rule(std::string_view name) { return grammar().rule(name); }
  bool chance(int64_t percent) { return rng_.below(100) < percent; }

  std::string make(std::string_view name) {
    std::string made;
    grammar().expand(rule(name), rng_, values_, made);
    return made;
  }

  Person make_person() {
    const bool is_female = chance(50);
    return {make(is_female ? "woman" : "man"), is_female ? kFemale : kMale};
  }

  // A new cast, place and manner.
  void begin_story() {
    chapters_left_ = rng_.below(2);
    is_essay_ = chance(15);
    const int64_t quoting = rng_.below(100);
    const Quotes& quotes = quoting < 70 ? kStraight : quoting < 82 ? kSingle : kCurly;
    for (size_t i = 0; i < quotes.size(); ++i) values_[kLq + i] = quotes[i];
    has_curly_apostrophes_ = quoting >= 82;
    values_[kDash] = chance(60) ? "--" : "—";
    values_[kSep] = chance(92) ? " " : "  ";
    wrap_width_ = chance(75) ? 0 : static_cast<size_t>(60 + rng_.below(16));
    values_[kHouse] = make("house_name");
    cast_.clear();
    if (chance(30)) cast_.push_back({"I", kNarrator});
    for (int64_t n = 3 + rng_.below(4); n > 0; --n) cast_.push_back(make_person());
    if (chance(50)) cast_.push_back({make("group"), kSeveral});
    set_subject(0);
  }

  // Who is spoken of, and two of the others.
  void set_subject(size_t subject) {
    subject_ = subject;
    const auto n = static_cast<int64_t>(cast_.size());
    const auto step = static_cast<size_t>(1 + rng_.below(n - 1));
    const Person& person = cast_[subject];
    const Person& other = cast_[(subject + step) % cast_.size()];
    values_[kWho] = person.name;
    values_[kHe] = person.pronouns.he;
    values_[kHim] = person.pronouns.him;
    values_[kHis] = person.pronouns.his;
    values_[kWas] = person.pronouns.was;
    // The narrator as object would need another case.
    const bool is_narrator = other.name == "I";
    values_[kOther] = is_narrator ? "somebody" : other.name;
    values_[kOhe] = is_narrator ? "he" : other.pronouns.he;
    values_[kThird] = make("titled");
  }

  void set_any_subject() {
    set_subject(static_cast<size_t>(rng_.below(static_cast<int64_t>(cast_.size()))));
  }

  // One to some dozen paragraphs that belong together.
  void passage() {
    const int64_t kind = rng_.below(100);
    set_any_subject();
    if (kind < (is_essay_ ? 3 : 38)) {
      exchange();
    } else if (kind < 97) {
      sentences(is_essay_ ? essay_ : narration_);
    } else if (kind < 98) {
      verse();
    } else {
      letter();
    }
  }

  // A paragraph of narration or reflection; its subject changes now and then.
  void sentences(size_t rule) {
    int64_t n = 1 + rng_.below(4) + rng_.below(4);
    if (chance(15)) n += rng_.below(10);
    std::string made;
    for (int64_t i = 0; i < n; ++i) {
      if (i > 0) {
        made += values_[kSep];
        if (chance(25)) set_any_subject();
      }
      grammar().expand(rule, rng_, values_, made);
    }
    paragraph(std::move(made));
  }

  // Two people talk in turns.
  void exchange() {
    const size_t first = subject_;
    const size_t second = (first + 1) % cast_.size();
    for (int64_t i = 0, n = 2 + rng_.below(8); i < n; ++i) {
      set_subject(i % 2 == 0 ? first : second);
      std::string made;
      grammar().expand(speech_, rng_, values_, made);
      paragraph(std::move(made));
    }
  }

  void verse() {
    std::string made;
    for (int64_t i = 0, n = 4 + 2 * rng_.below(3); i < n; ++i) {
      if (i > 0) made += '\n';
      made += make("verse");
    }
    finish(std::move(made));
  }

  void letter() {
    if (chance(60)) paragraph(make("dateline"));
    paragraph(make("greeting"));
    for (int64_t n = 1 + rng_.below(3); n > 0; --n) sentences(narration_);
    paragraph(make("closing"));
    paragraph(values_[kThird]);
  }

  void paragraph(std::string made) {
    finish(wrap_width_ > 0 ? wrap(made, wrap_width_) : std::move(made));
  }

  void finish(std::string made) {
    if (made.empty()) return;
    if (has_curly_apostrophes_) replace_apostrophes(made);
    if (!text_.empty()) text_ += '\n';
    text_ += made;
    text_ += '\n';
  }

  Rng& rng_;
  const size_t narration_, essay_, speech_;
  std::string text_;
  std::array<std::string, kVariables> values_;
  std::vector<Person> cast_;
  size_t subject_ = 0;
  int64_t chapters_left_ = 0;  // of this story
  bool is_essay_ = false;
  bool has_curly_apostrophes_ = false;
  size_t wrap_width_ = 0;  // bytes; 0 for one line a paragraph
};

}  // namespace

std::string make_verse(Rng& rng, int64_t n_bytes) {
  return n_bytes <= 0 ? std::string() : Writer(rng).write_verse(static_cast<size_t>(n_bytes));
}

std::string wrap_lines(std::string_view paragraph, size_t width) {
  std::string one_line(paragraph);
  std::ranges::replace(one_line, '\n', ' ');
  return wrap(one_line, width);
}

std::string make_text(Rng& rng, int64_t n_bytes) {
  if (n_bytes <= 0) return {};
  return Writer(rng).write(static_cast<size_t>(n_bytes));
}

}  // namespace chunkllm
