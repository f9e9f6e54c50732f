#include "train/data/sequences.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "select/chunk/boundaries.h"
#include "text/sentences.h"
#include "text/utf8.h"
#include "train/data/facts.h"

namespace chunkllm {
namespace {

constexpr int64_t kRandomQueriesPerThousand = 8;
constexpr int64_t kTokensPerQuestion = 64;  // with its answer and markers, generously

// Marks the tokens that hold a sentence's last byte; `spans` and `ends` are of the same text.
void mark_labels(const std::vector<TokenSpan>& spans, const std::vector<int64_t>& ends,
                 std::vector<uint8_t>& labels) {
  size_t next = 0;
  for (const TokenSpan& span : spans) {
    bool is_end = false;
    while (next < ends.size() && ends[next] <= span.end) {
      is_end = is_end || ends[next] > span.begin;
      ++next;
    }
    labels.push_back(is_end ? 1 : 0);
  }
}

// A fact lies between two sentences and is one, whatever its form says to the rules of sentences.
std::vector<int64_t> ends_around_facts(const RetrievalChat& chat) {
  std::vector<int64_t> ends;
  for (const Range& fact : chat.hidden) {
    const size_t before = std::string_view(chat.document)
                              .substr(0, static_cast<size_t>(fact.begin))
                              .find_last_not_of(" \t\r\n");
    if (before != std::string_view::npos) ends.push_back(static_cast<int64_t>(before) + 1);
    ends.push_back(fact.end);
  }
  return ends;
}

std::vector<int64_t> united(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  std::vector<int64_t> all;
  std::ranges::set_union(a, b, std::back_inserter(all));
  return all;
}

double measure_bytes_per_token(const Corpus& corpus, const Tokenizer& tokenizer) {
  constexpr size_t kSampleBytes = 100000;
  std::string_view text = corpus.documents.front().text;
  if (text.size() > kSampleBytes) {
    size_t n = kSampleBytes;
    while (n > 0 && !begins_character(text[n])) --n;
    text = text.substr(0, n);
  }
  const size_t n_tokens =
      std::max<size_t>(1, tokenizer.encode(text, {.parse_special = false}).size());
  return static_cast<double>(text.size()) / static_cast<double>(n_tokens);
}

}  // namespace

SequenceSampler::SequenceSampler(const Corpus& corpus, const Tokenizer& tokenizer,
                                 const ChatTemplate* chat, int64_t seq_len, double chat_share)
    : corpus_(corpus),
      tokenizer_(tokenizer),
      chat_(chat),
      seq_len_(seq_len),
      chat_share_(chat == nullptr ? 0.0 : chat_share),
      bytes_per_token_(measure_bytes_per_token(corpus, tokenizer)),
      corpus_bytes_(corpus.size_bytes()) {}

TrainingSequence SequenceSampler::draw(Rng& rng) const {
  TrainingSequence sequence = rng.uniform() < chat_share_ ? draw_chat(rng) : draw_text(rng);
  finish(sequence, rng);
  return sequence;
}

SequenceSampler::Passage SequenceSampler::draw_passage(Rng& rng, int64_t n_bytes) const {
  int64_t at = rng.below(corpus_bytes_);
  const Document* document = corpus_.documents.data();
  while (at >= static_cast<int64_t>(document->text.size())) {
    at -= static_cast<int64_t>(document->text.size());
    ++document;
  }
  const auto& ends = document->sentence_ends;
  const auto size = static_cast<int64_t>(document->text.size());
  // White space may follow the last sentence; a passage needs one.
  at = std::max<int64_t>(0, std::min({at, size - n_bytes, ends.back() - 1}));
  const auto before = std::ranges::upper_bound(ends, at);
  const int64_t begin = before == ends.begin() ? 0 : *std::prev(before);
  auto last = std::ranges::upper_bound(ends, begin + n_bytes);
  if (last == ends.begin() || *std::prev(last) <= begin)
    last = std::next(std::ranges::upper_bound(ends, begin));
  Passage passage;
  const int64_t end = *std::prev(last);
  passage.text =
      document->text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  const size_t n_spaces = std::min(passage.text.find_first_not_of(" \t\r\n"), passage.text.size());
  passage.text.erase(0, n_spaces);
  for (auto it = std::ranges::upper_bound(ends, begin); it != last; ++it) {
    passage.sentence_ends.push_back(*it - begin - static_cast<int64_t>(n_spaces));
  }
  return passage;
}

TrainingSequence SequenceSampler::draw_text(Rng& rng) const {
  const auto n_bytes = static_cast<int64_t>(static_cast<double>(seq_len_) * bytes_per_token_ * 1.1);
  const Passage passage = draw_passage(rng, n_bytes);
  TrainingSequence sequence;
  const std::vector<TokenSpan> spans = tokenizer_.encode_with_offsets(
      passage.text, {.add_special_tokens = true, .parse_special = false});
  for (const TokenSpan& span : spans) sequence.ids.push_back(span.id);
  mark_labels(spans, passage.sentence_ends, sequence.labels);
  return sequence;
}

// A document with facts hidden in it, and questions for some of them, each answered before the
// next.
TrainingSequence SequenceSampler::draw_chat(Rng& rng) const {
  const int64_t n_asked = std::clamp<int64_t>(seq_len_ / 512, 1, 8);
  const int64_t n_hidden = n_asked + rng.below(n_asked + 1);
  const int64_t text_tokens =
      std::max<int64_t>(seq_len_ - (n_asked + n_hidden) * kTokensPerQuestion, seq_len_ / 4);
  const auto n_bytes = static_cast<int64_t>(static_cast<double>(text_tokens) * bytes_per_token_);
  const RetrievalChat chat =
      make_retrieval_chat(rng, draw_passage(rng, n_bytes).text, n_hidden, n_asked);
  std::vector<ChatMessage> messages;
  for (size_t i = 0; i < chat.asked.size(); ++i) {
    messages.push_back({"user", i == 0 ? user_turn(chat, i) : chat.asked[i].question});
    messages.push_back({"assistant", assistant_turn(chat.asked[i])});
  }
  std::vector<int64_t> all_ends;
  int64_t offset = 0;
  for (const ChatPiece& piece : chat_->render(messages, false)) {
    if (!piece.is_control) {
      std::vector<int64_t> ends = sentence_ends(piece.text);
      if (piece.text.starts_with(chat.document)) ends = united(ends, ends_around_facts(chat));
      for (const int64_t end : ends) all_ends.push_back(offset + end);
    }
    offset += std::ssize(piece.text);
  }
  ChatPrompt prompt = chat_->encode(tokenizer_, messages, false);
  TrainingSequence sequence;
  sequence.ids = std::move(prompt.ids);
  mark_labels(prompt.spans, all_ends, sequence.labels);
  sequence.prompt_ends = std::move(prompt.prompt_ends);
  return sequence;
}

void SequenceSampler::finish(TrainingSequence& sequence, Rng& rng) const {
  const auto limit = static_cast<size_t>(seq_len_);
  if (sequence.ids.size() > limit) {
    sequence.ids.resize(limit);
    sequence.labels.resize(limit);
    std::erase_if(sequence.prompt_ends, [&](int64_t end) { return end >= seq_len_; });
  }
  const int64_t n = sequence.n_tokens();
  for (int64_t i = 0; i < n * kRandomQueriesPerThousand / 1000; ++i) {
    const int64_t t = rng.below(n);
    const bool is_prompt_end = std::ranges::binary_search(sequence.prompt_ends, t);
    if (sequence.labels[static_cast<size_t>(t)] == 0 && !is_prompt_end) {
      sequence.random_queries.push_back(t);
    }
  }
  std::vector<int64_t>& queries = sequence.random_queries;
  std::ranges::sort(queries);
  queries.erase(std::unique(queries.begin(), queries.end()), queries.end());
}

namespace {

bool is_prompt_end(const TrainingSequence& sequence, int64_t t) {
  return std::ranges::binary_search(sequence.prompt_ends, t);
}

}  // namespace

ChunkTrack sentence_track(const TrainingSequence& sequence, const AdapterConfig& config,
                          const std::vector<int32_t>& special_ids) {
  const ChunkRules rules(config, special_ids);
  ChunkTrack track;
  for (int64_t t = 0; t < sequence.n_tokens(); ++t) {
    const auto i = static_cast<size_t>(t);
    const bool boundary = rules.ends_chunk(track, t, sequence.ids[i], sequence.labels[i] != 0);
    rules.add(track, t, boundary, is_prompt_end(sequence, t));
  }
  return track;
}

ChunkTrack grid_track(const TrainingSequence& sequence, const AdapterConfig& config,
                      const std::vector<int32_t>& special_ids) {
  const ChunkRules rules(config, special_ids);
  ChunkTrack track;
  for (int64_t t = 0; t < sequence.n_tokens(); ++t) {
    rules.add_to_grid(track, t, sequence.ids[static_cast<size_t>(t)], is_prompt_end(sequence, t));
  }
  return track;
}

}  // namespace chunkllm
