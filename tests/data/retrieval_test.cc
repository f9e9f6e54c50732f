#include "data/retrieval.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "data/corpus.h"
#include "text/boundary_ends.h"

namespace chunkllm {
namespace {

LabeledText labeled(std::string text) {
  std::vector<int64_t> ends = boundary_ends(text);
  return {std::move(text), std::move(ends)};
}

bool is_end(const LabeledText& text, int64_t at) {
  return std::ranges::binary_search(text.ends, at);
}

void expect_ascending(const LabeledText& text) {
  int64_t last = 0;
  for (const int64_t end : text.ends) {
    ASSERT_GT(end, last);
    ASSERT_LE(end, std::ssize(text.text));
    last = end;
  }
}

TEST(HideNeedles, EachIsAChunkAndNoEndIsLost) {
  const std::vector<std::string> needles = {"VAR ABC1 = 12345.", "The code of Anna is 48213.",
                                            "VAR DEF2 = ABC1."};
  for (const TextKind kind :
       {TextKind::kProse, TextKind::kCode, TextKind::kJson, TextKind::kVerse}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      Rng rng(seed);
      const LabeledText text = labeled(make_text_of(rng, kind, 5000));
      const LabeledText hidden = hide_needles(rng, text, needles);
      expect_ascending(hidden);
      size_t last = 0;
      for (const std::string& needle : needles) {
        const size_t at = hidden.text.find(needle);
        ASSERT_NE(at, std::string::npos);
        EXPECT_GE(at, last);
        last = at;
        const size_t before = hidden.text[at - 1] == ' ' ? at - 1 : at;
        EXPECT_TRUE(is_end(hidden, static_cast<int64_t>(before)));
        EXPECT_TRUE(is_end(hidden, static_cast<int64_t>(at + needle.size())));
      }
      // Without the needles it is the text again, and its ends are among those there are.
      std::string rest = hidden.text;
      std::vector<int64_t> ends = hidden.ends;
      for (const std::string& needle : needles) {
        size_t at = rest.find(needle);
        size_t size = needle.size();
        if (at + size < rest.size() && rest[at + size] == '\n' && rest[at - 1] == '\n') {
          ++size;
        } else {
          --at;
          ++size;
        }
        rest.erase(at, size);
        for (int64_t& end : ends) {
          if (end >= static_cast<int64_t>(at + size)) end -= static_cast<int64_t>(size);
        }
      }
      EXPECT_EQ(rest, text.text);
      for (const int64_t end : text.ends) {
        EXPECT_NE(std::ranges::find(ends, end), ends.end()) << end;
      }
    }
  }
}

TEST(HideNeedles, GoIntoATextOfNothing) {
  Rng rng(1);
  const LabeledText hidden = hide_needles(rng, {}, {"A is 1.", "B is 2."});
  EXPECT_EQ(hidden.text, "A is 1. B is 2.");
  EXPECT_EQ(hidden.ends, (std::vector<int64_t>{7, 15}));
}

TEST(RetrievalText, HoldsTheAnswersOfItsQuestions) {
  const DrawText draw = [](Rng& rng, int64_t n_bytes) {
    return labeled(make_text_of(rng, TextKind::kProse, n_bytes));
  };
  std::map<TaskKind, int> kinds;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng(seed);
    const RetrievalText made = make_retrieval_text(rng, 8000, 4, draw);
    expect_ascending(made.document);
    EXPECT_GE(std::ssize(made.document.text), 5000);
    EXPECT_FALSE(made.document.text.ends_with('\n'));
    EXPECT_TRUE(is_end(made.document, std::ssize(made.document.text)));
    ASSERT_FALSE(made.questions.empty());
    ASSERT_LE(made.questions.size(), 4u);
    for (const TaskQuestion& question : made.questions) {
      EXPECT_EQ(answer_score(made.document.text, question.expected), 1) << question.question;
      ++kinds[question.kind];
    }
  }
  EXPECT_EQ(kinds.size(), kEnumNames<TaskKind>.size());
  for (const auto& [kind, n] : kinds) EXPECT_GT(n, 8) << enum_name(kind);
}

TEST(DefaultCorpus, HasAllKindsAndIsTheSameEachTime) {
  const Corpus corpus = make_default_corpus(7, 1000000);
  EXPECT_EQ(corpus.fingerprint, make_default_corpus(7, 1000000).fingerprint);
  EXPECT_NE(corpus.fingerprint, make_default_corpus(8, 1000000).fingerprint);
  EXPECT_GT(corpus.size_bytes(), 1000000);
  EXPECT_LT(corpus.size_bytes(), 1300000);
  std::string all;
  for (const Document& document : corpus.documents) {
    all += document.text;
    EXPECT_EQ(document.ends, boundary_ends(document.text));
  }
  for (const char* sign : {" said ", "def ", "function ", "#include", "\": \"", "| --- |", "\n- ",
                           " ERROR ", "\n\n"}) {
    EXPECT_NE(all.find(sign), std::string::npos) << sign;
  }
  int64_t percent = 0;
  for (const TextShare& share : kTextShares) percent += share.percent;
  EXPECT_EQ(percent, 100);
  EXPECT_THROW(make_default_corpus(1, 0), std::exception);
}

// Made-up texts are labelled as what they are.
TEST(DefaultCorpus, LinesOfEachKindEndWhereTheyShould) {
  for (const auto& [kind, name] : kEnumNames<TextKind>) {
    const Corpus corpus = make_corpus_of(kind, 5, 200000);
    int64_t n_lines = 0;
    int64_t n_ends = 0;
    for (const Document& document : corpus.documents) {
      for (size_t at = 0; (at = document.text.find('\n', at)) != std::string::npos; ++at) {
        // Line ends inside a paragraph.
        if (at + 1 == document.text.size() || document.text[at + 1] == '\n') continue;
        if (at > 0 && document.text[at - 1] == '\n') continue;
        ++n_lines;
        if (std::ranges::binary_search(document.ends, static_cast<int64_t>(at) + 1)) ++n_ends;
      }
    }
    const double share = static_cast<double>(n_ends) / static_cast<double>(n_lines);
    if (kind == TextKind::kProse) {
      EXPECT_LT(share, 0.15) << name;  // two-line paragraphs and verse
    } else {
      EXPECT_GT(share, 0.995) << name;
    }
  }
}

}  // namespace
}  // namespace chunkllm
