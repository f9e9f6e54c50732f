#include "text/tokenizer/files/tokenizer_json_parts.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "text/utf8.h"

namespace chunkllm {

namespace {

using nlohmann::json;

// Limits that no file in use comes near. They keep what a file asks for in proportion to the text.
constexpr int64_t kMaxId = (int64_t{1} << 22) - 1;
constexpr size_t kMaxParts = 4;  // of a normalizer, pre-tokenizer or decoder
constexpr size_t kMaxReplacementBytes = 8;
constexpr size_t kMaxTemplateTokens = 64;

using PartReader = std::function<void(const std::string& type, const json& part)>;

// Calls `read` for a component or, if it is a Sequence, for each of its parts, which stand in the
// array `name`.
void for_each_part(const json& component, const std::string& where, const char* name,
                   const PartReader& read) {
  const JsonFields fields(component, where);
  const std::string type = fields.string("type");
  if (type != "Sequence") {
    read(type, component);
    return;
  }
  require_known(component, where, {"type", name});
  const json& parts = array_at(fields, where, name);
  if (parts.size() > kMaxParts) {
    fail_unsupported(where, fmt::format("a Sequence of {} parts", parts.size()));
  }
  for (const json& part : parts) for_each_part(part, where, name, read);
}

// {"String": text}, the only kind of pattern that Replace may have.
std::string string_pattern(const JsonFields& fields, const std::string& where) {
  const JsonFields pattern(fields.at("pattern"), where + ".pattern");
  if (!pattern.has("String")) fail_unsupported(where, "a pattern that is no String");
  std::string text = pattern.string("String");
  if (text.empty()) fail_unsupported(where, "an empty pattern");
  return text;
}

std::string short_text(const JsonFields& fields, const std::string& where, const char* name) {
  std::string text = fields.string(name);
  if (text.size() > kMaxReplacementBytes) {
    fail_unsupported(where, fmt::format("{} of {} bytes", name, text.size()));
  }
  return text;
}

ReplaceStep read_replace(const json& part, const std::string& where) {
  require_known(part, where, {"type", "pattern", "content"});
  const JsonFields fields(part, where);
  return {string_pattern(fields, where), short_text(fields, where, "content")};
}

// Whether the normalizer leaves no `text` that a Split by it could find.
bool is_replaced(const std::vector<NormalizerStep>& steps, const std::string& text) {
  return std::ranges::any_of(steps, [&](const NormalizerStep& step) {
    const auto* replace = std::get_if<ReplaceStep>(&step);
    return replace != nullptr && replace->from == text &&
           replace->to.find(text) == std::string::npos;
  });
}

// Nothing where the normalizer has taken away what it would split by.
std::optional<PieceEnd> read_split(const json& part, const std::string& where,
                                   const std::vector<NormalizerStep>& normalizer) {
  require_known(part, where, {"type", "pattern", "behavior", "invert"});
  const JsonFields fields(part, where);
  const JsonFields pattern(fields.at("pattern"), where + ".pattern");
  if (pattern.has("String") && pattern.string("String").size() == 1 &&
      is_replaced(normalizer, pattern.string("String"))) {
    return std::nullopt;
  }
  if (fields.string("behavior") != "Isolated") {
    fail_unsupported(where, "behavior " + show_text(fields.string("behavior")));
  }
  if (fields.boolean_or("invert", false)) fail_unsupported(where, "invert");
  if (!pattern.has("Regex")) fail_unsupported(where, "a pattern that is no Regex");
  const std::string regex = pattern.string("Regex");
  const PieceEnd piece_end = find_pre_tokenizer(regex);
  if (piece_end == nullptr) fail_unsupported(where, "the Regex " + show_text(regex));
  return piece_end;
}

// Nothing where the component only names the alphabet.
std::optional<PieceEnd> read_byte_level(const json& part, const std::string& where) {
  require_known(part, where, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  const JsonFields fields(part, where);
  if (fields.boolean_or("add_prefix_space", true)) fail_unsupported(where, "add_prefix_space");
  return fields.boolean_or("use_regex", true) ? std::optional(gpt2_piece_end) : std::nullopt;
}

Metaspace::Prepend read_prepend_scheme(const JsonFields& fields, const std::string& where) {
  const std::string scheme = fields.string_or("prepend_scheme", "always");
  // Files from before 2024 say so instead.
  const bool has_prefix_space = fields.boolean_or("add_prefix_space", true);
  if (scheme == "never" || (scheme == "always" && !has_prefix_space)) {
    return Metaspace::Prepend::kNever;
  }
  if (scheme == "always") return Metaspace::Prepend::kAlways;
  if (scheme == "first" && has_prefix_space) return Metaspace::Prepend::kFirst;
  fail_unsupported(where, "prepend_scheme " + show_text(scheme) +
                              (has_prefix_space ? "" : " without add_prefix_space"));
}

Metaspace read_metaspace(const json& part, const std::string& where) {
  require_known(part, where,
                {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"});
  const JsonFields fields(part, where);
  Metaspace metaspace;
  metaspace.mark = fields.string("replacement");
  if (metaspace.mark.empty() || code_point_at(metaspace.mark, 0).n_bytes != metaspace.mark.size()) {
    fail(ErrorCode::kData, "{}: replacement must be one character, found {}", where,
         show_text(metaspace.mark));
  }
  metaspace.prepend = read_prepend_scheme(fields, where);
  metaspace.split = fields.boolean_or("split", true);
  return metaspace;
}

// The decoders that undo SentencePiece's writing: replacements token by token, bytes, then what
// happens to the text as a whole.
class SentencePieceDecoder {
 public:
  explicit SentencePieceDecoder(DecodeRules& rules) : rules_(rules) {}

  void read(const std::string& type, const json& part, const std::string& where) {
    const bool is_in_order = (type == "Replace" && step_ <= Step::kReplace) ||
                             (type == "ByteFallback" && step_ < Step::kByteFallback) ||
                             (type == "Fuse" && step_ < Step::kFuse) ||
                             (type == "Strip" && step_ == Step::kFuse);
    if (!is_in_order || rules_.replacements.size() == kMaxParts) {
      fail_unsupported(where, show_text(type) + " at this place");
    }
    if (type == "Replace") {
      const ReplaceStep replace = read_replace(part, where);
      rules_.replacements.emplace_back(replace.from, replace.to);
      step_ = Step::kReplace;
    } else if (type == "ByteFallback") {
      rules_.byte_fallback = true;
      step_ = Step::kByteFallback;
    } else if (type == "Fuse") {
      step_ = Step::kFuse;
    } else {
      read_strip(part, where);
      step_ = Step::kStrip;
    }
  }

 private:
  enum class Step { kNone, kReplace, kByteFallback, kFuse, kStrip };

  void read_strip(const json& part, const std::string& where) {
    require_known(part, where, {"type", "content", "start", "stop"});
    const JsonFields fields(part, where);
    if (fields.string("content") != " ") {
      fail_unsupported(where, "content " + show_text(fields.string("content")));
    }
    rules_.strip_spaces = fields.integer("start", 0, INT32_MAX);
    if (fields.integer("stop", 0, INT32_MAX) != 0) fail_unsupported(where, "stop");
  }

  DecodeRules& rules_;
  Step step_ = Step::kNone;
};

// TemplateProcessing for a single text: special tokens before and after it.
class TemplateReader {
 public:
  TemplateReader(const std::string& where, Tokenizer::Tables& tables)
      : where_(where), tables_(tables) {}

  void read(const JsonFields& fields) {
    if (has_template_) fail_unsupported(where_, "a second TemplateProcessing");
    has_template_ = true;
    bool after_text = false;
    for (const json& piece : array_at(fields, where_, "single")) {
      const JsonFields piece_fields(piece, where_ + ".single");
      if (piece_fields.has("Sequence")) {
        const JsonFields sequence(piece_fields.at("Sequence"), where_ + ".single");
        if (sequence.string("id") != "A" || after_text) {
          fail_unsupported(where_, "a single template with more than one text");
        }
        after_text = true;
        continue;
      }
      const JsonFields special(piece_fields.at("SpecialToken"), where_ + ".single");
      append_special(fields, special.string("id"), after_text ? tables_.suffix : tables_.prefix);
    }
    if (!after_text) fail_unsupported(where_, "a single template without the text");
  }

 private:
  void append_special(const JsonFields& fields, const std::string& name,
                      std::vector<int32_t>& ids) const {
    const std::string where = where_ + ".special_tokens";
    const JsonFields specials(fields.at("special_tokens"), where);
    const JsonFields special(specials.at(name.c_str()), where);
    for (const json& value : array_at(special, where, "ids")) {
      const int32_t id = read_token_id(value, where, name);
      if (static_cast<size_t>(id) >= tables_.tokens.size() ||
          tables_.tokens[id].kind == TokenKind::kMissing) {
        fail(ErrorCode::kData, "{}: {} has the id {}, which no token has", where, show_text(name),
             id);
      }
      ids.push_back(id);
      if (ids.size() > kMaxTemplateTokens) {
        fail_unsupported(where_, fmt::format("more than {} special tokens", kMaxTemplateTokens));
      }
    }
  }

  const std::string& where_;
  Tokenizer::Tables& tables_;
  bool has_template_ = false;
};

}  // namespace

void fail_unsupported(const std::string& where, const std::string& what) {
  fail(ErrorCode::kUnsupported,
       "{}: {} is not supported; use a model whose tokenizer is a BPE like those of Llama, Qwen or "
       "Mistral",
       where, what);
}

std::string type_of(const json& component) {
  if (component.is_object()) {
    const auto type = component.find("type");
    if (type != component.end() && type->is_string()) return show_text(type->get<std::string>());
  }
  return component.type_name();
}

void require_known(const json& object, const std::string& where,
                   std::initializer_list<std::string_view> names) {
  for (const auto& [name, value] : object.items()) {
    if (!value.is_null() && std::ranges::find(names, name) == names.end()) {
      fail_unsupported(where, "the field " + show_text(name));
    }
  }
}

const json& array_at(const JsonFields& fields, const std::string& where, const char* name) {
  const json& array = fields.at(name);
  if (!array.is_array()) {
    fail(ErrorCode::kData, "{}: {} must be an array, found {}", where, name, array.type_name());
  }
  return array;
}

int32_t read_token_id(const json& value, const std::string& where, std::string_view name) {
  const bool is_id = value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{kMaxId};
  if (!is_id) {
    fail(ErrorCode::kData, "{}: the id of {} must be an integer from 0 to {}, found {}", where,
         show_text(name), kMaxId,
         value.is_number() ? value.dump() : std::string(value.type_name()));
  }
  return static_cast<int32_t>(value.get<uint64_t>());
}

std::vector<NormalizerStep> read_normalizer(const JsonFields& root, const std::string& file) {
  std::vector<NormalizerStep> steps;
  if (!root.has("normalizer")) return steps;
  const std::string where = file + ": normalizer";
  for_each_part(
      root.at("normalizer"), where, "normalizers", [&](const std::string& type, const json& part) {
        if (steps.size() == kMaxParts) fail_unsupported(where, "so long a Sequence");
        if (type == "NFC") {
          steps.emplace_back(NfcStep{});
        } else if (type == "Prepend") {
          require_known(part, where, {"type", "prepend"});
          steps.emplace_back(PrependStep{short_text(JsonFields(part, where), where, "prepend")});
        } else if (type == "Replace") {
          steps.emplace_back(read_replace(part, where + " Replace"));
        } else {
          fail_unsupported(where, show_text(type));
        }
      });
  return steps;
}

PreTokenizer read_pre_tokenizer(const JsonFields& root, const std::string& file) {
  PreTokenizer result;
  if (!root.has("pre_tokenizer")) return result;
  const std::string where = file + ": pre_tokenizer";
  const std::vector<NormalizerStep> normalizer = read_normalizer(root, file);
  for_each_part(root.at("pre_tokenizer"), where, "pretokenizers",
                [&](const std::string& type, const json& part) {
                  // ByteLevel writes bytes, which no rule for characters understands.
                  if (result.is_byte_level || result.metaspace || result.cuts.size() == kMaxParts) {
                    fail_unsupported(where, show_text(type) + " at this place");
                  }
                  if (type == "Split") {
                    const auto cut = read_split(part, where + " Split", normalizer);
                    if (cut) result.cuts.push_back(*cut);
                  } else if (type == "Digits") {
                    require_known(part, where, {"type", "individual_digits"});
                    const bool alone =
                        JsonFields(part, where).boolean_or("individual_digits", false);
                    result.cuts.push_back(alone ? single_digit_piece_end : digit_run_piece_end);
                  } else if (type == "ByteLevel") {
                    result.is_byte_level = true;
                    const auto cut = read_byte_level(part, where + " ByteLevel");
                    if (cut) result.cuts.push_back(*cut);
                  } else if (type == "Metaspace") {
                    result.metaspace = read_metaspace(part, where + " Metaspace");
                  } else {
                    fail_unsupported(where, show_text(type));
                  }
                });
  if (!result.is_byte_level && !result.cuts.empty()) {
    fail_unsupported(where, "Split or Digits without ByteLevel");
  }
  return result;
}

DecodeRules read_decoder(const JsonFields& root, const std::string& file) {
  if (!root.has("decoder")) fail_unsupported(file, "decoder null");
  const std::string where = file + ": decoder";
  const json& decoder = root.at("decoder");
  const std::string type = JsonFields(decoder, where).string("type");
  DecodeRules rules;
  if (type == "ByteLevel") {
    rules.byte_level = true;
  } else if (type == "Metaspace") {
    const Metaspace metaspace = read_metaspace(decoder, where);
    rules.replacements.emplace_back(metaspace.mark, " ");
    rules.first_has_no_mark = metaspace.prepend != Metaspace::Prepend::kNever;
  } else {
    SentencePieceDecoder reader(rules);
    for_each_part(decoder, where, "decoders", [&](const std::string& part_type, const json& part) {
      reader.read(part_type, part, where);
    });
  }
  return rules;
}

void read_post_processor(const JsonFields& root, const std::string& file,
                         Tokenizer::Tables& tables) {
  if (!root.has("post_processor")) return;
  const std::string where = file + ": post_processor";
  TemplateReader reader(where, tables);
  for_each_part(root.at("post_processor"), where, "processors",
                [&](const std::string& type, const json& part) {
                  if (type == "TemplateProcessing") {
                    reader.read(JsonFields(part, where));
                  } else if (type != "ByteLevel") {  // that one only trims offsets
                    fail_unsupported(where, show_text(type));
                  }
                });
}

}  // namespace chunkllm
