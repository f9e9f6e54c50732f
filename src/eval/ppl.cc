#include "eval/ppl.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/timer.h"
#include "data/corpus.h"
#include "data/synthetic.h"
#include "engine/likelihood.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

constexpr int64_t kDefaultSamples = 4;
constexpr int64_t kDefaultTokens = 4096;
constexpr int64_t kLeastTokens = 16;  // of a window

// A document's tokens, as far as windows may need them.
struct TokenText {
  std::string name;
  std::vector<int32_t> ids;
};

class PplWork : public EvalWork {
 public:
  PplWork(const Engine& engine, const EvalOptions& options) : engine_(engine), options_(options) {
    if (options_.ctx.empty()) {
      options_.ctx = {std::min(kDefaultTokens, engine.config().max_positions)};
    }
    if (options_.n_samples == 0) options_.n_samples = kDefaultSamples;
    for (const int64_t ctx : options_.ctx) {
      if (ctx >= kLeastTokens) continue;
      fail(ErrorCode::kInvalidArgument, "--ctx {}: a text of {} tokens at least can be scored", ctx,
           kLeastTokens);
    }
    // What a text begins with, and how many tokens that are: windows begin alike.
    begin_ids_ = engine.tokenizer().encode("", {.add_special_tokens = true});
    if (options_.data.empty()) {
      make_texts();
    } else {
      read_texts();
    }
    for (const int64_t ctx : options_.ctx) add_windows(ctx);
  }

  std::vector<EvalUnit> units() const override {
    std::vector<EvalUnit> units;
    int64_t sample = 0;
    for (size_t i = 0; i < windows_.size(); ++i) {
      const int64_t ctx = windows_[i].ctx;
      sample = i > 0 && windows_[i - 1].ctx == ctx ? sample + 1 : 0;
      units.push_back({ctx, sample, ctx});
    }
    return units;
  }

  nlohmann::ordered_json settings() const override {
    return {{"--ctx", options_.ctx}, {"--samples", options_.n_samples}, {"text", fingerprint_}};
  }

  std::vector<std::string> notes() const override { return notes_; }

  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress& progress, const CancelToken* cancel) override {
    const std::vector<int32_t> ids = window_ids(unit);
    for (const EvalColumn* column : columns) {
      const Timer timer;
      SessionOptions session_options;
      session_options.policy = column->policy;
      session_options.selection = column->selection;
      session_options.kv_type = options_.kv_type;
      session_options.ctx = unit.ctx;
      Session session(engine_, session_options);
      const Likelihood likelihood = score_text(
          session, ids, 1, [&](int64_t n, int64_t) { progress(n); }, cancel);
      CellResult result;
      result.decode = likelihood.retention;
      Measure& all = result.measures[kScore];
      Measure& last = result.measures[kLastHalf];
      for (size_t i = 0; i < likelihood.log_probs.size(); ++i) {
        const Measure one{likelihood.log_probs[i], 1};
        all += one;
        if (static_cast<int64_t>(i) >= unit.ctx / 2) last += one;
      }
      if (!std::isfinite(all.sum)) {
        fail(ErrorCode::kData,
             "the likelihood of a text of {} tokens under {} is no number; are the weights sound?",
             unit.ctx, column->name());
      }
      result.seconds = timer.seconds();
      done(*column, result);
    }
  }

 private:
  struct Window {
    int64_t ctx = 0;
    size_t text = 0;
    int64_t begin = 0;  // token
  };

  int64_t longest() const { return *std::ranges::max_element(options_.ctx); }

  void make_texts() {
    constexpr int64_t kBytesPerToken = 6;
    fingerprint_ = "made up";
    for (int64_t i = 0; i < options_.n_samples; ++i) {
      Rng rng(options_.seed * 1000003 + static_cast<uint64_t>(i));
      std::string text;
      TokenText made{fmt::format("made-up text {}", i + 1), {}};
      while (std::ssize(made.ids) < longest()) {
        text += make_text(rng, longest() * kBytesPerToken);
        made.ids = engine_.tokenizer().encode(text, {.add_special_tokens = true});
      }
      texts_.push_back(std::move(made));
    }
  }

  void read_texts() {
    const Corpus corpus = read_corpus(options_.data);
    fingerprint_ = corpus.fingerprint;
    const int64_t needed = longest() * options_.n_samples;
    for (const Document& document : corpus.documents) {
      texts_.push_back({document.name, first_tokens(document.text, needed)});
    }
  }

  // At least the first `needed` tokens, or all of a shorter text, which is not cut where tokens
  // that are needed could notice.
  std::vector<int32_t> first_tokens(const std::string& text, int64_t needed) const {
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
  void add_windows(int64_t ctx) {
    const size_t n_before = windows_.size();
    const auto n_samples = static_cast<size_t>(options_.n_samples);
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

  int64_t longest_text() const {
    int64_t longest = 0;
    for (const TokenText& text : texts_) longest = std::max(longest, std::ssize(text.ids));
    return longest;
  }

  std::vector<int32_t> window_ids(const EvalUnit& unit) const {
    const auto first = std::ranges::find(windows_, unit.ctx, &Window::ctx);
    const Window& window = first[unit.sample];
    const auto begin = texts_[window.text].ids.begin() + window.begin;
    std::vector<int32_t> ids(begin, begin + window.ctx);
    std::ranges::copy(begin_ids_, ids.begin());
    return ids;
  }

  const Engine& engine_;
  EvalOptions options_;
  std::vector<int32_t> begin_ids_;
  std::vector<TokenText> texts_;
  std::vector<Window> windows_;  // by length, in the order of samples
  std::string fingerprint_;
  std::vector<std::string> notes_;
};

}  // namespace

std::unique_ptr<EvalWork> prepare_ppl(const Engine& engine, const EvalOptions& options) {
  return std::make_unique<PplWork>(engine, options);
}

}  // namespace chunkllm
