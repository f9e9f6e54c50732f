#include "train/data/sequences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "testing/models.h"
#include "testing/temp_folder.h"
#include "train/data/synthetic.h"

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
      EXPECT_THAT(text(sequence, t, t + 1), testing::Not(testing::MatchesRegex("[ \n]*")));
    }
    EXPECT_GT(n_labels, kSeqLen / 60);
  }
}

// Whatever its form: `"key": "value"` is no sentence to the rules, and hides the end before it.
TEST_F(SequencesTest, EveryHiddenFactIsAChunk) {
  int64_t n_seen = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const TrainingSequence sequence = draw(1.0, seed);
    EXPECT_FALSE(sequence.prompt_ends.empty());
    int64_t begin = 0;
    for (int64_t t = 0; t < sequence.n_tokens(); ++t) {
      if (sequence.labels[static_cast<size_t>(t)] == 0) continue;
      const std::string chunk = text(sequence, begin, t + 1);
      begin = t + 1;
      if (chunk.find("\": \"") == std::string::npos) continue;
      ++n_seen;
      EXPECT_THAT(chunk, testing::MatchesRegex("[ \n]*\"[a-z]+ [a-z]+\": \"[a-z0-9 ]+\"[ \n]*"));
    }
  }
  EXPECT_GT(n_seen, 5);
}

}  // namespace
}  // namespace chunkllm
