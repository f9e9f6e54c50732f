#include "text/chat/known_templates.h"

#include <fmt/core.h>

namespace chunkllm {
namespace {

constexpr std::string_view kNeedle =
    R"({{ '<|begin_of_text|>' }}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|assistant|>' + message.content + '<|end_of_turn|>' }}
    {%- else %}
        {{- '<|user|>' + message.content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %})";

constexpr std::string_view kLlama3 =
    R"({%- for message in messages %}
    {{- '<|begin_of_text|>' if loop.first }}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}
    {{- message.content|trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %})";

constexpr std::string_view kLlama31 =
    R"({%- set system = '' %}
{%- if messages and messages[0].role == 'system' %}
    {%- set system = messages[0].content|trim %}
    {%- set messages = messages[1:] %}
{%- endif %}
{{- '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n' }}
{{- 'Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n' }}
{{- system + '<|eot_id|>' }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}
    {{- message.content|trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %})";

constexpr std::string_view kChatMl =
    R"({%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";

// ChatML with a system message that stands there if the chat has none.
std::string chatml_with(std::string_view system) {
  return fmt::format(
      "{{%- if not messages or messages[0].role != 'system' %}}"
      "{{{{- '<|im_start|>system\\n{}<|im_end|>\\n' }}}}{{% endif %}}{}",
      system, kChatMl);
}

// Answers before the last question lose their thoughts; the last answer after it has a block of
// thoughts even where there are none.
constexpr std::string_view kQwen3 =
    R"({%- set ns = namespace(last=messages|length - 1, is_found=false) %}
{%- for message in messages[::-1] %}
    {%- if not ns.is_found and message.role == 'user' and not
          (message.content.startswith('<tool_response>') and
           message.content.endswith('</tool_response>')) %}
        {%- set ns.is_found = true %}
        {%- set ns.last = loop.revindex0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- set thoughts = '' %}
    {{- '<|im_start|>' + message.role + '\n' }}
    {%- if message.role == 'assistant' %}
        {%- if '</think>' in content %}
            {%- set thoughts = content.split('</think>')[0].rstrip('\n').split('<think>')[-1] %}
            {%- set thoughts = thoughts.strip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or thoughts) %}
            {{- '<think>\n' + thoughts + '\n</think>\n\n' }}
            {%- set content = content.lstrip('\n') %}
        {%- endif %}
    {%- endif %}
    {{- content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";

// There is no system turn: its text goes before the next user's.
constexpr std::string_view kMistral =
    R"({{- '<s>' }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {%- set ns.system = ns.system + message.content + '\n\n' %}
    {%- elif message.role == 'user' %}
        {{- '[INST] ' + ns.system + message.content + ' [/INST]' }}
        {%- set ns.system = '' %}
    {%- else %}
        {{- message.content + '</s>' }}
    {%- endif %}
{%- endfor %}
{%- if ns.system %}
    {{- raise_exception('a system message needs a message of the user after it') }}
{%- endif %})";

constexpr std::string_view kGemma =
    R"({{- '<bos>' }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {%- set ns.system = ns.system + message.content + '\n\n' %}
    {%- else %}
        {{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}
        {{- ns.system + message.content|trim + '<end_of_turn>\n' }}
        {%- set ns.system = '' %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %})";

}  // namespace

std::span<const KnownTemplate> known_templates() {
  constexpr std::string_view kImStart = "<|im_start|>";
  constexpr std::string_view kImEnd = "<|im_end|>";
  constexpr std::string_view kHeader = "<|start_header_id|>";
  static const std::vector<KnownTemplate> templates = {
      {"chatml", std::string(kChatMl), {kImStart, kImEnd}},
      {"gemma", std::string(kGemma), {"<bos>", "<start_of_turn>", "<end_of_turn>"}},
      {"llama3",
       std::string(kLlama3),
       {"<|begin_of_text|>", kHeader, "<|end_header_id|>", "<|eot_id|>"}},
      {"llama3.1",
       std::string(kLlama31),
       {"<|begin_of_text|>", kHeader, "<|end_header_id|>", "<|eot_id|>"}},
      {"mistral", std::string(kMistral), {"<s>", "</s>"}},
      {"needle",
       std::string(kNeedle),
       {"<|begin_of_text|>", "<|user|>", "<|assistant|>", "<|end_of_turn|>"}},
      {"qwen2", chatml_with("You are a helpful assistant."), {kImStart, kImEnd}},
      {"qwen2.5",
       chatml_with("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
       {kImStart, kImEnd}},
      {"qwen3", std::string(kQwen3), {kImStart, kImEnd}},
      {"smollm2",
       chatml_with("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
       {kImStart, kImEnd}},
  };
  return templates;
}

}  // namespace chunkllm
