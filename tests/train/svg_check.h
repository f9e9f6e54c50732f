// A small check that a text is well-formed XML, as far as the charts use it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace chunkllm {

// What is wrong with `xml`, or nothing. Knows elements, attributes in double quotes, text and the
// predefined entities; no comments, CDATA, processing instructions or document types.
inline std::string xml_fault(std::string_view xml) {
  std::vector<std::string> open;
  bool had_root = false;
  const auto entity_fault = [](std::string_view text) -> std::string {
    for (size_t at = text.find('&'); at != text.npos; at = text.find('&', at + 1)) {
      const std::string_view rest = text.substr(at);
      bool known = false;
      for (const std::string_view entity : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"}) {
        known = known || rest.starts_with(entity);
      }
      if (!known) return "bare & before \"" + std::string(rest.substr(0, 12)) + "\"";
    }
    return "";
  };
  while (!xml.empty()) {
    const size_t begin = xml.find('<');
    const std::string_view text = xml.substr(0, begin);
    if (std::string fault = entity_fault(text); !fault.empty()) return fault;
    if (text.find('>') != text.npos) return "bare >";
    if (open.empty() && text.find_first_not_of(" \n") != text.npos) return "text outside the root";
    if (begin == xml.npos) break;
    xml.remove_prefix(begin + 1);
    const size_t end = xml.find('>');
    if (end == xml.npos) return "tag without end";
    std::string_view tag = xml.substr(0, end);
    xml.remove_prefix(end + 1);
    if (tag.find('<') != tag.npos) return "< inside a tag";
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1))
        return "unexpected <" + std::string(tag) + ">";
      open.pop_back();
      continue;
    }
    if (open.empty() && had_root) return "two roots";
    had_root = true;
    const bool closes = tag.ends_with('/');
    if (closes) tag.remove_suffix(1);
    const size_t name_end = tag.find(' ');
    const std::string name(tag.substr(0, name_end));
    if (name.empty()) return "tag without a name";
    std::string_view attributes = name_end == tag.npos ? "" : tag.substr(name_end);
    while (attributes.find_first_not_of(' ') != attributes.npos) {
      const size_t quote = attributes.find("=\"");
      if (quote == attributes.npos) return "attribute without a value in <" + name + ">";
      const size_t close = attributes.find('"', quote + 2);
      if (close == attributes.npos) return "value without end in <" + name + ">";
      const std::string_view value = attributes.substr(quote + 2, close - quote - 2);
      if (std::string fault = entity_fault(value); !fault.empty()) return fault;
      attributes.remove_prefix(close + 1);
      if (!attributes.empty() && attributes[0] != ' ') return "no space between attributes";
    }
    if (!closes) open.push_back(name);
  }
  if (!open.empty()) return "<" + open.back() + "> is not closed";
  return had_root ? "" : "no root";
}

}  // namespace chunkllm
