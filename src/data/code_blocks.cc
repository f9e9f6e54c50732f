// Programs: functions in the shapes of Python, C and JavaScript.

#include <fmt/core.h>

#include <algorithm>

#include "data/block_items.h"

namespace chunkllm {
namespace {

using Text = std::string_view;

constexpr Text kVerbs[] = {"load",  "save",   "find",  "make",  "count", "parse", "read",  "write",
                           "open",  "close",  "merge", "split", "sort",  "check", "clear", "update",
                           "fetch", "render", "draw",  "move",  "build", "print", "store", "scan"};
constexpr Text kNames[] = {"total", "index", "size",  "width",  "height", "offset",
                           "limit", "level", "count", "weight", "depth",  "rate"};

enum class Language { kPython, kC, kJavaScript };

// How a function answers: {a} is what is asked about, {v} the answer.
constexpr Text kCallQuestions[] = {"Which function calls {a}()?", "Where is {a}() called?",
                                   "Name the function that calls {a}.",
                                   "In which function does the code call {a}()?"};
constexpr Text kCallHeldOut[] = {
    "Look through the code above: the body of which function has a "
    "call of {a}()?"};
constexpr Text kCallAnswers[] = {"{v}", "{v}()", "{v}.", "{a}() is called in {v}().",
                                 "The function {v} calls {a}."};
constexpr Text kReturnQuestions[] = {"What does {a}() return?", "Which value does {a} return?",
                                     "What is the return value of {a}()?"};
constexpr Text kReturnHeldOut[] = {
    "Look through the code above: with which result does {a}() end?"};
constexpr Text kReturnAnswers[] = {"{v}", "{v}.", "{a}() returns {v}.", "It returns {v}."};
constexpr Text kConstantQuestions[] = {"What is the value of {a}?", "To what is {a} set?",
                                       "Which number is {a}?"};
constexpr Text kConstantHeldOut[] = {"Look through the code above: what has been assigned to {a}?"};
constexpr Text kConstantAnswers[] = {"{v}", "{v}.", "{a} is {v}.", "It is set to {v}."};

class Program {
 public:
  Program(Rng& rng, Forms forms)
      : rng_(rng), forms_(forms), language_(static_cast<Language>(rng.below(3))) {
    is_camel_ =
        language_ == Language::kJavaScript || (language_ == Language::kC && rng.below(4) == 0);
    indent_ = language_ == Language::kPython || rng.below(2) == 0 ? "    " : "  ";
    end_ = language_ == Language::kPython ? "" : ";";
  }

  std::string head() {
    switch (language_) {
      case Language::kPython:
        return "import os\nimport sys\n\n\n";
      case Language::kC:
        return "#include <stdio.h>\n#include <stdlib.h>\n\n";
      case Language::kJavaScript:
        return "'use strict';\n\n";
    }
    return {};
  }

  BlockItem constant() {
    std::string name;
    for (const char c : snake("noun")) {
      name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    const std::string value = make_new_value(rng_, "number5", taken_);
    BlockItem item;
    switch (language_) {
      case Language::kPython:
        item.text = fmt::format("{} = {}\n\n\n", name, value);
        break;
      case Language::kC:
        item.text = fmt::format("#define {} {}\n\n", name, value);
        break;
      case Language::kJavaScript:
        item.text = fmt::format("const {} = {};\n\n", name, value);
        break;
    }
    item.question = {
        TaskKind::kCode,
        fill_form(pick_form(rng_, forms_, kConstantQuestions, kConstantHeldOut), name, {}, {}),
        fill_form(pick_of(rng_, kConstantAnswers), name, {}, value),
        {value}};
    return item;
  }

  // A function that calls one that nobody else does and returns a number of its own.
  BlockItem function() {
    const std::string name = function_name();
    const std::string callee = function_name();
    const std::string value = make_new_value(rng_, "number5", taken_);
    const Text argument = pick_of(rng_, kNames);
    const Text local = pick_of(rng_, kNames);
    std::string body = comment();
    const int64_t n_before = rng_.below(4);
    for (int64_t i = 0; i < n_before; ++i) body += statement(argument, local);
    body += line(fmt::format("{}({})", callee, argument));
    for (int64_t n = rng_.below(3); n > 0; --n) body += statement(argument, local);
    body += line("return " + value);
    BlockItem item;
    switch (language_) {
      case Language::kPython:
        item.text = fmt::format("def {}({}):\n{}\n\n", name, argument, body);
        break;
      case Language::kC:
        item.text = fmt::format("int {}(int {}) {{\n{}}}\n\n", name, argument, body);
        break;
      case Language::kJavaScript:
        item.text = fmt::format("function {}({}) {{\n{}}}\n\n", name, argument, body);
        break;
    }
    const bool asks_call = rng_.below(2) == 0;
    const std::string& about = asks_call ? callee : name;
    const std::string& answer = asks_call ? name : value;
    item.question = {
        TaskKind::kCode,
        fill_form(asks_call ? pick_form(rng_, forms_, kCallQuestions, kCallHeldOut)
                            : pick_form(rng_, forms_, kReturnQuestions, kReturnHeldOut),
                  about, {}, {}),
        fill_form(asks_call ? pick_of(rng_, kCallAnswers) : pick_of(rng_, kReturnAnswers), about,
                  {}, answer),
        {answer}};
    return item;
  }

 private:
  // "noun" is "amber_lake"; "verb" puts a verb before.
  std::string snake(Text kind) {
    while (true) {
      std::string name = make_value(rng_, "words");
      std::ranges::replace(name, ' ', '_');
      if (kind == "verb") name = fmt::format("{}_{}", pick_of(rng_, kVerbs), name);
      if (taken_.insert(name).second) return name;
    }
  }

  std::string function_name() {
    const std::string name = snake("verb");
    if (!is_camel_) return name;
    std::string camel;
    for (size_t i = 0; i < name.size(); ++i) {
      if (name[i] == '_') continue;
      const bool is_upper = i > 0 && name[i - 1] == '_';
      camel += is_upper ? static_cast<char>(name[i] - 'a' + 'A') : name[i];
    }
    return camel;
  }

  std::string line(const std::string& code) { return fmt::format("{}{}{}\n", indent_, code, end_); }

  std::string comment() {
    if (rng_.below(3) > 0) return {};
    const std::string what =
        fmt::format("Uses the {} of the {}.", pick_of(rng_, kNames), make_value(rng_, "object"));
    if (language_ == Language::kPython) {
      return rng_.below(2) == 0 ? fmt::format("{}\"\"\"{}\"\"\"\n", indent_, what)
                                : fmt::format("{}# {}\n", indent_, what);
    }
    return fmt::format("{}// {}\n", indent_, what);
  }

  // Something short, in operators that any of the languages has.
  std::string expression(Text argument, Text local, int64_t n) {
    constexpr Text kShapes[] = {"{a} += {v}",
                                "{k}_.{a}.update({v})",
                                "{a}_ = {a} << {v}",
                                "{a} = {a} != {v}",
                                "{k}[{a}] = {v} | 1",
                                "{k}_.push({a} % {v})",
                                "{a} = ({a} + {v}) * ({a} - {v})",
                                "{k}.{a} = {k}.{a} >= {v}",
                                "{k}({a}, {v}, \"{k}\").close()"};
    return fill_form(pick_of(rng_, kShapes), argument, local, std::to_string(n));
  }

  std::string statement(Text argument, Text local) {
    const int64_t n = 2 + rng_.below(98);
    const Text declares = language_ == Language::kC            ? "int "
                          : language_ == Language::kJavaScript ? "let "
                                                               : "";
    switch (rng_.below(12)) {
      case 0:
        return line(fmt::format("{}{}_{} = {} * {}", declares, local, ++n_locals_, argument, n));
      case 1:
        if (language_ == Language::kPython) {
          return fmt::format("{}if {} > {}:\n{}{}{} -= {}\n", indent_, argument, n, indent_,
                             indent_, argument, n);
        }
        return fmt::format("{}if ({} > {}) {{\n{}{}{} -= {};\n{}}}\n", indent_, argument, n,
                           indent_, indent_, argument, n, indent_);
      case 2:
        if (language_ == Language::kPython) {
          return fmt::format("{}for i in range({}):\n{}{}{} += i\n", indent_, n, indent_, indent_,
                             argument);
        }
        return fmt::format("{}for ({}i = 0; i < {}; ++i) {{\n{}{}{} += i;\n{}}}\n", indent_,
                           declares, n, indent_, indent_, argument, indent_);
      case 3: {
        const std::string word = make_value(rng_, "object");
        if (language_ == Language::kPython) {
          return line(fmt::format("print(\"{}\", {})", word, argument));
        }
        if (language_ == Language::kC) {
          return line(fmt::format("printf(\"{} %d\\n\", {})", word, argument));
        }
        return line(fmt::format("console.log(\"{}\", {})", word, argument));
      }
      case 4: {
        const std::string word = make_value(rng_, "words");
        if (language_ == Language::kPython) {
          return fmt::format("{}{}_{} = [\"{}\", {}]  # {}\n", indent_, local, ++n_locals_, word, n,
                             make_value(rng_, "object"));
        }
        return fmt::format("{}{}{}_{} = {}[{}];  // {}\n", indent_, declares, local, ++n_locals_,
                           argument, n, word);
      }
      case 5:
        if (language_ == Language::kPython) {
          return fmt::format("{0}if {1} == {2}:\n{0}{0}{1} = 0\n{0}else:\n{0}{0}{1} = {1} // 2\n",
                             indent_, argument, n);
        }
        return fmt::format(
            "{0}if ({1} == {2}) {{\n{0}{0}{1} = 0;\n{0}}} else {{\n{0}{0}{1} /= 2;\n{0}}}\n",
            indent_, argument, n);
      case 6:
        if (language_ == Language::kPython) {
          return fmt::format(
              "{0}try:\n{0}{0}{1} = int({1}) + {2}\n{0}except ValueError as error:\n{0}{0}raise "
              "TypeError(\"bad {1}\") from error\n",
              indent_, argument, n);
        }
        return fmt::format("{0}while ({1} < {2}) {{\n{0}{0}++{1};\n{0}}}\n", indent_, argument, n);
      case 7:
        return fmt::format("\n{}{} {} {}, then the {} of the {}.\n", indent_,
                           language_ == Language::kPython ? "#" : "//", "First the",
                           pick_of(rng_, kNames), pick_of(rng_, kNames),
                           make_value(rng_, "object"));
      case 8:
        return fmt::format("{0}{1}{2}_{3} = max({4},\n{0}{0}{0}{0}{5}){6}\n", indent_, declares,
                           local, ++n_locals_, argument, n, end_);
      default:
        return line(expression(argument, local, n));
    }
  }

  Rng& rng_;
  Forms forms_;
  Language language_;
  bool is_camel_ = false;
  Text indent_;
  Text end_;
  TakenNames taken_;
  int64_t n_locals_ = 0;
};

}  // namespace

TaskDocument make_code_block(Rng& rng, Forms forms, int64_t n_bytes, int64_t n_questions) {
  Program program(rng, forms);
  const std::string head = program.head();
  std::vector<BlockItem> items;
  int64_t size = std::ssize(head);
  for (int64_t n = rng.below(4); n > 0; --n) items.push_back(program.constant());
  for (const BlockItem& item : items) size += std::ssize(item.text);
  while (size < n_bytes || std::ssize(items) < std::max<int64_t>(n_questions, 1)) {
    items.push_back(program.function());
    size += std::ssize(items.back().text);
  }
  TaskDocument document = join_items(rng, head, items, "", n_questions);
  while (document.text.ends_with("\n\n")) document.text.pop_back();
  for (Range& range : document.hidden) range.end = std::min(range.end, std::ssize(document.text));
  return document;
}

}  // namespace chunkllm
