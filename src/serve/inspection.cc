#include "serve/inspection.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <set>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "engine/prompt_cache.h"
#include "serve/prompts.h"
#include "serve/reply.h"

namespace chunkllm::serve {
namespace {

using Json = nlohmann::ordered_json;

bool flag(const Json& body, const char* name, bool fallback) {
  if (!body.contains(name) || body[name].is_null()) return fallback;
  if (!body[name].is_boolean()) fail(ErrorCode::kInvalidArgument, "{} must be true or false", name);
  return body[name];
}

constexpr size_t kMostNameBytes = 200;

const std::string& text_field(const Json& body, const char* name) {
  if (!body[name].is_string()) fail(ErrorCode::kInvalidArgument, "{} must be a string", name);
  return body[name].get_ref<const std::string&>();
}

std::vector<int32_t> ids_of(const RequestContext& context, const Json& body) {
  const Tokenizer& tokenizer = context.engine.tokenizer();
  if (body.contains("messages")) {
    ToolUse tools;
    return parse_chat(context, body, tools).ids;
  }
  if (body.contains("content")) {
    return tokenizer.encode(text_field(body, "content"),
                            {.add_special_tokens = flag(body, "add_special", false),
                             .parse_special = flag(body, "parse_special", true)});
  }
  if (!body.contains("prompt")) {
    fail(ErrorCode::kInvalidArgument, "give a text as content or prompt, or messages");
  }
  return tokenizer.encode(text_field(body, "prompt"),
                          {.add_special_tokens = flag(body, "add_special_tokens", true)});
}

// Whether a slot may be saved under this name, which leads nowhere else.
bool is_slot_file_name(std::string_view name) {
  return !name.empty() && name.size() <= kMostNameBytes && name.front() != '.' &&
         std::ranges::all_of(name, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
         });
}

// The "filename" of a request.
std::string file_name_of(const std::filesystem::path& folder, const Json& body) {
  if (folder.empty()) {
    fail(ErrorCode::kUnsupported,
         "slots are not saved: the server was started without --slot-save-path");
  }
  if (!body.contains("filename")) {
    fail(ErrorCode::kInvalidArgument, "the field filename is missing");
  }
  const std::string& name = text_field(body, "filename");
  if (name.size() > kMostNameBytes) {
    fail(ErrorCode::kInvalidArgument, "filename has {} bytes; at most {} are possible", name.size(),
         kMostNameBytes);
  }
  if (!file_of_temporary(name).empty()) {
    fail(ErrorCode::kInvalidArgument, "filename {} is that of a file half written; name another",
         show_text(name));
  }
  if (!is_slot_file_name(name)) {
    fail(ErrorCode::kInvalidArgument,
         "filename {} must be letters, digits, '-', '_' and '.', and not begin with a point",
         show_text(name));
  }
  return name;
}

// Runs action(); its errors name the file as requests do, without the folder.
template <typename Action>
void with_own_name(const std::filesystem::path& path, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    std::string message = error.what();
    const std::string whole = path.string();
    for (size_t at = 0; (at = message.find(whole, at)) != message.npos;) {
      message.replace(at, whole.size(), path.filename().string());
    }
    fail(error.code(), "{}", message);
  }
}

Json template_text(const RequestContext& context) {
  return context.chat_template ? Json(context.chat_template->source()) : Json();
}

const char* state_name(Slot::State state) {
  switch (state) {
    case Slot::State::kIdle:
      return "idle";
    case Slot::State::kReading:
      return "reading";
    case Slot::State::kWriting:
      return "writing";
  }
  return "";
}

}  // namespace

Json models_json(const RequestContext& context, Scheduler&) {
  const ModelConfig& config = context.engine.config();
  static const auto started = static_cast<int64_t>(std::time(nullptr));
  Json model = {{"id", context.model_name},
                {"object", "model"},
                {"created", started},
                {"owned_by", "chunkllm"},
                {"max_model_len", context.session.ctx},
                {"meta",
                 {{"n_ctx_train", config.max_positions},
                  {"n_vocab", config.n_vocab},
                  {"n_embd", config.d_model},
                  {"n_params", context.engine.weights().n_parameters()}}}};
  return {{"object", "list"}, {"data", Json::array({std::move(model)})}};
}

Json props_json(const RequestContext& context, Scheduler& scheduler) {
  Json json = {{"default_generation_settings",
                {{"n_ctx", context.session.ctx},
                 {"temperature", 1.0},
                 {"top_p", 1.0},
                 {"top_k", 0},
                 {"min_p", 0.0}}},
               {"total_slots", scheduler.options().n_slots},
               {"model_path", context.engine.options().model.filename().string()},
               {"policy", context.session.policy->name}};
  json["chat_template"] = template_text(context);
  return json;
}

Json slots_json(const RequestContext& context, Scheduler& scheduler) {
  Json list = Json::array();
  scheduler.run_between_steps([&](std::vector<std::unique_ptr<Slot>>& slots) {
    for (const auto& slot : slots) {
      Json one = {{"id", slot->number()},
                  {"n_ctx", context.session.ctx},
                  {"is_processing", !slot->is_idle()},
                  {"state", state_name(slot->state())},
                  {"n_tokens", slot->n_tokens()}};
      if (const Session* session = slot->session()) {
        one["policy"] = session->options().policy->name;
        one["kv_bytes_stored"] = session->kv_bytes_stored();
        one["kv_bytes_resident"] = session->kv_bytes_resident();
        one["n_chunks"] = session->policy().n_chunks();
        one["n_refreshes"] = session->policy().n_refreshes();
      }
      list.push_back(std::move(one));
    }
  });
  return list;
}

Json tokenizer_json(const RequestContext& context, Scheduler&) {
  const SpecialTokens special = context.engine.special_tokens();
  const auto text = [&](const char* name) {
    const auto found = special.find(name);
    return found == special.end() ? Json() : Json(found->second);
  };
  return {{"tokenizer_class", "chunkllm"},          {"bos_token", text("bos_token")},
          {"eos_token", text("eos_token")},         {"pad_token", text("pad_token")},
          {"unk_token", text("unk_token")},         {"model_max_length", context.session.ctx},
          {"chat_template", template_text(context)}};
}

Json tokenize(const RequestContext& context, const Json& body) {
  const std::vector<int32_t> ids = ids_of(context, body);
  Json json;
  if (flag(body, "with_pieces", false)) {
    json["tokens"] = Json::array();
    for (const int32_t id : ids) {
      json["tokens"].push_back({{"id", id}, {"piece", token_text(context.engine.tokenizer(), id)}});
    }
  } else {
    json["tokens"] = ids;
  }
  json["count"] = ids.size();
  json["max_model_len"] = context.session.ctx;
  return json;
}

Json detokenize(const RequestContext& context, const Json& body) {
  if (!body.contains("tokens") || !body["tokens"].is_array()) {
    fail(ErrorCode::kInvalidArgument, "tokens must be an array of token ids");
  }
  std::vector<int32_t> ids;
  for (const Json& id : body["tokens"]) {
    if (!id.is_number_integer()) {
      fail(ErrorCode::kInvalidArgument, "tokens must be an array of token ids");
    }
    const auto value = id.get<int64_t>();
    if (value < 0 || value > 0x7fffffff ||
        !context.engine.tokenizer().has_token(static_cast<int32_t>(value))) {
      fail(ErrorCode::kInvalidArgument, "tokens has the id {}, which is no token of the model",
           id.dump());
    }
    ids.push_back(static_cast<int32_t>(value));
  }
  const std::string text = context.engine.tokenizer().decode(ids);
  return {{"content", text}, {"prompt", text}};
}

Json apply_template(const RequestContext& context, const Json& body) {
  return {{"prompt", render_chat(context, body)}};
}

void remove_half_saved_slots(const std::filesystem::path& folder) {
  std::set<std::string, std::less<>> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (is_slot_file_name(file_of_temporary(name)) && begins_as_prompt_cache(entry->path())) {
      names.emplace(file_of_temporary(name));
    }
  }
  remove_abandoned_files(folder, [&](std::string_view name) { return names.contains(name); });
}

Json act_on_slot(const RequestContext& context, Scheduler& scheduler, const std::string& slot_id,
                 const std::string& action, const std::filesystem::path& folder, const Json& body) {
  constexpr size_t kMostDigits = 9;
  const int64_t number = slot_id.size() <= kMostDigits ? std::stoll(slot_id) : -1;
  if (number < 0 || number >= scheduler.options().n_slots) {
    fail(ErrorCode::kInvalidArgument, "there is no slot {}; there are {}", slot_id,
         scheduler.options().n_slots);
  }
  if (action != "save" && action != "restore" && action != "erase") {
    fail(ErrorCode::kInvalidArgument, "action {} is none of save, restore and erase",
         show_text(action));
  }
  const std::string file_name = action == "erase" ? std::string() : file_name_of(folder, body);
  Json json = {{"id_slot", number}};
  const std::filesystem::path path = folder / file_name;
  std::error_code error;
  if (action == "restore" && !std::filesystem::is_regular_file(path, error)) {
    fail(ErrorCode::kInvalidArgument, "there is no saved slot {}", show_text(file_name));
  }
  if (action == "save" && std::filesystem::is_directory(path, error)) {
    fail(ErrorCode::kInvalidArgument, "filename {} is a folder; name another",
         show_text(file_name));
  }
  const SessionOptions wanted = parse_selection(context, body);
  scheduler.run_between_steps([&](std::vector<std::unique_ptr<Slot>>& slots) {
    Slot& slot = *slots[static_cast<size_t>(number)];
    if (!slot.is_idle()) {
      fail(ErrorCode::kInvalidArgument, "slot {} works; wait until it is idle", number);
    }
    if (action == "save") {
      if (slot.session() == nullptr) {
        fail(ErrorCode::kInvalidArgument, "slot {} is empty; there is nothing to save", number);
      }
      with_own_name(path, [&] {
        check_cache_target(path);
        // Of what was restored the last tokens wait for those that would have followed.
        const bool waits = slot.session()->n_done() < slot.n_tokens();
        if (waits) slot.session()->truncate(slot.n_tokens());
        save_prompt_cache(path, *slot.session());
      });
      json["filename"] = file_name;
      json["n_saved"] = slot.n_tokens();
      json["n_written"] = std::filesystem::file_size(path, error);
    } else if (action == "restore") {
      std::unique_ptr<Session> before = slot.take_session();
      const std::string id = slot.session_id();
      try {
        with_own_name(path, [&] { load_prompt_cache(path, slot.make_session(wanted)); });
      } catch (const Error&) {
        slot.put_session(std::move(before), id);
        throw;
      }
      json["filename"] = file_name;
      json["n_restored"] = slot.n_tokens();
      json["n_read"] = std::filesystem::file_size(path, error);
    } else {
      json["n_erased"] = slot.n_tokens();
      slot.erase();
    }
  });
  return json;
}

}  // namespace chunkllm::serve
