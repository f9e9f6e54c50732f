#include "engine/generate.h"

#include <algorithm>

#include "base/timer.h"

namespace chunkllm {

GenerateResult generate(Session& session, const Tokenizer& tokenizer,
                        std::span<const int32_t> prompt, std::span<const int64_t> prompt_ends,
                        const GenerateOptions& options, const OnText& on_text,
                        const Session::Progress& progress, const CancelToken* cancel) {
  GenerateResult result;
  result.finish_reason = "length";
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  Sampler sampler(options.sampling);
  StreamDecoder decoder(tokenizer);
  const auto give = [&](const std::string& text) {
    result.text += text;
    if (on_text && !text.empty()) on_text(text);
  };

  Timer timer;
  session.prefill(prompt, prompt_ends, progress, cancel);
  result.prefill_seconds = timer.seconds();

  timer = Timer();
  while (result.generated_tokens < options.max_tokens) {
    if (cancel != nullptr) cancel->check();
    session.count_pass(result.retention);
    const int32_t token = sampler.sample(session.logits());
    ++result.generated_tokens;
    if (std::ranges::find(options.eos_ids, token) != options.eos_ids.end()) {
      result.finish_reason = "stop";
      break;
    }
    result.ids.push_back(token);
    give(decoder.push(token));
    if (result.generated_tokens < options.max_tokens) session.decode(token);
  }
  give(decoder.finish());
  result.decode_seconds = timer.seconds();
  return result;
}

}  // namespace chunkllm
