// A chat template, run on a short chat whose text must stay marked.
#include "fuzz_folder.h"
#include "text/chat/jinja/template.h"
#include "text/tokenizer/tokenizer.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace chunkllm;
  static const nlohmann::ordered_json variables = {
      {"messages",
       {{{"role", "system"}, {"content", " Q\u00e9Z "}},
        {{"role", "user"}, {"content", "<Q>\nZ'\"\\"}},
        {{"role", "assistant"}, {"content", ""}},
        {{"role", "user"}, {"content", {{{"type", "text"}, {"text", "Q"}}}}}}},
      {"tools", nullptr},
      {"add_generation_prompt", true},
      {"bos_token", "<s>"},
      {"eos_token", "</s>"}};
  std::tm noon = {};
  noon.tm_year = 126;
  noon.tm_mday = 1;
  noon.tm_hour = 12;
  const std::string_view source = fuzz::as_text(data, size);
  fuzz::expect_answer([&] {
    const jinja::Template chat_template(source, "the template");
    const auto origin = [](const std::string& place) -> uint32_t {
      return place.ends_with("role") ? 0 : 1;
    };
    const jinja::MarkedText text = chat_template.render(variables, noon, origin);
    if (find_invalid_utf8(text.bytes)) __builtin_trap();
    size_t end = 0;
    for (const jinja::Mark& mark : text.marks) {
      if (mark.begin < end || mark.begin >= mark.end || mark.end > text.bytes.size()) {
        __builtin_trap();
      }
      end = mark.end;
    }
  });
  return 0;
}
