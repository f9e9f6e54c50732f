#include "train/sequences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "data/synthetic.h"
#include "engine/engine.h"
#include "testing/models.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

class SequencesTest : public testing::Test {
 protected:
  SequencesTest() : engine_(options()), chat_(engine_.chat_template()) {
    Rng rng(11);
    write_text(folder_ / "a.txt", make_text(rng, 200000));
    corpus_ = read_corpus({folder_ / "a.txt"});
  }
  TrainingSequence draw(double chat_share, uint64_t seed) const {
    Rng rng(seed);
    return SequenceSampler(corpus_, engine_.tokenizer(), &chat_, kSeqLen, chat_share).draw(rng);
  }
  std::string text(const TrainingSequence& sequence, int64_t begin, int64_t end) const {
    return engine_.tokenizer().decode(
        std::span(sequence.ids)
            .subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
  }

  static EngineOptions options() {
    EngineOptions options;
    options.model = needle_model();
    return options;
  }

  static constexpr int64_t kSeqLen = 2048;
  TempFolder folder_;
  Engine engine_;
  ChatTemplate chat_;
  Corpus corpus_;
};

TEST_F(SequencesTest, TextBeginsWithBosAndLabelsLieOnTheEndsOfSentences) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const TrainingSequence sequence = draw(0.0, seed);
    ASSERT_EQ(sequence.n_tokens(), kSeqLen);
    ASSERT_EQ(sequence.labels.size(), sequence.ids.size());
    EXPECT_EQ(sequence.ids[0], engine_.special_ids().front());
    EXPECT_TRUE(sequence.prompt_ends.empty());
    int64_t n_labels = 0;
    for (int64_t t = 0; t < kSeqLen; ++t) {
      if (sequence.labels[static_cast<size_t>(t)] == 0) continue;
      ++n_labels;
      // Of white space, only line ends of verse and the like.
      const std::string token = text(sequence, t, t + 1);
      EXPECT_TRUE(token.find_first_not_of(' ') != std::string::npos) << t;
    }
    EXPECT_GT(n_labels, kSeqLen / 60);
  }
}

// The tokens before it end each question, those after it begin the answer, and that is a chunk.
TEST_F(SequencesTest, EachAnswerFollowsAPromptEndAndTheTextHoldsIt) {
  int64_t n_answers = 0;
  int64_t n_answer_tokens = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const TrainingSequence sequence = draw(1.0, seed);
    ASSERT_LE(sequence.n_tokens(), kSeqLen);
    ASSERT_FALSE(sequence.prompt_ends.empty());
    EXPECT_GT(sequence.prompt_ends.front(), 200);
    for (size_t i = 0; i < sequence.prompt_ends.size(); ++i) {
      const int64_t end = sequence.prompt_ends[i];
      EXPECT_TRUE(text(sequence, end - 6, end + 1).ends_with("assistant<|end_header_id|>\n\n") ||
                  engine_.tokenizer().is_special(sequence.ids[static_cast<size_t>(end)]))
          << text(sequence, end - 6, end + 1);
      ++n_answers;
      // Its tokens are those up to the marker of the turn's end.
      int64_t t = end + 1;
      while (!engine_.tokenizer().is_special(sequence.ids[static_cast<size_t>(t)])) {
        EXPECT_TRUE(std::ranges::binary_search(sequence.answers, t)) << t;
        ++t;
        ++n_answer_tokens;
      }
    }
    EXPECT_LE(std::ssize(sequence.answers), kSeqLen / 2);
    for (const int64_t query : sequence.random_queries) {
      EXPECT_EQ(sequence.labels[static_cast<size_t>(query)], 0);
    }
  }
  EXPECT_GT(n_answers, 60);
  EXPECT_GT(n_answer_tokens, 3 * n_answers);
}

TEST_F(SequencesTest, LengthsSpreadOverTheRange) {
  const SequenceSampler sampler(corpus_, engine_.tokenizer(), &chat_, 256, 2048, 0.0);
  Rng rng(3);
  int64_t n_short = 0;
  constexpr int kDraws = 200;
  for (int i = 0; i < kDraws; ++i) {
    const int64_t n = sampler.draw(rng).n_tokens();
    EXPECT_GE(n, 256);
    EXPECT_LE(n, 2048);
    if (n < 724) ++n_short;  // the geometric mean
  }
  EXPECT_NEAR(static_cast<double>(n_short) / kDraws, 0.5, 0.13);
}

TEST_F(SequencesTest, TheSameRandomNumbersGiveTheSameSequence) {
  for (const double chat_share : {0.0, 1.0}) {
    EXPECT_EQ(draw(chat_share, 5).ids, draw(chat_share, 5).ids);
    EXPECT_NE(draw(chat_share, 5).ids, draw(chat_share, 6).ids);
  }
}

TEST_F(SequencesTest, WithoutATemplateQuestionsStandInPlainText) {
  const SequenceSampler sampler(corpus_, engine_.tokenizer(), nullptr, 1024, 1024, 1.0);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed);
    const TrainingSequence sequence = sampler.draw(rng);
    ASSERT_FALSE(sequence.prompt_ends.empty());
    for (const int64_t end : sequence.prompt_ends) {
      EXPECT_TRUE(text(sequence, end - 8, end + 1).ends_with("\nAnswer:"))
          << text(sequence, end - 8, end + 1);
      EXPECT_TRUE(std::ranges::binary_search(sequence.answers, end + 1));
      EXPECT_FALSE(std::ranges::binary_search(sequence.answers, end));
    }
    for (const int64_t t : sequence.answers) {
      EXPECT_FALSE(text(sequence, t, t + 1).starts_with('\n')) << t;
    }
  }
}

// In JSON and code the tokens with line ends are positives, and hardly any others.
TEST_F(SequencesTest, LinesOfStructuredTextAreChunks) {
  for (const TextKind kind : {TextKind::kJson, TextKind::kCode, TextKind::kTable}) {
    const Corpus corpus = make_corpus_of(kind, 4, 100000);
    const SequenceSampler sampler(corpus, engine_.tokenizer(), &chat_, 1024, 1024, 0.0);
    Rng rng(1);
    const TrainingSequence sequence = sampler.draw(rng);
    int64_t n_lines = 0;
    int64_t n_others = 0;
    for (int64_t t = 0; t < sequence.n_tokens(); ++t) {
      const bool holds_line_end = text(sequence, t, t + 1).find('\n') != std::string::npos;
      if (sequence.labels[static_cast<size_t>(t)] != 0) {
        (holds_line_end ? n_lines : n_others) += 1;
      }
    }
    EXPECT_GT(n_lines, 10) << enum_name(kind);
    EXPECT_LE(n_others, n_lines / 8) << enum_name(kind);
  }
}

TEST_F(SequencesTest, ShortDocumentsFollowEachOther) {
  Corpus corpus = make_default_corpus(3, 400000);
  for (Document& document : corpus.documents) {
    const auto last = std::ranges::upper_bound(document.ends, 600);
    document.ends.erase(last, document.ends.end());
    document.text.resize(static_cast<size_t>(document.ends.back()));
  }
  const SequenceSampler sampler(corpus, engine_.tokenizer(), &chat_, 1024, 1024, 0.0);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Rng rng(seed);
    EXPECT_GT(sampler.draw(rng).n_tokens(), 800);
  }
}

}  // namespace
}  // namespace chunkllm
