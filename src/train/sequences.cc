#include "train/sequences.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include "base/error.h"
#include "data/block_items.h"
#include "select/chunk/boundaries.h"
#include "text/boundary_ends.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

constexpr int64_t kRandomQueriesPerThousand = 8;
constexpr int64_t kTokensPerQuestion = 96;  // with its answer and markers
constexpr int64_t kMostQuestions = 48;
constexpr int64_t kDocumentTokensPerQuestion = 128;

// Marks the tokens that hold the last byte before an end; `spans` and `ends` are of the same text.
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

// `text` from `begin` on, cut to about `n_bytes` at an end, without the white space before it.
LabeledText cut(const Document& document, int64_t begin, int64_t n_bytes) {
  const std::vector<int64_t>& ends = document.ends;
  const auto first = std::ranges::upper_bound(ends, begin);
  auto last = std::ranges::upper_bound(ends, begin + n_bytes);
  if (last <= first) last = std::next(first);
  const int64_t end = *std::prev(last);
  LabeledText part{
      document.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)), {}};
  // The indentation of a line belongs to it.
  const bool begins_line = begin == 0 || document.text[static_cast<size_t>(begin) - 1] == '\n';
  const size_t n_spaces =
      std::min(part.text.find_first_not_of(begins_line ? "\r\n" : " \t\r\n"), part.text.size());
  part.text.erase(0, n_spaces);
  for (auto it = first; it != last; ++it) {
    const int64_t at = *it - begin - static_cast<int64_t>(n_spaces);
    if (at > 0) part.ends.push_back(at);
  }
  return part;
}

// Adds a piece of text whose ends are those of boundary_ends(), but for what stands in `document`.
void add_ends(std::string_view piece, const LabeledText& document, int64_t offset,
              std::vector<int64_t>& ends) {
  const auto add = [&](const std::vector<int64_t>& more, size_t from) {
    for (const int64_t end : more) ends.push_back(offset + static_cast<int64_t>(from) + end);
  };
  // A template may trim the message.
  const size_t at = document.text.empty() ? std::string_view::npos : piece.find(document.text);
  if (at == std::string_view::npos) {
    add(boundary_ends(piece), 0);
    return;
  }
  const size_t after = at + document.text.size();
  add(boundary_ends(piece.substr(0, at)), 0);
  add(document.ends, at);
  add(boundary_ends(piece.substr(after)), after);
}

// How a message asks about a text: {k} is the text, {v} the question.
constexpr std::string_view kFirstTurns[] = {
    "{k}\n\n{v}",
    "{k}\n\n{v}",
    "{k}\n\n{v}",
    "{k}\n\nQuestion: {v}",
    "Read this text.\n\n{k}\n\n{v}",
    "Answer the question after the following text.\n\n{k}\n\nQuestion: {v}",
    "Here is a document:\n\n{k}\n\nAnswer from the document alone: {v}",
    "<text>\n{k}\n</text>\n\n{v}",
    "{v}\n\n{k}",
    "{v} Answer from this text:\n\n{k}"};
constexpr std::string_view kLaterTurns[] = {
    "{v}", "{v}", "{v}", "Next question: {v}", "And another one: {v}", "Thank you. {v}"};

double measure_bytes_per_token(const Corpus& corpus, const Tokenizer& tokenizer) {
  constexpr size_t kSamples = 8;
  constexpr size_t kSampleBytes = 12000;
  size_t n_bytes = 0;
  size_t n_tokens = 1;
  const size_t n_documents = corpus.documents.size();
  for (size_t i = 0; i < kSamples; ++i) {
    std::string_view text = corpus.documents[i * n_documents / kSamples].text;
    if (text.size() > kSampleBytes) {
      size_t n = kSampleBytes;
      while (n > 0 && !begins_character(text[n])) --n;
      text = text.substr(0, n);
    }
    n_bytes += text.size();
    n_tokens += tokenizer.encode(text, {.parse_special = false}).size();
  }
  return static_cast<double>(n_bytes) / static_cast<double>(n_tokens);
}

}  // namespace

SequenceSampler::SequenceSampler(const Corpus& corpus, const Tokenizer& tokenizer,
                                 const ChatTemplate* chat, int64_t min_len, int64_t max_len,
                                 double chat_share)
    : corpus_(corpus),
      tokenizer_(tokenizer),
      chat_(chat),
      min_len_(min_len),
      max_len_(max_len),
      chat_share_(chat_share),
      bytes_per_token_(measure_bytes_per_token(corpus, tokenizer)),
      corpus_bytes_(corpus.size_bytes()) {}

SequenceSampler::SequenceSampler(const Corpus& corpus, const Tokenizer& tokenizer,
                                 const ChatTemplate* chat, int64_t max_len, double chat_share)
    : SequenceSampler(corpus, tokenizer, chat, std::min(max_len, kShortestSequence), max_len,
                      chat_share) {}

TrainingSequence SequenceSampler::draw(Rng& rng) const {
  const double ratio = static_cast<double>(max_len_) / static_cast<double>(min_len_);
  const double length = static_cast<double>(min_len_) * std::pow(ratio, rng.uniform());
  const int64_t n_tokens = std::clamp<int64_t>(std::llround(length), min_len_, max_len_);
  std::optional<TrainingSequence> chat;
  if (rng.uniform() < chat_share_) chat = draw_chat(rng, n_tokens);
  TrainingSequence sequence = chat ? std::move(*chat) : draw_text(rng, n_tokens);
  finish(sequence, rng, n_tokens);
  return sequence;
}

LabeledText SequenceSampler::draw_passage(Rng& rng, int64_t n_bytes) const {
  int64_t at = rng.below(corpus_bytes_);
  size_t index = 0;
  while (at >= std::ssize(corpus_.documents[index].text)) {
    at -= std::ssize(corpus_.documents[index].text);
    ++index;
  }
  const Document& first = corpus_.documents[index];
  // White space may follow the last sentence; a passage needs one.
  at =
      std::max<int64_t>(0, std::min({at, std::ssize(first.text) - n_bytes, first.ends.back() - 1}));
  const auto before = std::ranges::upper_bound(first.ends, at);
  LabeledText passage = cut(first, before == first.ends.begin() ? 0 : *std::prev(before), n_bytes);
  // Short documents follow each other.
  for (size_t i = 1; i < corpus_.documents.size(); ++i) {
    const int64_t left = n_bytes - std::ssize(passage.text);
    if (left < n_bytes / 8) break;
    const Document& next = corpus_.documents[(index + i) % corpus_.documents.size()];
    const LabeledText more = cut(next, 0, left);
    passage.text += passage.text.ends_with('\n') ? "\n" : "\n\n";
    const int64_t shift = std::ssize(passage.text);
    passage.text += more.text;
    for (const int64_t end : more.ends) passage.ends.push_back(shift + end);
  }
  return passage;
}

TrainingSequence SequenceSampler::draw_text(Rng& rng, int64_t n_tokens) const {
  // Some texts have fewer tokens a byte than the corpus as a whole; what is too much is cut off.
  const auto n_bytes = static_cast<int64_t>(static_cast<double>(n_tokens) * bytes_per_token_ * 1.5);
  const LabeledText passage = draw_passage(rng, n_bytes);
  TrainingSequence sequence;
  const std::vector<TokenSpan> spans = tokenizer_.encode_with_offsets(
      passage.text, {.add_special_tokens = true, .parse_special = false});
  for (const TokenSpan& span : spans) sequence.ids.push_back(span.id);
  mark_labels(spans, passage.ends, sequence.labels);
  return sequence;
}

std::optional<TrainingSequence> SequenceSampler::draw_chat(Rng& rng, int64_t n_tokens) const {
  // Many, since prompt ends decide most answers and cost next to nothing.
  const int64_t most =
      std::clamp<int64_t>(n_tokens / kDocumentTokensPerQuestion, 1, kMostQuestions);
  int64_t n_questions = most - rng.below(most / 2 + 1);
  int64_t n_bytes = static_cast<int64_t>(
      static_cast<double>(std::max(n_tokens - n_questions * kTokensPerQuestion, n_tokens / 4)) *
      bytes_per_token_);
  const DrawText draw = [this](Rng& passage_rng, int64_t size) {
    return draw_passage(passage_rng, size);
  };
  // Numbers and names have more tokens a byte than prose: shrinks the text, and asks
  // less, until all fits.
  constexpr int kTries = 6;
  const Rng state = rng;
  for (int i = 0; i < kTries; ++i) {
    rng = state;
    const RetrievalText text = make_retrieval_text(rng, n_bytes, n_questions, draw);
    TrainingSequence sequence = chat_ != nullptr ? encode_chat(rng, text) : encode_plain(text);
    if (sequence.n_tokens() <= n_tokens) return sequence;
    const double ratio = static_cast<double>(n_tokens) / static_cast<double>(sequence.n_tokens());
    n_bytes = static_cast<int64_t>(static_cast<double>(n_bytes) * ratio * 0.96);
    n_questions = std::max<int64_t>(n_questions * 3 / 4, 1);
  }
  return std::nullopt;
}

// Turns with one question each, answered before the next.
TrainingSequence SequenceSampler::encode_chat(Rng& rng, const RetrievalText& text) const {
  std::vector<ChatMessage> messages;
  for (const TaskQuestion& question : text.questions) {
    const bool is_first = messages.empty();
    const std::string_view form = is_first ? pick_of(rng, kFirstTurns) : pick_of(rng, kLaterTurns);
    messages.push_back({"user", fill_form(form, {}, text.document.text, question.question)});
    messages.push_back({"assistant", question.answer});
  }
  std::vector<int64_t> ends;
  int64_t offset = 0;
  for (const ChatPiece& piece : chat_->render(messages, false)) {
    if (!piece.is_control) add_ends(piece.text, text.document, offset, ends);
    offset += std::ssize(piece.text);
  }
  ChatPrompt prompt = chat_->encode(tokenizer_, messages, false);
  TrainingSequence sequence;
  sequence.ids = std::move(prompt.ids);
  mark_labels(prompt.spans, ends, sequence.labels);
  sequence.prompt_ends = std::move(prompt.prompt_ends);
  for (const int64_t end : sequence.prompt_ends) {
    for (int64_t t = end + 1; t < sequence.n_tokens(); ++t) {
      if (tokenizer_.is_special(sequence.ids[static_cast<size_t>(t)])) break;
      sequence.answers.push_back(t);
    }
  }
  return sequence;
}

TrainingSequence SequenceSampler::encode_plain(const RetrievalText& text) const {
  std::string whole = text.document.text;
  std::vector<int64_t> answers;  // bytes at which they begin
  for (const TaskQuestion& question : text.questions) {
    whole += fmt::format("\n\nQuestion: {}\nAnswer:", question.question);
    answers.push_back(std::ssize(whole));
    whole += " " + question.answer;
  }
  std::vector<int64_t> ends;
  add_ends(whole, text.document, 0, ends);
  const std::vector<TokenSpan> spans =
      tokenizer_.encode_with_offsets(whole, {.add_special_tokens = true, .parse_special = false});
  TrainingSequence sequence;
  for (const TokenSpan& span : spans) sequence.ids.push_back(span.id);
  mark_labels(spans, ends, sequence.labels);
  for (const int64_t answer : answers) {
    const auto after = std::ranges::upper_bound(spans, answer, {}, &TokenSpan::end);
    if (after == spans.begin()) continue;
    int64_t t = after - spans.begin();
    sequence.prompt_ends.push_back(t - 1);
    const size_t answer_end = whole.find('\n', static_cast<size_t>(answer));
    for (; t < std::ssize(spans); ++t) {
      if (static_cast<size_t>(spans[static_cast<size_t>(t)].begin) >= answer_end) break;
      sequence.answers.push_back(t);
    }
  }
  return sequence;
}

void SequenceSampler::finish(TrainingSequence& sequence, Rng& rng, int64_t n_tokens) const {
  const auto limit = static_cast<size_t>(n_tokens);
  if (sequence.ids.size() > limit) {
    sequence.ids.resize(limit);
    sequence.labels.resize(limit);
    const auto beyond = [n_tokens](int64_t t) { return t >= n_tokens; };
    std::erase_if(sequence.prompt_ends, beyond);
    std::erase_if(sequence.answers, beyond);
  }
  const int64_t n = sequence.n_tokens();
  for (int64_t i = 0; i < n * kRandomQueriesPerThousand / 1000; ++i) {
    const int64_t t = rng.below(n);
    const bool is_query = sequence.labels[static_cast<size_t>(t)] != 0 ||
                          std::ranges::binary_search(sequence.prompt_ends, t) ||
                          std::ranges::binary_search(sequence.answers, t);
    if (!is_query) {
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
                          const std::vector<int32_t>& special_ids,
                          std::span<const uint8_t> token_marks) {
  const ChunkRules rules(config, special_ids, {}, token_marks);
  ChunkCutter cutter(rules);
  ChunkTrack track;
  int64_t prompt_begin = 0;
  for (int64_t t = 0; t < sequence.n_tokens(); ++t) {
    const auto i = static_cast<size_t>(t);
    const bool prompt_end = is_prompt_end(sequence, t);
    cutter.add(track, t, sequence.ids[i], sequence.labels[i] != 0, prompt_begin, prompt_end);
    if (prompt_end) prompt_begin = t + 1;
  }
  return track;
}

ChunkTrack grid_track(const TrainingSequence& sequence, const AdapterConfig& config,
                      const std::vector<int32_t>& special_ids) {
  const ChunkRules rules(config, special_ids);
  ChunkTrack track;
  for (int64_t t = 0; t < sequence.n_tokens(); ++t) {
    rules.add_to_grid(track, t, sequence.ids[static_cast<size_t>(t)],
                      role_of(true, is_prompt_end(sequence, t)));
  }
  return track;
}

}  // namespace chunkllm
