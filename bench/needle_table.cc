// Needles in long documents, policy beside policy: right answers, KV retention, prefill and decode
// speed. Prints the Markdown table of docs/benchmarks.md. Questions about one document share its
// prefill; a session goes back to the document's end after each answer.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "base/timer.h"
#include "kernels/machine/isa.h"
#include "needle_oracle.h"
#include "train/data/corpus.h"
#include "train/data/facts.h"

namespace chunkllm {
namespace {

struct Options {
  std::string model, adapter;
  std::vector<std::string> data;
  std::vector<int64_t> ctx{32768};
  std::vector<std::string> rows{"full", "chunk"};
  std::string kv_budget = "2048";
  int64_t needles = 20;
  int64_t per_document = 5;
  uint64_t seed = 1;
  bool verbose = false;
};

// One document, filled to a number of tokens, with the questions about it.
struct Haystack {
  RetrievalChat chat;
  std::vector<std::vector<int32_t>> prompts;  // one a question
  int64_t n_shared = 0;                       // tokens that all prompts begin with
};

struct Tally {
  int64_t n_right = 0;
  int64_t n_asked = 0;
  int64_t n_prefilled = 0;
  int64_t n_decoded = 0;
  double prefill_seconds = 0;
  double decode_seconds = 0;
  RetentionCount retention;
};

// `n_bytes` of text from the corpus, beginning at a random sentence and going round.
std::string draw_text(const Corpus& corpus, Rng& rng, size_t n_bytes) {
  std::string text;
  auto document = static_cast<size_t>(rng.below(std::ssize(corpus.documents)));
  const auto& ends = corpus.documents[document].ends;
  auto at = static_cast<size_t>(ends[static_cast<size_t>(rng.below(std::ssize(ends)))]);
  while (text.size() < n_bytes) {
    text += corpus.documents[document].text.substr(at);
    text += "\n\n";
    document = (document + 1) % corpus.documents.size();
    at = 0;
  }
  while (n_bytes > 0 && (static_cast<unsigned char>(text[n_bytes]) & 0xc0u) == 0x80u) --n_bytes;
  text.resize(n_bytes);
  return text;
}

int64_t shared_prefix(const std::vector<std::vector<int32_t>>& prompts) {
  size_t n = prompts.front().size();
  for (const auto& prompt : prompts) {
    n = std::min(n, prompt.size() - 1);  // the prompt end is each question's own
    const auto [end, other] = std::ranges::mismatch(prompts.front(), prompt);
    n = std::min(n, static_cast<size_t>(end - prompts.front().begin()));
  }
  return static_cast<int64_t>(n);
}

Haystack make_haystack(const Engine& engine, const Corpus& corpus, int64_t n_tokens,
                       int64_t n_facts, Rng& rng) {
  const ChatTemplate chat_template = engine.chat_template();
  size_t n_bytes = static_cast<size_t>(n_tokens) * 4;
  const Rng state = rng;
  while (true) {  // shrinks the text until the longest prompt fits
    rng = state;
    Haystack haystack;
    haystack.chat = make_retrieval_chat(rng, draw_text(corpus, rng, n_bytes), n_facts, n_facts);
    size_t longest = 0;
    for (size_t i = 0; i < haystack.chat.asked.size(); ++i) {
      haystack.prompts.push_back(
          chat_template.encode(engine.tokenizer(), {{"user", user_turn(haystack.chat, i)}}, true)
              .ids);
      longest = std::max(longest, haystack.prompts.back().size());
    }
    haystack.n_shared = shared_prefix(haystack.prompts);
    if (longest <= static_cast<size_t>(n_tokens)) return haystack;
    const double ratio = static_cast<double>(n_tokens) / static_cast<double>(longest);
    n_bytes = static_cast<size_t>(static_cast<double>(n_bytes) * ratio * 0.999) - 16;
  }
}

// The row's name is "full", "chunk", "chunk-prefill-full" or "oracle".
SessionOptions session_options(const Engine& engine, const Options& options, const std::string& row,
                               int64_t ctx) {
  SessionOptions session;
  session.policy = row == "full" ? &full_policy() : &policy_named("chunk");
  session.selection.budget = KvBudget::parse(options.kv_budget);
  if (row == "chunk-prefill-full") session.selection.prefill = PrefillKind::kFull;
  session.ctx = ctx;
  session.kv_type =
      engine.precision().products == ProductType::kBf16 ? KvType::kBf16 : KvType::kF32;
  return session;
}

constexpr int64_t kAnswerTokens = 32;

void ask(const Engine& engine, const Options& options, const std::string& row,
         const Haystack& haystack, int64_t ctx, Tally& tally) {
  Session session(engine, session_options(engine, options, row, ctx + kAnswerTokens));
  const auto shared =
      std::span(haystack.prompts.front()).first(static_cast<size_t>(haystack.n_shared));
  const Timer timer;
  session.prefill(shared, {});
  tally.prefill_seconds += timer.seconds();
  tally.n_prefilled += haystack.n_shared;
  GenerateOptions generate_options;
  generate_options.max_tokens = kAnswerTokens;
  generate_options.eos_ids = engine.eos_ids();
  for (size_t i = 0; i < haystack.prompts.size(); ++i) {
    const auto rest =
        std::span(haystack.prompts[i]).subspan(static_cast<size_t>(haystack.n_shared));
    const int64_t prompt_end = std::ssize(rest) - 1;
    const GenerateResult result =
        generate(session, engine.tokenizer(), rest, {&prompt_end, 1}, generate_options);
    const Fact& fact = haystack.chat.asked[i];
    const bool right = answer_matches(result.text, fact);
    tally.n_right += right ? 1 : 0;
    ++tally.n_asked;
    tally.n_decoded += result.generated_tokens - 1;
    tally.decode_seconds += result.decode_seconds;
    tally.retention.n_passes += result.retention.n_passes;
    tally.retention.retention_sum += result.retention.retention_sum;
    if (options.verbose) {
      std::fprintf(stderr, "  %-20s %s %s | %s | %s\n", row.c_str(), right ? "right" : "WRONG",
                   fact.question.c_str(), fact.answer.c_str(), result.text.c_str());
    }
    session.truncate(haystack.n_shared);
  }
}

void print_row(int64_t ctx, const std::string& row, const std::string& budget, const Tally& tally) {
  const auto rate = [](int64_t n, double seconds) {
    return seconds > 0 ? fmt::format("{:.0f}", static_cast<double>(n) / seconds) : std::string("-");
  };
  std::printf("%s\n", fmt::format("| {} | {} | {} | {} of {} | {:.1f}% | {} | {} |", ctx, row,
                                  row == "full" ? "-" : budget, tally.n_right, tally.n_asked,
                                  100 * tally.retention.kv_retention(),
                                  rate(tally.n_prefilled, tally.prefill_seconds),
                                  rate(tally.n_decoded, tally.decode_seconds))
                          .c_str());
  std::fflush(stdout);
}

void run(const Options& options) {
  active_isa();
  set_threads(usable_cores());
  EngineOptions engine_options;
  engine_options.model = options.model;
  engine_options.adapter = options.adapter;
  Engine engine(engine_options);
  engine.load_weights();
  const Corpus corpus = read_corpus({options.data.begin(), options.data.end()});
  std::printf(
      "| context | policy | budget | right answers | KV retention | prefill tokens/s | decode "
      "tokens/s |\n|---|---|---|---|---|---|---|\n");
  for (const int64_t ctx : options.ctx) {
    std::vector<Tally> tallies(options.rows.size());
    Rng rng(options.seed);
    for (int64_t left = options.needles; left > 0; left -= options.per_document) {
      const Haystack haystack =
          make_haystack(engine, corpus, ctx, std::min(left, options.per_document), rng);
      for (size_t r = 0; r < options.rows.size(); ++r) {
        if (options.rows[r] == "oracle") {
          for (size_t i = 0; i < haystack.prompts.size(); ++i) {
            ++tallies[r].n_asked;
            const OracleAnswer answer = ask_oracle(
                engine, haystack.prompts[i], KvBudget::parse(options.kv_budget), kAnswerTokens);
            tallies[r].n_right += answer_matches(answer.text, haystack.chat.asked[i]) ? 1 : 0;
            tallies[r].retention.n_passes += answer.retention.n_passes;
            tallies[r].retention.retention_sum += answer.retention.retention_sum;
          }
        } else {
          ask(engine, options, options.rows[r], haystack, ctx, tallies[r]);
        }
        std::fprintf(stderr, "context %lld, %s: %lld of %lld so far\n", static_cast<long long>(ctx),
                     options.rows[r].c_str(), static_cast<long long>(tallies[r].n_right),
                     static_cast<long long>(tallies[r].n_asked));
      }
    }
    for (size_t r = 0; r < options.rows.size(); ++r) {
      print_row(ctx, options.rows[r], options.kv_budget, tallies[r]);
    }
  }
}

}  // namespace
}  // namespace chunkllm

int main(int argc, char** argv) {
  CLI::App app{"Needles in long documents, policy beside policy"};
  chunkllm::Options options;
  app.add_option("--model", options.model, "Model folder")->required();
  app.add_option("--adapter", options.adapter, "Adapter folder")->required();
  app.add_option("--data", options.data, "Text to hide the needles in: files or folders")
      ->required();
  app.add_option("--ctx", options.ctx, "Prompt tokens, a list")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--rows", options.rows, "full, chunk, chunk-prefill-full, oracle")
      ->delimiter(',')
      ->check(CLI::IsMember({"full", "chunk", "chunk-prefill-full", "oracle"}))
      ->capture_default_str();
  app.add_option("--kv-budget", options.kv_budget, "Budget of chunk and oracle")
      ->capture_default_str();
  app.add_option("--needles", options.needles, "Needles a context")->capture_default_str();
  app.add_option("--per-document", options.per_document, "Needles hidden in one document")
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Seed of documents and needles")->capture_default_str();
  app.add_flag("--verbose", options.verbose, "Say each question and answer on stderr");
  CLI11_PARSE(app, argc, argv);
  try {
    chunkllm::run(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
