// A saved prefix serves as if it had been run, and only where it fits.
#include "engine/prompt_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "engine/generate.h"
#include "engine/needle_engine.h"
#include "engine/session_cases.h"
#include "formats/safetensors.h"
#include "testing/expect_error.h"
#include "testing/failing_calls.h"
#include "testing/open_cache.h"
#include "testing/relative_error.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using test::logits_of;
using test::needle_engine;
using test::small_budget;

constexpr int64_t kBlock = 64;  // a multiple of the grid

Prompt raw_prompt(int64_t n_tokens) {
  Prompt prompt;
  prompt.ids = test::make_tokens(needle_engine().tokenizer(), n_tokens);
  prompt.ends = {n_tokens - 1};
  return prompt;
}

SessionOptions options_in_blocks(PrefillKind prefill) {
  SessionOptions options = small_budget(prefill);
  options.block_tokens = kBlock;
  return options;
}

class PromptCacheTest : public testing::TestWithParam<PrefillKind> {
 protected:
  std::filesystem::path save(const Prompt& prompt, const SessionOptions& options,
                             int64_t max_tokens = 5) {
    Session session(needle_engine(), options);
    generate(session, needle_engine().tokenizer(), prompt, {.max_tokens = max_tokens});
    const std::filesystem::path path = folder_ / "saved.cache";
    save_prompt_cache(path, session);
    return path;
  }
  GenerateResult answer(Session& session, const Prompt& prompt) {
    return generate(session, needle_engine().tokenizer(), prompt, {.max_tokens = 12});
  }
  TempFolder folder_;
};

TEST_P(PromptCacheTest, AnswersAsAnUncachedRunDoes) {
  const SessionOptions options = options_in_blocks(GetParam());
  Prompt first = raw_prompt(10 * kBlock + 20);
  Prompt second = raw_prompt(10 * kBlock + 300);
  for (size_t i = 10 * kBlock; i < second.ids.size(); ++i) second.ids[i] = second.ids[i - 400];
  ASSERT_NE(first.ids[10 * kBlock], second.ids[10 * kBlock]);
  const std::filesystem::path path = save(first, options);

  Session uncached(needle_engine(), options);
  const GenerateResult expected = answer(uncached, second);
  EXPECT_EQ(expected.cached_tokens, 0);
  Session cached(needle_engine(), options);
  const int64_t n = load_prompt_cache(path, second, cached);
  EXPECT_GT(n, 8 * kBlock);
  const GenerateResult result = answer(cached, second);
  EXPECT_EQ(result.cached_tokens, n);
  EXPECT_EQ(result.ids, expected.ids);
  EXPECT_LE(relative_error(logits_of(cached), logits_of(uncached)), test::kLogitsError);
  EXPECT_EQ(result.retention.retention_sum, expected.retention.retention_sum);
  EXPECT_LT(result.retention.kv_retention(), 0.4) << "the selection must be one";
  EXPECT_EQ(cached.policy().n_chunks(), uncached.policy().n_chunks());
  EXPECT_EQ(cached.policy().n_refreshes(), uncached.policy().n_refreshes());
}

TEST_P(PromptCacheTest, ServesUpToTheFirstTokenOrPromptEndThatDiffers) {
  const SessionOptions options = small_budget(GetParam());
  const Prompt first = raw_prompt(700);
  const std::filesystem::path path = save(first, options);
  const auto served = [&](const Prompt& prompt) {
    Session session(needle_engine(), options);
    const int64_t n = load_prompt_cache(path, prompt, session);
    const GenerateResult cached = answer(session, prompt);
    EXPECT_EQ(cached.cached_tokens, n);
    Session uncached(needle_engine(), options);
    answer(uncached, prompt);
    EXPECT_LE(relative_error(logits_of(session), logits_of(uncached)), test::kLogitsError);
    return n;
  };
  // Up to a chunk end before the first token that is otherwise.
  const auto expect_served = [&](const Prompt& prompt, int64_t n_same, const char* why) {
    const int64_t n = served(prompt);
    EXPECT_LE(n, n_same) << why;
    EXPECT_GE(n, n_same - 160) << why;
  };
  const int64_t tail = GetParam() == PrefillKind::kChunk ? test::kTail : 0;
  expect_served(first, 699 - tail, "the prompt end runs again, and its tail");
  expect_served(raw_prompt(900), 699 - tail, "its prompt end is none here");
  Prompt prompt = first;
  prompt.ids[400] = prompt.ids[399] == 7 ? 8 : 7;
  expect_served(prompt, 400, "a token differs");
  prompt = first;
  prompt.ends = {350, 699};
  expect_served(prompt, 350 - tail, "another prompt end");
  prompt = first;
  prompt.ids[0] = 9;
  expect_served(prompt, 0, "the first token differs");
  expect_served(raw_prompt(50), 50 - tail > 0 ? 50 - tail : 0, "a short prompt is all tail");
}

INSTANTIATE_TEST_SUITE_P(Prefill, PromptCacheTest,
                         testing::Values(PrefillKind::kChunk, PrefillKind::kFull),
                         [](const auto& kind) {
                           return kind.param == PrefillKind::kChunk ? "Chunk" : "Full";
                         });

TEST_F(PromptCacheTest, FullAttentionAndSmallerContexts) {
  SessionOptions options = options_in_blocks(PrefillKind::kChunk);
  options.policy = &full_policy();
  const Prompt prompt = raw_prompt(5 * kBlock);
  const std::filesystem::path path = save(prompt, options, 200);
  options.ctx = 5 * kBlock + 12;  // the file holds more
  Session cached(needle_engine(), options);
  EXPECT_EQ(load_prompt_cache(path, prompt, cached), 5 * kBlock - 1);
  Session uncached(needle_engine(), options);
  EXPECT_EQ(answer(cached, prompt).ids, answer(uncached, prompt).ids);
  EXPECT_LE(relative_error(logits_of(cached), logits_of(uncached)), test::kLogitsError);
}

TEST_F(PromptCacheTest, KeepsRowsOfEveryType) {
  for (const KvType type : {KvType::kBf16, KvType::kF16, KvType::kQ8_0}) {
    SessionOptions options = options_in_blocks(PrefillKind::kChunk);
    options.kv_type = type;
    const Prompt prompt = raw_prompt(4 * kBlock + 20);
    const std::filesystem::path path = save(prompt, options);
    Session uncached(needle_engine(), options);
    const GenerateResult expected = answer(uncached, prompt);
    Session cached(needle_engine(), options);
    EXPECT_GT(load_prompt_cache(path, prompt, cached), kBlock);
    EXPECT_EQ(answer(cached, prompt).ids, expected.ids);
    EXPECT_LE(relative_error(logits_of(cached), logits_of(uncached)), 0.02);
  }
}

TEST_F(PromptCacheTest, NamesWhatDiffers) {
  const Prompt prompt = raw_prompt(100);
  const std::filesystem::path path = save(prompt, small_budget());
  const auto refused = [&](const std::string& part,
                           const std::function<void(SessionOptions&)>& edit) {
    SessionOptions options = small_budget();
    edit(options);
    Session session(needle_engine(), options);
    expect_error(ErrorCode::kData, part, [&] { load_prompt_cache(path, prompt, session); });
  };
  refused("was saved with --kv-budget 128, now 256;",
          [](SessionOptions& o) { o.selection.budget.n_tokens = 256; });
  refused("--kv-budget", [](SessionOptions& o) { o.selection.budget.fraction = 0.5; });
  refused("--top-k-chunks", [](SessionOptions& o) { o.selection.budget.top_k_chunks = 4; });
  refused("--window", [](SessionOptions& o) { o.selection.window = 5; });
  refused("--sink", [](SessionOptions& o) { o.selection.sink = 5; });
  refused("--prefill", [](SessionOptions& o) { o.selection.prefill = PrefillKind::kFull; });
  refused("--refresh", [](SessionOptions& o) { o.selection.refresh = RefreshKind::kBoundary; });
  refused("--kv-type", [](SessionOptions& o) { o.kv_type = KvType::kBf16; });
  refused("--policy", [](SessionOptions& o) { o.policy = &full_policy(); });
}

TEST_F(PromptCacheTest, NamesAnotherModelAndAnotherAdapter) {
  const Prompt prompt = raw_prompt(100);
  const std::filesystem::path path = save(prompt, small_budget());
  const auto refused = [&](const std::string& part, const std::filesystem::path& model,
                           const std::filesystem::path& adapter, const PolicyEntry& policy) {
    EngineOptions engine_options;
    engine_options.model = model;
    if (!adapter.empty()) engine_options.adapters = {adapter};
    engine_options.dtype = DtypeChoice::kF32;
    Engine engine(engine_options);
    engine.load_weights();
    SessionOptions options = small_budget();
    options.policy = &policy;
    Session session(engine, options);
    expect_error(ErrorCode::kData, part, [&] { load_prompt_cache(path, prompt, session); });
  };
  refused("model fingerprint", tiny_llama(), {}, full_policy());
  const std::filesystem::path other = folder_ / "adapter";
  std::filesystem::create_directory(other);
  Adapter changed = load_adapter(needle_adapter());
  changed.layers[2].q[5] += 1.0f;
  save_adapter(changed, other);
  refused("adapter digest", needle_model(), other, policy_named("chunk"));
}

// Everything a file can lie about ends in one error, whether its checksum was made anew or not.
TEST_F(PromptCacheTest, RefusesEveryCutAndEveryChangedByte) {
  SessionOptions options = small_budget();
  const Prompt prompt = raw_prompt(40);
  const std::filesystem::path path = save(prompt, options, 1);
  const std::string good = read_text(path);
  const std::filesystem::path bad = folder_ / "bad.cache";
  Session session(needle_engine(), options);
  const auto refuses = [&](const std::string& bytes) {
    write_text(bad, bytes);
    try {
      load_prompt_cache(bad, prompt, session);
    } catch (const Error& error) {
      const std::string message = error.what();
      return message.find("bad.cache") != std::string::npos &&
             message.find('\n') == std::string::npos;
    }
    return false;
  };
  Rng rng(1);
  for (int i = 0; i < 60; ++i) {
    const auto n = static_cast<size_t>(rng.below(static_cast<int64_t>(good.size())));
    EXPECT_TRUE(refuses(good.substr(0, n))) << "cut to " << n;
  }
  for (int i = 0; i < 120; ++i) {
    // Half of the changes are in the header, where the numbers are.
    const int64_t limit = i % 2 == 0 ? 8000 : static_cast<int64_t>(good.size());
    std::string bytes = good;
    char& byte = bytes[static_cast<size_t>(rng.below(limit))];
    const char before = byte;
    byte = static_cast<char>(byte ^ static_cast<char>(1 + rng.below(255)));
    EXPECT_TRUE(refuses(bytes)) << int{before} << " became " << int{byte};
  }
  EXPECT_TRUE(refuses(good + "more"));
  EXPECT_TRUE(refuses(""));
  write_text(bad, good);
  EXPECT_NO_THROW(load_prompt_cache(bad, prompt, session)) << "unchanged it is a good one";
}

TEST_F(PromptCacheTest, EveryCallThatFailsLeavesTheOldCacheOrTheNewOneWhole) {
  const std::filesystem::path path = save(raw_prompt(100), small_budget(), 1);
  Session session(needle_engine(), small_budget());
  generate(session, needle_engine().tokenizer(), raw_prompt(40), {.max_tokens = 1});
  expect_whole_files(folder_.path(), [&] { save_prompt_cache(path, session); });
}

TEST_F(PromptCacheTest, RefusesAnEmptySessionAndStrangeFiles) {
  Session session(needle_engine(), small_budget());
  expect_error(ErrorCode::kInvalidArgument, "no tokens",
               [&] { save_prompt_cache(folder_ / "none", session); });
  EXPECT_FALSE(std::filesystem::exists(folder_ / "none"));
  const Prompt prompt = raw_prompt(10);
  expect_error(ErrorCode::kIo, "nowhere",
               [&] { load_prompt_cache(folder_ / "nowhere", prompt, session); });
  expect_error(ErrorCode::kData, "no prompt cache",
               [&] { load_prompt_cache(needle_model() / "model.safetensors", prompt, session); });
}

TEST_F(PromptCacheTest, RefusesLiesUnderARightChecksum) {
  const Prompt prompt = raw_prompt(200);
  const std::filesystem::path path = save(prompt, small_budget(), 1);
  const std::filesystem::path bad = folder_ / "bad.cache";
  const auto refused = [&](ErrorCode code, const std::string& part,
                           const std::function<void(OpenCache&)>& edit) {
    OpenCache cache(path);
    edit(cache);
    cache.write(bad);
    const auto load = [&] {
      Session session(needle_engine(), small_budget());
      load_prompt_cache(bad, prompt, session);
    };
    expect_error(code, part, load);
    expect_error(code, "bad.cache", load);
  };
  const auto data = ErrorCode::kData;
  refused(ErrorCode::kUnsupported, "version 3", [](OpenCache& c) { c.state["version"] = 3; });
  refused(ErrorCode::kUnsupported, "version 1", [](OpenCache& c) { c.state["version"] = 1; });
  refused(data, "n_tokens", [](OpenCache& c) { c.state["n_tokens"] = int64_t{1} << 60; });
  refused(data, "n_tokens", [](OpenCache& c) { c.state["n_tokens"] = 0; });
  refused(data, "n_tokens", [](OpenCache& c) { c.state.erase("n_tokens"); });
  refused(data, "tokens", [](OpenCache& c) { c.state["n_tokens"] = 1 << 29; });
  refused(data, "tokens", [](OpenCache& c) { c.state["n_tokens"] = 100; });
  refused(data, "chunk_ends", [](OpenCache& c) { c.tensors.erase("chunk_ends"); });
  refused(data, "arrays", [](OpenCache& c) {
    c.tensors["layers.99.chunk_keys"] = c.tensors["layers.2.chunk_keys"];
  });
  refused(data, "settings", [](OpenCache& c) { c.state["settings"] = 3; });
  refused(data, "another", [](OpenCache& c) { c.state["settings"]["another"] = 3; });
  refused(data, "origins holds 3", [](OpenCache& c) { c.tensors["origins"].bytes[7] = 3; });
  refused(data, "vocabulary", [](OpenCache& c) { c.tensors["tokens"].bytes[3] = 0x80; });
  refused(data, "vocabulary", [](OpenCache& c) { c.tensors["tokens"].bytes[2] = 0x7f; });
  refused(data, "tokens is F32", [](OpenCache& c) { c.tensors["tokens"].dtype = DType::kF32; });
  refused(data, "layers.3.values.1", [](OpenCache& c) { c.tensors.erase("layers.3.values.1"); });
  refused(data, "layers.3.keys.0", [](OpenCache& c) {
    OpenCache::Tensor& tensor = c.tensors["layers.3.keys.0"];
    tensor.shape[0] -= 1;
    tensor.bytes.resize(tensor.bytes.size() - static_cast<size_t>(tensor.shape[1] * 4));
  });
  refused(data, "layers.3.keys.0 is I32",
          [](OpenCache& c) { c.tensors["layers.3.keys.0"].dtype = DType::kI32; });
  refused(data, "layers.2.refresh_queries",
          [](OpenCache& c) { c.tensors.erase("layers.2.refresh_queries"); });
  refused(data, "layer 2", [](OpenCache& c) {
    OpenCache::Tensor& tensor = c.tensors["layers.2.chunk_keys"];
    tensor.shape[0] -= 1;
    tensor.bytes.resize(tensor.bytes.size() - 4);
  });
  refused(data, "nan", [](OpenCache& c) {
    const uint8_t nan[] = {0, 0, 0xc0, 0x7f};
    std::copy(nan, nan + 4, c.tensors["layers.2.chunk_keys"].bytes.begin());
  });
  refused(data, "chunk end", [](OpenCache& c) { c.tensors["chunk_ends"].bytes[7] = 0x80; });
  refused(data, "chunk end", [](OpenCache& c) { c.tensors["chunk_ends"].bytes[4] = 1; });
  OpenCache(path).write(bad);
  Session session(needle_engine(), small_budget());
  EXPECT_GT(load_prompt_cache(bad, prompt, session), 100) << "unchanged it is a good one";
}

// Lies that a right checksum would not show.
TEST_F(PromptCacheTest, RefusesStatesThatNoSequenceHas) {
  const Prompt prompt = raw_prompt(300);
  const Engine& engine = needle_engine();
  Session source(engine, small_budget());
  generate(source, engine.tokenizer(), prompt, {.max_tokens = 1});
  const std::vector<int32_t> tokens(source.tokens().begin(), source.tokens().end());
  const std::vector<Session::Origin> origins(source.origins().begin(), source.origins().end());
  const auto refused = [&](const std::string& part, const std::function<void(PolicyState&)>& edit) {
    PolicyState state = source.policy().state();
    edit(state);
    Session session(engine, small_budget());
    expect_error(ErrorCode::kData, part, [&] {
      session.restore(tokens, origins, state, 200, [](KvCache&, int64_t) { FAIL(); });
    });
  };
  const auto ends = [](PolicyState& s) -> std::vector<int64_t>& {
    return s.positions.at("chunk_ends");
  };
  refused("chunk end", [&](PolicyState& s) { ends(s).back() = 301; });
  refused("chunk end", [&](PolicyState& s) { ends(s)[1] = ends(s)[0]; });
  refused("chunk end", [&](PolicyState& s) { ends(s)[0] = -1; });
  refused("chunk end", [&](PolicyState& s) { std::swap(ends(s)[0], ends(s)[1]); });
  refused("layer 1", [&](PolicyState& s) { ends(s).pop_back(); });
  refused("layer 2", [](PolicyState& s) { s.floats.at("layers.2.chunk_keys").pop_back(); });
  refused("layer 0", [](PolicyState& s) { s.floats.at("layers.0.refresh_queries").clear(); });
  refused("layers.5.chunk_keys", [](PolicyState& s) { s.floats.erase("layers.5.chunk_keys"); });
  refused("arrays", [](PolicyState& s) { s.positions["page_bounds"] = {1}; });
  Session session(engine, small_budget());
  std::vector<int32_t> wrong = tokens;
  wrong[3] = 1 << 30;
  expect_error(ErrorCode::kData, "vocabulary", [&] {
    session.restore(wrong, origins, source.policy().state(), 200, [](KvCache&, int64_t) {});
  });
}

}  // namespace
}  // namespace chunkllm
