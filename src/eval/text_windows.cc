#include "eval/text_windows.h"

#include <algorithm>

#include "base/error.h"
#include "data/corpus.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

constexpr int64_t kDefaultSamples = 4;
constexpr int64_t kDefaultTokens = 4096;

}  // namespace

void fill_text_options(const Engine& engine, EvalOptions& options, int64_t least_tokens) {
  if (options.ctx.empty()) {
    options.ctx = {std::min(kDefaultTokens, engine.config().max_positions)};
  }
  if (options.n_samples == 0) options.n_samples = kDefaultSamples;
  for (const int64_t ctx : options.ctx) {
    if (ctx >= least_tokens) continue;
    fail(ErrorCode::kInvalidArgument, "--ctx {}: a text must have {} tokens at least", ctx,
         least_tokens);
  }
}

TextWindows::TextWindows(const Engine& engine, EvalOptions& options, const MakeText& make)
    : engine_(engine) {
  fill_text_options(engine, options, kLeastTokens);
  // What a text begins with, and how many tokens that are: windows begin alike.
  begin_ids_ = engine.tokenizer().encode("", {.add_special_tokens = true});
  const int64_t longest = *std::ranges::max_element(options.ctx);
  if (options.data.empty()) {
    make_texts(options, make, longest);
  } else {
    read_texts(options, longest);
  }
  for (const int64_t ctx : options.ctx) add_windows(ctx, static_cast<size_t>(options.n_samples));
}

std::vector<EvalUnit> TextWindows::units() const {
  std::vector<EvalUnit> units;
  int64_t sample = 0;
  for (size_t i = 0; i < windows_.size(); ++i) {
    const int64_t ctx = windows_[i].ctx;
    sample = i > 0 && windows_[i - 1].ctx == ctx ? sample + 1 : 0;
    units.push_back({ctx, sample, ctx});
  }
  return units;
}

std::vector<int32_t> TextWindows::ids(const EvalUnit& unit) const {
  const auto first = std::ranges::find(windows_, unit.ctx, &Window::ctx);
  const Window& window = first[unit.sample];
  const auto begin = texts_[window.text].ids.begin() + window.begin;
  std::vector<int32_t> ids(begin, begin + window.ctx);
  std::ranges::copy(begin_ids_, ids.begin());
  return ids;
}

void TextWindows::make_texts(const EvalOptions& options, const MakeText& make, int64_t longest) {
  constexpr int64_t kBytesPerToken = 6;
  fingerprint_ = "made up";
  for (int64_t i = 0; i < options.n_samples; ++i) {
    Rng rng(options.seed * 1000003 + static_cast<uint64_t>(i));
    std::string text;
    TokenText made{fmt::format("made-up text {}", i + 1), {}};
    while (std::ssize(made.ids) < longest) {
      text += make(rng, i, longest * kBytesPerToken);
      made.ids = engine_.tokenizer().encode(text, {.add_special_tokens = true});
    }
    texts_.push_back(std::move(made));
  }
}

void TextWindows::read_texts(const EvalOptions& options, int64_t longest) {
  const Corpus corpus = read_corpus(options.data);
  fingerprint_ = corpus.fingerprint;
  const int64_t needed = longest * options.n_samples;
  for (const Document& document : corpus.documents) {
    texts_.push_back({document.name, first_tokens(document.text, needed)});
  }
}

// At least the first `needed` tokens, or all of a shorter text, which is not cut where tokens that
// are needed could notice.
std::vector<int32_t> TextWindows::first_tokens(const std::string& text, int64_t needed) const {
  constexpr int64_t kSpareTokens = 256;
  for (int64_t n_bytes = (needed + kSpareTokens) * 8;; n_bytes *= 4) {
    std::string_view part = text;
    const bool is_cut = n_bytes < std::ssize(text);
    if (is_cut) part = part.substr(0, static_cast<size_t>(n_bytes));
    while (is_cut && find_invalid_utf8(part)) part.remove_suffix(1);
    std::vector<int32_t> ids =
        engine_.tokenizer().encode(part, {.add_special_tokens = true, .parse_special = false});
    if (!is_cut || std::ssize(ids) >= needed + kSpareTokens) return ids;
  }
}

// The documents in turns, each from its begin on.
void TextWindows::add_windows(int64_t ctx, size_t n_samples) {
  const size_t n_before = windows_.size();
  for (int64_t round = 0; windows_.size() - n_before < n_samples; ++round) {
    const size_t n_at_begin = windows_.size();
    for (size_t i = 0; i < texts_.size() && windows_.size() - n_before < n_samples; ++i) {
      const int64_t begin = round * ctx;
      if (begin + ctx <= std::ssize(texts_[i].ids)) windows_.push_back({ctx, i, begin});
    }
    if (windows_.size() == n_at_begin) break;
  }
  const size_t n = windows_.size() - n_before;
  if (n == 0) {
    fail(ErrorCode::kData,
         "no text of --data has {} tokens, the longest {}; give longer texts or a smaller --ctx",
         ctx, longest_text());
  }
  if (n < n_samples) {
    notes_.push_back(
        fmt::format("the texts have {} samples of {} tokens, fewer than {}", n, ctx, n_samples));
  }
}

int64_t TextWindows::longest_text() const {
  int64_t longest = 0;
  for (const TokenText& text : texts_) longest = std::max(longest, std::ssize(text.ids));
  return longest;
}

}  // namespace chunkllm
