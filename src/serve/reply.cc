#include "serve/reply.h"

#include <algorithm>
#include <ctime>
#include <functional>
#include <random>

#include "text/utf8.h"

namespace chunkllm::serve {
namespace {

using Json = nlohmann::ordered_json;

// What JSON says in place of minus infinity.
constexpr double kLeastLogProb = -9999.0;

constexpr size_t kMostChunksShown = 512;

double as_number(double log_prob) { return std::max(log_prob, kLeastLogProb); }

std::string random_id(std::string_view prefix) {
  std::random_device random;
  return fmt::format("{}-{:08x}{:08x}{:08x}", prefix, random(), random(), random());
}

int64_t n_characters_of(std::string_view utf8) {
  return std::ranges::count_if(utf8, [](char c) { return (c & 0xc0) != 0x80; });
}

Json bytes_of(std::string_view text) {
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

Json call_json(const ToolCall& call) {
  return {{"id", random_id("call")},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

Json ids_of(std::span<const TokenChoice> tokens) {
  Json ids = Json::array();
  for (const TokenChoice& token : tokens) ids.push_back(token.id);
  return ids;
}

double per_second(int64_t n, double seconds) {
  return seconds > 0 ? static_cast<double>(n) / seconds : 0.0;
}

}  // namespace

Json error_json(int status, const std::string& type, const std::string& message) {
  return {{"error", {{"code", status}, {"message", message}, {"type", type}}}};
}

std::pair<int, Json> error_reply(const Error& error) {
  if (const auto* too_long = dynamic_cast<const PromptTooLong*>(&error)) {
    Json json = error_json(400, "exceed_context_size_error", error.what());
    json["error"]["n_prompt_tokens"] = too_long->n_prompt_tokens;
    json["error"]["n_ctx"] = too_long->n_ctx;
    return {400, json};
  }
  switch (error.code()) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kData:
      return {400, error_json(400, "invalid_request_error", error.what())};
    case ErrorCode::kUnsupported:
      return {400, error_json(400, "not_supported_error", error.what())};
    case ErrorCode::kIo:
    case ErrorCode::kMemory:
      return {500, error_json(500, "server_error", error.what())};
    case ErrorCode::kInterrupted:
      return {503, error_json(503, "unavailable_error", error.what())};
  }
  return {500, error_json(500, "server_error", error.what())};
}

std::pair<int, Json> error_reply(const Event& failed) {
  if (failed.timed_out) return {504, error_json(504, "timeout_error", failed.message)};
  // What the request itself has wrong was said before it ran.
  if (failed.code == ErrorCode::kInterrupted) {
    return {503, error_json(503, "unavailable_error", failed.message)};
  }
  return {500, error_json(500, "server_error", failed.message)};
}

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  if (!tokenizer.has_token(id)) return fmt::format("<{}>", id);
  const std::string_view bytes = tokenizer.token_bytes(id);
  if (!find_invalid_utf8(bytes)) return std::string(bytes);
  std::string text = "bytes:";
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

Reply::Reply(const RequestContext& context, const CompletionRequest& request)
    : context_(context),
      request_(request),
      tokenizer_(context.engine.tokenizer()),
      id_(random_id(request.dialect == Dialect::kChat ? "chatcmpl" : "cmpl")),
      created_(static_cast<int64_t>(std::time(nullptr))),
      choices_(request.jobs.size()) {
  for (Choice& choice : choices_) {
    if (request.tools.names.empty()) continue;
    choice.calls.emplace(request.tools.names);
    choice.text = choice.calls->push(request.tools.begun);
  }
}

std::string Reply::token_name(int32_t id) const {
  return request_.tokens_as_token_ids ? fmt::format("token_id:{}", id) : token_text(tokenizer_, id);
}

std::string Reply::prompt_text(const Prompt& prompt) const {
  return tokenizer_.decode(prompt.ids, true);
}

Json Reply::frame(const char* object) const {
  return {{"id", id_}, {"object", object}, {"created", created_}, {"model", context_.model_name}};
}

Json Reply::piece_without_text() const {
  Json piece =
      frame(request_.dialect == Dialect::kChat ? "chat.completion.chunk" : "text_completion");
  piece["choices"] = Json::array();
  return piece;
}

std::string Reply::finish_reason(const Choice& choice) const {
  return choice.calls && !choice.calls->calls().empty() ? "tool_calls" : choice.end.finish_reason;
}

Json Reply::stop_reason(const Choice& choice) const {
  if (choice.end.stop_string) return *choice.end.stop_string;
  const auto& ids = request_.stop_token_ids;
  const auto& token = choice.end.stop_token;
  const bool was_asked_for = token && std::ranges::find(ids, *token) != ids.end();
  return was_asked_for ? Json(*token) : Json();
}

std::vector<Json> Reply::take(const Event& event) {
  Choice& choice = choices_[event.job];
  switch (event.kind) {
    case Event::Kind::kProgress:
      choice.end.counts = event.counts;
      if (!request_.return_progress) return {};
      return {progress_piece(event)};
    case Event::Kind::kChunks:
      return {chunks_piece(choice, event)};
    case Event::Kind::kPrompt:
      choice.prompt_tokens.insert(choice.prompt_tokens.end(), event.tokens.begin(),
                                  event.tokens.end());
      return {};
    case Event::Kind::kText:
      break;
    case Event::Kind::kDone:
      choice.end = event;
      ++n_done_;
      break;
    case Event::Kind::kFailed:
      return {};
  }
  choice.tokens.insert(choice.tokens.end(), event.tokens.begin(), event.tokens.end());
  return text_pieces(choice, event.job, event);
}

std::vector<Json> Reply::text_pieces(Choice& choice, size_t index, const Event& event) {
  switch (request_.dialect) {
    case Dialect::kCompletion:
    case Dialect::kRuler:
      return completion_pieces(choice, index, event);
    case Dialect::kChat:
      return chat_pieces(choice, index, event);
    case Dialect::kNative:
      choice.text += event.text;
      return {native_piece(choice, index, event)};
  }
  return {};
}

std::vector<Json> Reply::completion_pieces(Choice& choice, size_t index, const Event& event) {
  const Prompt& prompt = request_.jobs[index]->prompt;
  std::string text = event.text;
  std::span<const TokenChoice> prompt_tokens;
  const bool begins = !choice.began;
  if (begins && request_.echo) {
    text = prompt_text(prompt) + text;
    prompt_tokens = choice.prompt_tokens;
  }
  choice.began = true;
  choice.text += text;
  const bool ends = event.kind == Event::Kind::kDone;
  if (!request_.streams) return {};
  if (text.empty() && !ends && request_.n_logprobs < 0 && !request_.return_token_ids) return {};
  Json piece = frame("text_completion");
  Json part = {{"index", index}, {"text", text}, {"logprobs", nullptr}};
  if (request_.n_logprobs >= 0) {
    part["logprobs"] = log_probs(prompt_tokens, event.tokens,
                                 begins && request_.echo ? &prompt : nullptr, choice.n_characters);
  }
  if (request_.return_token_ids) {
    part["token_ids"] = ids_of(event.tokens);
  }
  if (ends) part["stop_reason"] = stop_reason(choice);
  part["finish_reason"] = ends ? Json(choice.end.finish_reason) : Json();
  piece["choices"] = Json::array({std::move(part)});
  return {piece};
}

std::vector<Json> Reply::chat_pieces(Choice& choice, size_t index, const Event& event) {
  const bool ends = event.kind == Event::Kind::kDone;
  std::string text = choice.calls ? choice.calls->push(event.text) : event.text;
  if (choice.calls && ends) text += choice.calls->finish();
  choice.text += text;
  if (!request_.streams) return {};
  std::vector<Json> pieces;
  const auto add = [&](Json delta, Json reason, Json probs) {
    Json piece = frame("chat.completion.chunk");
    piece["choices"] = Json::array();
    piece["choices"].push_back({{"index", index},
                                {"delta", std::move(delta)},
                                {"logprobs", std::move(probs)},
                                {"finish_reason", std::move(reason)}});
    pieces.push_back(std::move(piece));
  };
  if (!choice.began) add({{"role", "assistant"}, {"content", ""}}, nullptr, nullptr);
  choice.began = true;
  Json probs;
  if (request_.n_logprobs >= 0) probs = {{"content", content_log_probs(event.tokens)}};
  if (!text.empty() || !probs.is_null()) add({{"content", text}}, nullptr, std::move(probs));
  if (!ends) return pieces;
  if (choice.calls) {
    for (size_t i = 0; i < choice.calls->calls().size(); ++i) {
      const ToolCall& call = choice.calls->calls()[i];
      Json one = call_json(call);
      one["index"] = i;
      add({{"tool_calls", Json::array({std::move(one)})}}, nullptr, nullptr);
    }
  }
  add(Json::object(), finish_reason(choice), nullptr);
  return pieces;
}

Json Reply::native_piece(Choice& choice, size_t index, const Event& event) {
  if (event.kind == Event::Kind::kDone) {
    Json piece = native_whole(choice, index);
    piece["content"] = event.text;
    piece["tokens"] = ids_of(event.tokens);
    return piece;
  }
  Json piece = {{"index", index}, {"content", event.text}, {"tokens", ids_of(event.tokens)}};
  piece["stop"] = false;
  piece["id_slot"] = choice.end.counts.slot;
  if (request_.n_logprobs >= 0) piece["completion_probabilities"] = content_log_probs(event.tokens);
  return piece;
}

Json Reply::progress_piece(const Event& event) const {
  Json piece = piece_without_text();
  piece["prompt_progress"] = {{"total", event.counts.prompt_tokens},
                              {"cache", event.counts.cached_tokens},
                              {"processed", event.n_done},
                              {"time_ms", 1000 * event.counts.prefill_seconds}};
  if (request_.dialect == Dialect::kNative) {
    piece["content"] = "";
    piece["stop"] = false;
  }
  return piece;
}

// Chunks with their texts, in order of position; of very many those with most attention, since an
// event is sent twice a second.
Json Reply::chunks_piece(const Choice& choice, const Event& event) const {
  std::vector<int32_t> ids = request_.jobs[event.job]->prompt.ids;
  for (const TokenChoice& token : choice.tokens) ids.push_back(token.id);
  const auto text_of = [&](const Range& tokens) {
    return tokenizer_.decode(std::span(ids).subspan(static_cast<size_t>(tokens.begin),
                                                    static_cast<size_t>(tokens.size())));
  };
  Json piece = piece_without_text();
  Json list = Json::array();
  std::vector<ChosenChunk> shown = event.chunks;
  if (shown.size() > kMostChunksShown) {
    std::ranges::nth_element(shown, shown.begin() + kMostChunksShown, std::greater(),
                             &ChosenChunk::mass);
    shown.resize(kMostChunksShown);
    std::ranges::sort(shown, {}, [](const ChosenChunk& chunk) { return chunk.positions.begin; });
  }
  for (const ChosenChunk& chunk : shown) {
    if (chunk.positions.end > std::ssize(ids)) continue;
    list.push_back({{"begin", chunk.positions.begin},
                    {"end", chunk.positions.end},
                    {"text", text_of(chunk.positions)},
                    {"layers", chunk.layers},
                    {"mass", chunk.mass},
                    {"usual_mass", chunk.usual_mass}});
  }
  Json all = Json::array();
  for (const Range& chunk : event.all_chunks) {
    if (chunk.end <= std::ssize(ids)) all.push_back({chunk.begin, text_of(chunk)});
  }
  piece["chunks"] = {
      {"n_tokens", event.n_done}, {"n_chosen", event.chunks.size()}, {"chosen", std::move(list)}};
  if (!all.empty()) piece["chunks"]["all"] = std::move(all);
  return piece;
}

Json Reply::content_log_probs(std::span<const TokenChoice> tokens) const {
  Json content = Json::array();
  const auto entry = [&](int32_t id, double log_prob) {
    const std::string_view bytes =
        tokenizer_.has_token(id) ? tokenizer_.token_bytes(id) : std::string_view();
    return Json{{"id", id},
                {"token", token_name(id)},
                {"bytes", bytes_of(bytes)},
                {"logprob", as_number(log_prob)}};
  };
  for (const TokenChoice& token : tokens) {
    Json one = entry(token.id, token.log_prob);
    one["top_logprobs"] = Json::array();
    for (size_t i = 0;
         i < token.top.size() && std::ssize(one["top_logprobs"]) < request_.n_logprobs; ++i) {
      one["top_logprobs"].push_back(entry(token.top[i].first, token.top[i].second));
    }
    content.push_back(std::move(one));
  }
  return content;
}

// Both shapes at once: vLLM's lists and llama.cpp's `content`.
Json Reply::log_probs(std::span<const TokenChoice> prompt_tokens,
                      std::span<const TokenChoice> tokens, const Prompt* prompt,
                      int64_t& n_characters) const {
  Json names = Json::array(), values = Json::array(), top = Json::array(), offsets = Json::array();
  const auto add_name = [&](int32_t id) {
    names.push_back(token_name(id));
    offsets.push_back(n_characters);
    if (tokenizer_.has_token(id) && !tokenizer_.is_special(id)) {
      n_characters += n_characters_of(tokenizer_.token_bytes(id));
    }
  };
  const auto add = [&](const TokenChoice& token) {
    add_name(token.id);
    values.push_back(as_number(token.log_prob));
    Json likeliest = Json::object();
    for (int64_t i = 0; i < std::min(request_.n_logprobs, std::ssize(token.top)); ++i) {
      const auto& [id, log_prob] = token.top[static_cast<size_t>(i)];
      likeliest[token_name(id)] = as_number(log_prob);
    }
    likeliest[token_name(token.id)] = as_number(token.log_prob);
    top.push_back(std::move(likeliest));
  };
  if (prompt != nullptr) {
    add_name(prompt->ids.front());
    values.push_back(nullptr);
    top.push_back(nullptr);
    for (const TokenChoice& token : prompt_tokens) add(token);
  }
  for (const TokenChoice& token : tokens) add(token);
  return {{"tokens", std::move(names)},
          {"token_logprobs", std::move(values)},
          {"top_logprobs", std::move(top)},
          {"text_offset", std::move(offsets)},
          {"content", content_log_probs(tokens)}};
}

Json Reply::prompt_log_probs(const Choice& choice) const {
  Json list = Json::array({nullptr});
  for (size_t i = 0; i < choice.prompt_tokens.size(); ++i) {
    const TokenChoice& token = choice.prompt_tokens[i];
    Json entry = Json::object();
    const auto add = [&](int32_t id, double log_prob, Json rank) {
      entry[std::to_string(id)] = {{"logprob", as_number(log_prob)},
                                   {"rank", std::move(rank)},
                                   {"decoded_token", token_text(tokenizer_, id)}};
    };
    add(token.id, token.log_prob, token.rank);
    for (int64_t t = 0; t < std::min(request_.n_prompt_logprobs, std::ssize(token.top)); ++t) {
      add(token.top[static_cast<size_t>(t)].first, token.top[static_cast<size_t>(t)].second, t + 1);
    }
    list.push_back(std::move(entry));
  }
  return list;
}

Json Reply::completion_choice(const Choice& choice, size_t index) const {
  const Prompt& prompt = request_.jobs[index]->prompt;
  Json json = {{"index", index}, {"text", choice.text}, {"logprobs", nullptr}};
  if (request_.n_logprobs >= 0) {
    int64_t n_characters = 0;
    json["logprobs"] = log_probs(choice.prompt_tokens, choice.tokens,
                                 request_.echo ? &prompt : nullptr, n_characters);
  }
  json["finish_reason"] = choice.end.finish_reason;
  json["stop_reason"] = stop_reason(choice);
  if (request_.n_prompt_logprobs >= 0) {
    json["prompt_logprobs"] = prompt_log_probs(choice);
  }
  if (request_.return_token_ids) {
    json["prompt_token_ids"] = prompt.ids;
    json["token_ids"] = ids_of(choice.tokens);
  }
  return json;
}

Json Reply::chat_choice(const Choice& choice, size_t index) const {
  Json message = {{"role", "assistant"}, {"content", choice.text}};
  if (choice.calls && !choice.calls->calls().empty()) {
    if (choice.text.empty()) message["content"] = nullptr;
    message["tool_calls"] = Json::array();
    for (const ToolCall& call : choice.calls->calls()) {
      message["tool_calls"].push_back(call_json(call));
    }
  }
  Json json = {{"index", index}, {"message", std::move(message)}, {"logprobs", nullptr}};
  if (request_.n_logprobs >= 0) {
    json["logprobs"] = {{"content", content_log_probs(choice.tokens)}, {"refusal", nullptr}};
  }
  json["finish_reason"] = finish_reason(choice);
  json["stop_reason"] = stop_reason(choice);
  if (request_.return_token_ids) {
    json["token_ids"] = ids_of(choice.tokens);
  }
  return json;
}

Json Reply::native_whole(const Choice& choice, size_t index) const {
  const JobCounts& counts = choice.end.counts;
  Json json = {{"index", index}, {"content", choice.text}, {"tokens", Json::array()}};
  if (request_.return_token_ids) json["tokens"] = ids_of(choice.tokens);
  json["id_slot"] = counts.slot;
  json["stop"] = true;
  json["model"] = context_.model_name;
  json["tokens_predicted"] = counts.generated_tokens;
  json["tokens_evaluated"] = counts.prompt_tokens;
  json["tokens_cached"] = counts.cached_tokens;
  json["truncated"] = false;
  json["stop_type"] = choice.end.stop_string               ? "word"
                      : choice.end.finish_reason == "stop" ? "eos"
                                                           : "limit";
  json["stopping_word"] = choice.end.stop_string.value_or("");
  json["timings"] = timings();
  json["chunkllm"] = selection();
  if (request_.n_logprobs >= 0) {
    json["completion_probabilities"] = content_log_probs(choice.tokens);
  }
  return json;
}

Json Reply::usage() const {
  int64_t n_prompt = 0, n_cached = 0, n_generated = 0;
  const Prompt* last = nullptr;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const JobCounts& counts = choices_[i].end.counts;
    n_generated += counts.generated_tokens;
    // A prompt that is answered n times counts once.
    const Prompt& prompt = request_.jobs[i]->prompt;
    if (last != nullptr && last->ids == prompt.ids) continue;
    last = &prompt;
    n_prompt += counts.prompt_tokens;
    n_cached += counts.cached_tokens;
  }
  return {{"prompt_tokens", n_prompt},
          {"completion_tokens", n_generated},
          {"total_tokens", n_prompt + n_generated},
          {"prompt_tokens_details", {{"cached_tokens", n_cached}}}};
}

Json Reply::timings() const {
  const JobCounts& counts = choices_.front().end.counts;
  const int64_t n_read = counts.prompt_tokens - counts.cached_tokens;
  const int64_t n_written = std::max<int64_t>(counts.generated_tokens - 1, 0);
  return {{"cache_n", counts.cached_tokens},
          {"prompt_n", n_read},
          {"prompt_ms", 1000 * counts.prefill_seconds},
          {"prompt_per_second", per_second(n_read, counts.prefill_seconds)},
          {"predicted_n", counts.generated_tokens},
          {"predicted_ms", 1000 * counts.decode_seconds},
          {"predicted_per_second", per_second(n_written, counts.decode_seconds)}};
}

Json Reply::selection() const {
  const JobCounts& counts = choices_.front().end.counts;
  return {{"policy", request_.jobs.front()->session.policy->name},
          {"kv_retention", counts.retention.kv_retention()},
          {"prefill_retention", counts.prefill_retention},
          {"kv_bytes_attended", counts.retention.kv_bytes_attended()},
          {"chunks", counts.chunks},
          {"refreshes", counts.refreshes}};
}

Json Reply::whole() const {
  if (request_.dialect == Dialect::kNative) {
    if (choices_.size() == 1) return native_whole(choices_.front(), 0);
    Json list = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) list.push_back(native_whole(choices_[i], i));
    return list;
  }
  if (request_.dialect == Dialect::kRuler) {
    return {{"text", choices_.front().text}};
  }
  const bool is_chat = request_.dialect == Dialect::kChat;
  Json json = frame(is_chat ? "chat.completion" : "text_completion");
  json["choices"] = Json::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    json["choices"].push_back(is_chat ? chat_choice(choices_[i], i)
                                      : completion_choice(choices_[i], i));
  }
  json["usage"] = usage();
  json["timings"] = timings();
  json["chunkllm"] = selection();
  return json;
}

std::optional<Json> Reply::usage_piece() const {
  if (!request_.include_usage || request_.dialect == Dialect::kNative) return std::nullopt;
  Json piece = piece_without_text();
  piece["usage"] = usage();
  piece["timings"] = timings();
  piece["chunkllm"] = selection();
  return piece;
}

}  // namespace chunkllm::serve
