#include "serve/request.h"

#include <algorithm>
#include <limits>
#include <random>

#include "base/json.h"
#include "serve/prompts.h"

namespace chunkllm::serve {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxTokens = int64_t{1} << 30;
constexpr int64_t kMaxStops = 64;
constexpr int64_t kMaxLogprobs = 100;

// Fields that are long or nested, and are read by code of their own.
constexpr std::string_view kContents[] = {"messages", "prompt",      "tools",
                                          "content",  "tool_choice", "functions",
                                          "stop",     "logit_bias",  "chat_template_kwargs"};

// The others.
nlohmann::json plain_fields(const Json& body) {
  nlohmann::json fields = nlohmann::json::object();
  for (const auto& [name, value] : body.items()) {
    if (std::ranges::find(kContents, name) == std::end(kContents)) fields[name] = value;
  }
  return fields;
}

bool has(const Json& body, const char* name) {
  return body.contains(name) && !body[name].is_null();
}

std::vector<std::string> parse_stops(const Json& body) {
  if (!has(body, "stop")) return {};
  const Json& stop = body["stop"];
  std::vector<std::string> stops;
  for (const Json& entry : stop.is_array() ? stop : Json::array({stop})) {
    if (!entry.is_string()) {
      fail(ErrorCode::kInvalidArgument, "stop must be a string or an array of strings");
    }
    // Clients send empty ones where they mean none.
    if (!entry.get_ref<const std::string&>().empty()) stops.push_back(entry);
  }
  if (std::ssize(stops) > kMaxStops) {
    fail(ErrorCode::kInvalidArgument, "stop has {} texts; at most {} are possible", stops.size(),
         kMaxStops);
  }
  return stops;
}

std::vector<std::pair<int32_t, float>> parse_bias(const Json& body, int32_t n_vocab) {
  std::vector<std::pair<int32_t, float>> bias;
  if (!has(body, "logit_bias")) return bias;
  const Json& field = body["logit_bias"];
  const auto refuse = [] {
    fail(ErrorCode::kInvalidArgument,
         "logit_bias must be an object of token ids and numbers from -100 to 100");
  };
  if (field.is_array() && field.empty()) return bias;
  if (!field.is_object()) refuse();
  for (const auto& [name, value] : field.items()) {
    if (!value.is_number() || name.empty() || name.size() > 9 ||
        name.find_first_not_of("0123456789") != std::string::npos) {
      refuse();
    }
    const int32_t id = std::stoi(name);
    const auto by = value.get<double>();
    if (id >= n_vocab) {
      fail(ErrorCode::kInvalidArgument,
           "logit_bias has the token id {}, which is outside the model's vocabulary of {}", id,
           n_vocab);
    }
    if (!(by >= -100.0 && by <= 100.0)) refuse();
    bias.emplace_back(id, static_cast<float>(by));
  }
  return bias;
}

}  // namespace

SessionOptions parse_selection(const RequestContext& context, const nlohmann::json& body) {
  SessionOptions session = context.session;
  const JsonFields fields(body, "the request");
  if (fields.has("policy")) {
    session.policy = &policy_named(fields.string("policy"), {}, "policy");
    if (session.policy->needs_adapter() &&
        adapter_for(*session.policy, context.engine.adapters()) == nullptr) {
      fail(ErrorCode::kInvalidArgument,
           "policy {} needs trained adapters that this server was started without; ask for another",
           session.policy->name);
    }
  }
  KvBudget& budget = session.selection.budget;
  if (fields.has("kv_budget")) {
    const nlohmann::json& value = fields.at("kv_budget");
    // JavaScript writes 1.0 as 1; one token is no budget.
    const std::string text = value.is_string() ? value.get<std::string>()
                             : value == 1      ? std::string("1.0")
                                               : value.dump();
    const KvBudget given = KvBudget::parse(text, "kv_budget");
    budget.n_tokens = given.n_tokens;
    budget.fraction = given.fraction;
    budget.top_k_chunks.reset();
  }
  if (fields.has("top_k_chunks")) {
    if (fields.has("kv_budget")) {
      fail(ErrorCode::kInvalidArgument, "kv_budget and top_k_chunks exclude each other; give one");
    }
    budget.top_k_chunks = fields.integer("top_k_chunks", 1, kMaxTokens);
  }
  return session;
}

namespace {

SamplingOptions parse_sampling(const RequestContext& context, const Json& body,
                               const JsonFields& fields, Dialect dialect) {
  SamplingOptions sampling;
  const double usual = dialect == Dialect::kRuler ? 0.0 : 1.0;
  sampling.temperature = fields.number_or("temperature", 0.0, 100.0, usual);
  sampling.top_p = fields.number_or("top_p", 0.0, 1.0, 1.0);
  if (sampling.top_p == 0.0) sampling.top_p = std::numeric_limits<double>::min();
  // -1 and 0 are all, in vLLM and in llama.cpp.
  sampling.top_k = std::max<int64_t>(0, fields.integer_or("top_k", -1, kMaxTokens, 0));
  sampling.min_p = fields.number_or("min_p", 0.0, 1.0, 0.0);
  const char* repeat = fields.has("repetition_penalty") ? "repetition_penalty" : "repeat_penalty";
  sampling.repeat_penalty = fields.number_or(repeat, 0.001, 100.0, 1.0);
  const int64_t lately = repeat == std::string_view("repetition_penalty") ? -1 : 64;
  sampling.repeat_last_n = fields.integer_or("repeat_last_n", -1, kMaxTokens, lately);
  sampling.presence_penalty = fields.number_or("presence_penalty", -2.0, 2.0, 0.0);
  sampling.frequency_penalty = fields.number_or("frequency_penalty", -2.0, 2.0, 0.0);
  sampling.logit_bias = parse_bias(body, static_cast<int32_t>(context.engine.config().n_vocab));
  const int64_t seed = fields.integer_or("seed", std::numeric_limits<int64_t>::min(),
                                         std::numeric_limits<int64_t>::max(), -1);
  sampling.seed = seed == -1 ? std::random_device()() : static_cast<uint64_t>(seed);
  return sampling;
}

// -1: as many as fit.
int64_t parse_max_tokens(const JsonFields& fields, Dialect dialect) {
  switch (dialect) {
    case Dialect::kCompletion:
      return fields.integer_or("max_tokens", -1, kMaxTokens, 16);
    case Dialect::kChat: {
      const int64_t older = fields.integer_or("max_tokens", -1, kMaxTokens, -1);
      return fields.integer_or("max_completion_tokens", -1, kMaxTokens, older);
    }
    case Dialect::kNative:
      return fields.integer_or("n_predict", -1, kMaxTokens,
                               fields.integer_or("max_tokens", -1, kMaxTokens, -1));
    case Dialect::kRuler:
      return fields.integer_or("max_tokens", -1, kMaxTokens, 128);
  }
  return -1;
}

void parse_log_probs(const JsonFields& fields, CompletionRequest& request) {
  switch (request.dialect) {
    case Dialect::kCompletion:
      if (fields.has("logprobs") && fields.at("logprobs").is_boolean()) {
        if (fields.boolean_or("logprobs", false)) request.n_logprobs = 0;
      } else {
        request.n_logprobs = fields.integer_or("logprobs", 0, kMaxLogprobs, -1);
      }
      break;
    case Dialect::kChat:
      if (fields.boolean_or("logprobs", false)) {
        request.n_logprobs = fields.integer_or("top_logprobs", 0, kMaxLogprobs, 0);
      } else if (fields.integer_or("top_logprobs", 0, kMaxLogprobs, 0) > 0) {
        fail(ErrorCode::kInvalidArgument, "top_logprobs needs \"logprobs\": true");
      }
      break;
    case Dialect::kNative:
      request.n_logprobs = fields.integer_or("n_probs", 0, kMaxLogprobs, 0);
      if (request.n_logprobs == 0) request.n_logprobs = -1;
      break;
    case Dialect::kRuler:
      break;
  }
  request.n_prompt_logprobs = fields.integer_or("prompt_logprobs", 0, kMaxLogprobs, -1);
  if (request.n_prompt_logprobs >= 0 && request.streams) {
    fail(ErrorCode::kInvalidArgument, "prompt_logprobs come in one piece; leave out \"stream\"");
  }
}

void parse_stream(const Json& body, const JsonFields& fields, CompletionRequest& request) {
  request.streams = fields.boolean_or("stream", false);
  request.return_progress = fields.boolean_or("return_progress", false);
  request.return_chunks = fields.boolean_or("return_chunks", false) && request.streams;
  if (!has(body, "stream_options")) return;
  if (!request.streams) {
    fail(ErrorCode::kInvalidArgument, "stream_options needs \"stream\": true");
  }
  const JsonFields options(fields.at("stream_options"), "stream_options");
  request.include_usage = options.boolean_or("include_usage", false);
}

void refuse_unsupported(const JsonFields& fields, int64_t n) {
  if (fields.has("response_format")) {
    const JsonFields format(fields.at("response_format"), "response_format");
    const std::string type = format.string_or("type", "text");
    if (type != "text") {
      fail(
          ErrorCode::kUnsupported,
          "response_format {} is not supported: answers are not held to a grammar; ask for JSON in "
          "the prompt",
          show_text(type));
    }
  }
  if (fields.has("suffix") && !fields.string("suffix").empty()) {
    fail(ErrorCode::kUnsupported, "suffix is not supported; leave it out");
  }
  // As many as are answered is what OpenAI takes for none.
  if (fields.integer_or("best_of", 1, kMaxTokens, n) > n) {
    fail(ErrorCode::kUnsupported,
         "best_of is not supported; ask for n answers and choose among them");
  }
}

void parse_ends(const RequestContext& context, const JsonFields& fields, AnswerOptions& answer) {
  answer.min_tokens = fields.integer_or("min_tokens", 0, kMaxTokens, 0);
  const std::vector<int32_t> eos_ids = context.engine.eos_ids();
  if (fields.boolean_or("ignore_eos", false)) {
    answer.sampling.banned_ids = eos_ids;
  } else {
    answer.eos_ids = eos_ids;
  }
}

std::vector<int32_t> parse_stop_ids(const JsonFields& fields, int64_t n_vocab) {
  std::vector<int32_t> ids;
  if (!fields.has("stop_token_ids")) return ids;
  if (!fields.at("stop_token_ids").is_array()) {
    fail(ErrorCode::kInvalidArgument, "stop_token_ids must be an array of token ids");
  }
  for (const nlohmann::json& id : fields.at("stop_token_ids")) {
    if (!id.is_number_integer()) {
      fail(ErrorCode::kInvalidArgument, "stop_token_ids must be an array of token ids");
    }
    if (id.get<int64_t>() < 0 || id.get<int64_t>() >= n_vocab) {
      fail(ErrorCode::kInvalidArgument,
           "stop_token_ids has the id {}, which is outside the model's vocabulary of {}", id.dump(),
           n_vocab);
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

}  // namespace

PromptTooLong::PromptTooLong(int64_t n_tokens, int64_t ctx)
    : Error(ErrorCode::kInvalidArgument,
            fmt::format("the prompt has {} tokens and the context {}; shorten it, or start the "
                        "server with a larger --ctx",
                        n_tokens, ctx)),
      n_prompt_tokens(n_tokens),
      n_ctx(ctx) {}

nlohmann::ordered_json parse_body(const std::string& body) {
  Json json = parse_ordered_json(body, "the request's body", "send a JSON object");
  if (!json.is_object()) {
    fail(ErrorCode::kData, "the request's body must be a JSON object, found {}", json.type_name());
  }
  return json;
}

CompletionRequest parse_request(const RequestContext& context, Dialect dialect,
                                const std::string& text) {
  const Json body = parse_body(text);
  const nlohmann::json plain = plain_fields(body);
  const JsonFields fields(plain, "the request");
  CompletionRequest request{.dialect = dialect};
  parse_stream(body, fields, request);
  parse_log_probs(fields, request);
  const int64_t n = fields.integer_or("n", 1, context.max_choices, 1);
  refuse_unsupported(fields, n);
  request.echo = fields.boolean_or("echo", false);
  request.return_token_ids =
      fields.boolean_or("return_token_ids", fields.boolean_or("return_tokens", false));
  request.tokens_as_token_ids = fields.boolean_or("return_tokens_as_token_ids", false);

  AnswerOptions answer;
  answer.sampling = parse_sampling(context, body, fields, dialect);
  answer.stops = parse_stops(body);
  parse_ends(context, fields, answer);
  request.stop_token_ids = parse_stop_ids(fields, context.engine.config().n_vocab);
  answer.eos_ids.insert(answer.eos_ids.end(), request.stop_token_ids.begin(),
                        request.stop_token_ids.end());
  const Sampler check_sampling(answer.sampling);
  const int64_t max_tokens = parse_max_tokens(fields, dialect);
  if (max_tokens == 0 && dialect == Dialect::kChat) {
    fail(ErrorCode::kInvalidArgument, "max_tokens must be 1 or more in a chat");
  }
  const SessionOptions session = parse_selection(context, plain);
  const std::vector<Prompt> prompts = dialect == Dialect::kChat
                                          ? std::vector{parse_chat(context, body, request.tools)}
                                          : parse_prompts(context, body, fields);
  if (n * std::ssize(prompts) > context.max_choices) {
    fail(ErrorCode::kInvalidArgument,
         "{} prompts and n of {} make more than {} choices; send fewer", prompts.size(), n,
         context.max_choices);
  }
  for (const Prompt& prompt : prompts) {
    // The last token of an answer need not run.
    if (prompt.n_tokens() > session.ctx) throw PromptTooLong(prompt.n_tokens(), session.ctx);
    for (int64_t i = 0; i < n; ++i) {
      auto job = std::make_shared<Job>();
      job->index = request.jobs.size();
      job->prompt = prompt;
      job->answer = answer;
      job->answer.sampling.seed += static_cast<uint64_t>(i);
      const int64_t room = session.ctx - prompt.n_tokens() + 1;
      job->answer.max_tokens = max_tokens < 0 ? room : std::min(max_tokens, room);
      if (prompt.turn_end) {
        (job->answer.eos_ids.empty() ? job->answer.sampling.banned_ids : job->answer.eos_ids)
            .push_back(*prompt.turn_end);
      }
      job->session = session;
      job->shows_chunks = request.return_chunks && session.policy->shows_chunks;
      job->n_top = std::max(request.n_logprobs, request.n_prompt_logprobs);
      job->scores_prompt =
          (request.echo && request.n_logprobs >= 0) || request.n_prompt_logprobs >= 0;
      if (context.time_limit) job->deadline = Clock::now() + *context.time_limit;
      job->mailbox = request.mailbox;
      request.jobs.push_back(std::move(job));
    }
  }
  return request;
}

}  // namespace chunkllm::serve
