// A cache in a file, of which a small part is resident, against the same cache in memory.

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "engine/needle_engine.h"
#include "engine/prompt_cache.h"
#include "engine/session_cases.h"
#include "engine/session_memory.h"
#include "testing/expect_error.h"
#include "testing/temp_folder.h"

namespace chunkllm::test {
namespace {

constexpr const char* kDisk = "/var/tmp";
constexpr int64_t kPrompt = 1200;

struct Case {
  const char* policy;
  KvType type;
};
constexpr Case kCases[] = {
    {"full", KvType::kF32},      {"chunk", KvType::kF32},   {"chunk", KvType::kBf16},
    {"chunk", KvType::kQ8_0},    {"meankey", KvType::kF32}, {"quest", KvType::kBf16},
    {"streaming", KvType::kF32}, {"oracle", KvType::kF32},
};

SessionOptions options_of(const Case& one, const TempFolder* folder) {
  SessionOptions options = small_budget();
  options.policy = &policy_named(one.policy);
  options.kv_type = one.type;
  // A quarter of some 3.7 MB in float32.
  if (folder != nullptr) options.kv_storage = {int64_t{900} << 10, folder->path()};
  return options;
}

TEST(KvStorage, ResidentOrNotTheBitsAreTheSame) {
  const Engine& engine = needle_engine();
  const std::vector<int32_t> tokens = make_tokens(engine.tokenizer(), kPrompt);
  const TempFolder folder(kDisk);
  for (const Case& one : kCases) {
    SCOPED_TRACE(one.policy);
    Session memory(engine, options_of(one, nullptr));
    Session file(engine, options_of(one, &folder));
    for (Session* session : {&memory, &file}) {
      session->prefill(tokens, std::vector<int64_t>{kPrompt - 1});
    }
    ASSERT_EQ(logits_of(memory), logits_of(file));
    for (int32_t token = 5; token < 25; ++token) {
      memory.decode(token);
      file.decode(token);
      ASSERT_EQ(logits_of(memory), logits_of(file));
    }
    for (Session* session : {&memory, &file}) {
      session->truncate(700);
      session->decode(9);
    }
    EXPECT_EQ(logits_of(memory), logits_of(file));
    EXPECT_EQ(memory.kv_bytes_resident(), memory.kv_bytes_stored());
    if (one.type == KvType::kF32) {
      EXPECT_LT(file.kv_bytes_resident(), memory.kv_bytes_stored());
    }
  }
}

TEST(KvStorage, SavedAndCopiedPrefixesAreTheSame) {
  const Engine& engine = needle_engine();
  const std::vector<int32_t> tokens = make_tokens(engine.tokenizer(), kPrompt);
  const TempFolder folder(kDisk);
  const Case one{"chunk", KvType::kF32};
  Session memory(engine, options_of(one, nullptr));
  Session file(engine, options_of(one, &folder));
  for (Session* session : {&memory, &file})
    session->prefill(tokens, std::vector<int64_t>{kPrompt - 1});
  save_prompt_cache(folder / "memory", memory);
  save_prompt_cache(folder / "file", file);
  EXPECT_EQ(read_text(folder / "memory"), read_text(folder / "file"));
  Session memory_again(engine, options_of(one, nullptr));
  Session file_again(engine, options_of(one, &folder));
  for (Session* session : {&memory_again, &file_again}) {
    EXPECT_GE(load_prompt_cache(folder / "memory", *session), kPrompt - 1);
    session->run_waiting();
    session->decode(7);
  }
  EXPECT_EQ(logits_of(memory_again), logits_of(file_again));
}

TEST(KvStorage, MemoryAheadCountsWhatIsResident) {
  const Engine& engine = needle_engine();
  const TempFolder folder(kDisk);
  SessionOptions options = options_of({"full", KvType::kF32}, nullptr);
  options.ctx = 100'000;
  const int64_t in_memory = session_memory(engine.config(), nullptr, options).kv_bytes;
  options.kv_storage = {in_memory / 4, folder.path()};
  EXPECT_EQ(session_memory(engine.config(), nullptr, options).kv_bytes, in_memory / 4);
  options.kv_storage.resident_bytes = 2 * in_memory;
  EXPECT_EQ(session_memory(engine.config(), nullptr, options).kv_bytes, in_memory);
}

}  // namespace
}  // namespace chunkllm::test
