#include "text/chat/chat_formats.h"

#include <unicode/uchar.h>

#include <algorithm>

#include "base/error.h"
#include "text/utf8.h"

namespace chunkllm {

namespace {

using Messages = std::vector<ChatMessage>;
using Parts = std::vector<ChatPart>;

constexpr const char* kBos = "<|begin_of_text|>";

void add_control(Parts& parts, std::string text) {
  parts.push_back({{std::move(text), true}, false});
}

void add_text(Parts& parts, std::string_view text) {
  if (!text.empty()) parts.push_back({{std::string(text), false}, false});
}

// <|begin_of_text|><|user|>TEXT<|assistant|>ANSWER<|end_of_turn|>; system messages look like the
// user's.
Parts render_needle(const Messages& messages, bool add_generation_prompt) {
  Parts parts;
  add_control(parts, kBos);
  for (const ChatMessage& message : messages) {
    const bool is_answer = message.role == "assistant";
    add_control(parts, is_answer ? "<|assistant|>" : "<|user|>");
    parts.back().is_prompt_end = is_answer;
    add_text(parts, message.content);
    if (is_answer) add_control(parts, "<|end_of_turn|>");
  }
  if (add_generation_prompt) {
    add_control(parts, "<|assistant|>");
    parts.back().is_prompt_end = true;
  }
  return parts;
}

// What Jinja's trim takes away, which is what Python's str.isspace() counts as white space.
bool is_trimmed(char32_t c) {
  return u_isUWhiteSpace(static_cast<UChar32>(c)) || (c >= 0x1c && c <= 0x1f);
}

std::string_view trim(std::string_view text) {
  while (!text.empty()) {
    const CodePoint c = code_point_at(text, 0);
    if (!is_trimmed(c.value)) break;
    text.remove_prefix(c.n_bytes);
  }
  while (!text.empty()) {
    const CodePoint c = code_point_before(text, text.size());
    if (!is_trimmed(c.value)) break;
    text.remove_suffix(c.n_bytes);
  }
  return text;
}

// <|start_header_id|>ROLE<|end_header_id|>, an empty line; also marks where an answer begins.
void add_llama3_header(Parts& parts, const std::string& role) {
  add_control(parts, "<|start_header_id|>" + role + "<|end_header_id|>\n\n");
  parts.back().is_prompt_end = role == "assistant";
}

// The trimmed text of a turn and its end.
void add_llama3_text(Parts& parts, const std::string& text) {
  add_text(parts, trim(text));
  add_control(parts, "<|eot_id|>");
}

Parts render_llama3(const Messages& messages, bool add_generation_prompt) {
  Parts parts;
  if (!messages.empty()) add_control(parts, kBos);
  for (const ChatMessage& message : messages) {
    add_llama3_header(parts, message.role);
    add_llama3_text(parts, message.content);
  }
  if (add_generation_prompt) add_llama3_header(parts, "assistant");
  return parts;
}

// As Llama 3, but there always is a system turn, which begins with two dates.
Parts render_llama31(const Messages& messages, bool add_generation_prompt) {
  Parts parts;
  add_control(parts, kBos);
  add_llama3_header(parts, "system");
  add_control(parts, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
  const bool has_system = !messages.empty() && messages[0].role == "system";
  add_llama3_text(parts, has_system ? messages[0].content : std::string());
  for (size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    add_llama3_header(parts, messages[i].role);
    add_llama3_text(parts, messages[i].content);
  }
  if (add_generation_prompt) add_llama3_header(parts, "assistant");
  return parts;
}

// <|im_start|>ROLE, a line end; what ends it is added by end_turn().
void begin_turn(Parts& parts, const std::string& role) {
  add_control(parts, "<|im_start|>" + role + "\n");
  parts.back().is_prompt_end = role == "assistant";
}

void end_turn(Parts& parts) { add_control(parts, "<|im_end|>\n"); }

// ChatML. Where no system message comes first, `default_system` stands for it, if it is not empty.
Parts render_chatml_with(std::string_view default_system, const Messages& messages,
                         bool add_generation_prompt) {
  Parts parts;
  if (!default_system.empty() && (messages.empty() || messages[0].role != "system")) {
    begin_turn(parts, "system");
    add_control(parts, std::string(default_system));
    end_turn(parts);
  }
  for (const ChatMessage& message : messages) {
    begin_turn(parts, message.role);
    add_text(parts, message.content);
    end_turn(parts);
  }
  if (add_generation_prompt) begin_turn(parts, "assistant");
  return parts;
}

constexpr std::string_view kQwen2System = "You are a helpful assistant.";
constexpr std::string_view kQwen25System =
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
constexpr std::string_view kSmolLm2System =
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

Parts render_chatml(const Messages& messages, bool add_generation_prompt) {
  return render_chatml_with("", messages, add_generation_prompt);
}

Parts render_qwen2(const Messages& messages, bool add_generation_prompt) {
  return render_chatml_with(kQwen2System, messages, add_generation_prompt);
}

Parts render_qwen25(const Messages& messages, bool add_generation_prompt) {
  return render_chatml_with(kQwen25System, messages, add_generation_prompt);
}

Parts render_smollm2(const Messages& messages, bool add_generation_prompt) {
  return render_chatml_with(kSmolLm2System, messages, add_generation_prompt);
}

std::string_view strip_newlines_before(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}

std::string_view strip_newlines_after(std::string_view text) {
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

// An answer of Qwen 3: <think>THOUGHTS</think>TEXT.
struct ThoughtAnswer {
  std::string_view thoughts;
  std::string_view text;
};

ThoughtAnswer split_thoughts(std::string_view content) {
  constexpr std::string_view kBegin = "<think>";
  constexpr std::string_view kEnd = "</think>";
  const size_t end = content.find(kEnd);
  if (end == std::string_view::npos) return {"", content};
  std::string_view thoughts = strip_newlines_after(content.substr(0, end));
  if (const size_t begin = thoughts.rfind(kBegin); begin != std::string_view::npos) {
    thoughts.remove_prefix(begin + kBegin.size());
  }
  return {strip_newlines_before(thoughts),
          strip_newlines_before(content.substr(content.rfind(kEnd) + kEnd.size()))};
}

// The index of the last question, results of tools aside; of the last message if there is none.
size_t last_question(const Messages& messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string_view text = messages[i].content;
    const bool is_tool_result =
        text.starts_with("<tool_response>") && text.ends_with("</tool_response>");
    if (messages[i].role == "user" && !is_tool_result) return i;
  }
  return messages.size() - 1;
}

// Qwen 3: ChatML; answers before the last question lose their thoughts, the last answer after it
// has a block of thoughts even where there are none.
Parts render_qwen3(const Messages& messages, bool add_generation_prompt) {
  Parts parts;
  for (size_t i = 0; i < messages.size(); ++i) {
    begin_turn(parts, messages[i].role);
    if (messages[i].role != "assistant") {
      add_text(parts, messages[i].content);
    } else {
      const ThoughtAnswer answer = split_thoughts(messages[i].content);
      const bool is_last = i + 1 == messages.size();
      if (i > last_question(messages) && (is_last || !answer.thoughts.empty())) {
        add_control(parts, "<think>\n");
        add_text(parts, strip_newlines_after(strip_newlines_before(answer.thoughts)));
        add_control(parts, "\n</think>\n\n");
        add_text(parts, strip_newlines_before(answer.text));
      } else {
        add_text(parts, answer.text);
      }
    }
    end_turn(parts);
  }
  if (add_generation_prompt) begin_turn(parts, "assistant");
  return parts;
}

// <s>[INST] TEXT [/INST]ANSWER</s>. There is no system turn: its text goes before the next user's,
// with an empty line between.
Parts render_mistral(const Messages& messages, bool add_generation_prompt) {
  Parts parts;
  add_control(parts, "<s>");
  std::string system;
  for (const ChatMessage& message : messages) {
    if (message.role == "system") {
      system += message.content + "\n\n";
    } else if (message.role == "user") {
      add_control(parts, "[INST] ");
      add_text(parts, system + message.content);
      add_control(parts, " [/INST]");
      system.clear();
    } else {
      parts.back().is_prompt_end = true;
      add_text(parts, message.content);
      add_control(parts, "</s>");
    }
  }
  if (!system.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "the chat format mistral writes a system message into the user's after it, and there is "
         "none; add one");
  }
  parts.back().is_prompt_end |= add_generation_prompt;
  return parts;
}

}  // namespace

std::span<const ChatFormatInfo> chat_formats() {
  constexpr std::string_view kGeneration = "add_generation_prompt";
  constexpr std::string_view kImStart = "<|im_start|>";
  constexpr std::string_view kImEnd = "<|im_end|>";
  static const std::vector<ChatFormatInfo> formats = {
      {ChatFormat::kNeedle,
       "needle",
       render_needle,
       {kBos, "<|user|>", "<|assistant|>", "<|end_of_turn|>"},
       {"<|user|>", "<|assistant|>", "<|end_of_turn|>", kGeneration},
       {"trim", "tools", "date_string", "raise_exception", "<|system|>"}},
      {ChatFormat::kLlama3,
       "llama3",
       render_llama3,
       {kBos, "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
       {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "| trim", kGeneration},
       {"tools", "date_string", "raise_exception", "Cutting Knowledge"}},
      {ChatFormat::kLlama31,
       "llama3.1",
       render_llama31,
       {kBos, "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
       {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "Cutting Knowledge Date: December 2023", "set date_string = \"26 Jul 2024\"",
        "Today Date: ", kGeneration},
       {"strftime_now"}},
      {ChatFormat::kChatMl,
       "chatml",
       render_chatml,
       {kImStart, kImEnd},
       {"'<|im_start|>' + message['role']", "message['content'] + '<|im_end|>'", kGeneration},
       {"system", "tools", "trim", "raise_exception", "<think>"}},
      {ChatFormat::kQwen2,
       "qwen2",
       render_qwen2,
       {kImStart, kImEnd},
       {kImStart, kImEnd, kQwen2System, kGeneration},
       {"You are Qwen", "tools", "raise_exception", "<think>"}},
      {ChatFormat::kQwen25,
       "qwen2.5",
       render_qwen25,
       {kImStart, kImEnd},
       {kImStart, kImEnd, kQwen25System, kGeneration},
       {"raise_exception", "<think>"}},
      {ChatFormat::kQwen3,
       "qwen3",
       render_qwen3,
       {kImStart, kImEnd},
       {kImStart, kImEnd, "ns.last_query_index", "'</think>' in", "enable_thinking is false",
        kGeneration},
       {"raise_exception", "assistant\\n<think>"}},
      {ChatFormat::kSmolLm2,
       "smollm2",
       render_smollm2,
       {kImStart, kImEnd},
       {kImStart, kImEnd, kSmolLm2System, kGeneration},
       {"tools", "raise_exception", "<think>"}},
      {ChatFormat::kMistral,
       "mistral",
       render_mistral,
       {"<s>", "</s>"},
       {"bos_token", "'[INST] ' + message['content'] + ' [/INST]'",
        "message['content'] + eos_token"},
       {"trim", "tools", "<<SYS>>", "system", "eos_token + ' '"}},
  };
  return formats;
}

}  // namespace chunkllm
