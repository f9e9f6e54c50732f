// A saved prompt cache: the file as it is, or, after a first byte of 'S', another state under a
// checksum that is right; what follows "%%" is laid over the bytes of the small tensors.
#include "engine/engine.h"
#include "engine/generate.h"
#include "engine/prompt_cache.h"
#include "fuzz_folder.h"
#include "testing/open_cache.h"

namespace chunkllm {
namespace {

const Engine& engine() {
  static const std::unique_ptr<Engine> loaded = [] {
    auto made = std::make_unique<Engine>(
        EngineOptions{.model = CHUNKLLM_SOURCE_DIR "/models/needle-6m",
                      .adapters = {CHUNKLLM_SOURCE_DIR "/models/needle-6m-adapter"},
                      .dtype = DtypeChoice::kF32});
    made->load_weights();
    return made;
  }();
  return *loaded;
}

SessionOptions session_options() {
  SessionOptions options;
  options.policy = &policy_named("chunk");
  options.selection.budget.n_tokens = 16;
  options.ctx = 64;
  return options;
}

const Prompt& prompt() {
  static const Prompt prompt = [] {
    Prompt made;
    made.ids = engine().tokenizer().encode("He went. She came home. They sat down. It was late.");
    made.ends = {made.n_tokens() - 1};
    return made;
  }();
  return prompt;
}

const OpenCache& good_cache() {
  static const OpenCache cache = [] {
    Session session(engine(), session_options());
    generate(session, engine().tokenizer(), prompt(), {.max_tokens = 2});
    save_prompt_cache(fuzz::folder() / "good", session);
    return OpenCache(fuzz::folder() / "good");
  }();
  return cache;
}

void write_signed(const std::filesystem::path& path, std::string_view input) {
  const auto [state, bytes] = fuzz::split_files(input);
  OpenCache cache = good_cache();
  size_t used = 0;
  for (auto& [name, tensor] : cache.tensors) {
    if (name.starts_with("layers.") && name.find("keys.") != std::string::npos) continue;
    for (size_t i = 0; i < tensor.bytes.size() && used < bytes.size(); ++i, ++used) {
      tensor.bytes[i] ^= static_cast<uint8_t>(bytes[used]);
    }
  }
  cache.write(path, state.empty() ? cache.state.dump() : std::string(state));
}

}  // namespace
}  // namespace chunkllm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  const std::filesystem::path path = fuzz::folder() / "cache";
  if (size > 0 && data[0] == 'S') {
    write_signed(path, fuzz::as_text(data + 1, size - 1));
  } else {
    write_text(path, fuzz::as_text(data, size));
  }
  fuzz::expect_answer([&] {
    Session session(engine(), session_options());
    load_prompt_cache(path, prompt(), session);
  });
  return 0;
}
