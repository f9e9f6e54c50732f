// A sequence's computed state in a file, so that a prompt with the same begin need not run again.
// docs/formats.md, "Prompt cache", describes the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/prompt.h"
#include "engine/session.h"

namespace chunkllm {

// Whether a file, perhaps half written, begins as those of save_prompt_cache() do; false also where
// it cannot be read.
bool begins_as_prompt_cache(const std::filesystem::path& path);

// Throws Error (kInvalidArgument) if a file stands at `path` that is no prompt cache: saving would
// replace it.
void check_cache_target(const std::filesystem::path& path);

// Writes all tokens of the session: how they came in, their keys and values, and the policy's
// state. Atomic. Throws Error (kIo; kInvalidArgument for an empty session).
void save_prompt_cache(const std::filesystem::path& path, const Session& session);

// Fills an empty session with the longest begin of `prompt` that the file serves, up to the first
// token that differs, came in otherwise or attends to everything in one of both alone, and returns
// how many of these tokens need not run again (perhaps 0): where the policy's state cannot be made
// again at the end, those up to the last chunk end that they decided. Throws Error: kIo; kData for
// a file that is damaged, or made with another model, adapter, policy, settings or types, naming
// the first that differs; kUnsupported for a newer version.
int64_t load_prompt_cache(const std::filesystem::path& path, const Prompt& prompt,
                          Session& session);

// The same with all that the file holds, whatever comes next. Returns the tokens that the session
// then has.
int64_t load_prompt_cache(const std::filesystem::path& path, Session& session);

// What a file holds, read without its keys and values and without its checksum.
struct PromptCacheEntry {
  std::string settings;  // as of cache_settings()
  std::vector<int32_t> tokens;
  std::vector<Session::Origin> origins;
};
// Throws Error (kIo, kData, kUnsupported).
PromptCacheEntry read_prompt_cache_entry(const std::filesystem::path& path);
// What a saved cache depends on besides its tokens: only sessions of the same can use it.
std::string cache_settings(const Engine& engine, const SessionOptions& options);

}  // namespace chunkllm
