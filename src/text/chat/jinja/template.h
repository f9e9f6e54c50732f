// Chat templates: Jinja as Hugging Face transformers runs it (an immutable sandbox with
// trim_blocks, lstrip_blocks, loop controls and {% generation %}).
#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "text/chat/jinja/text.h"

namespace chunkllm::jinja {

// Says for a string of the input where it comes from, by its place ("/messages/0/content", a JSON
// pointer): 0 if its characters may be markers of the template's, else a number of one's own.
using OriginOf = std::function<uint32_t(const std::string& place)>;

// A template that has been read. Immutable; copies share it; any thread may render.
class Template {
 public:
  // `where` names the source in errors. Throws Error (kData) with the line of what is no template.
  Template(std::string_view source, std::string where);

  // Renders with the members of `variables` (a JSON object) as variables and `now` as the time.
  // The bytes that come from strings of `variables` are marked with their origin; no origin: all
  // are the template's. Throws Error (kData) with line and reason for what the template refuses,
  // (kUnsupported) beyond limits on steps, memory, nesting and output.
  MarkedText render(const nlohmann::ordered_json& variables, const std::tm& now,
                    const OriginOf& origin_of = {}) const;

 private:
  struct Body;
  std::shared_ptr<const Body> body_;
  std::string where_;
};

}  // namespace chunkllm::jinja
