#include "text/chat/jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/expect_error.h"

namespace chunkllm::jinja {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;

std::tm noon() {
  std::tm time = {};
  ::strptime("2026-03-04T15:06:07", "%Y-%m-%dT%H:%M:%S", &time);
  return time;
}

std::string render(const std::string& source,
                   const ordered_json& variables = ordered_json::object()) {
  return Template(source, "T").render(variables, noon()).bytes;
}

void expect_fails(ErrorCode code, const std::string& part, const std::string& source) {
  expect_error(code, part, [&] { render(source); });
}

// What Python's Jinja 3.1 gives in the environment of Hugging Face transformers.
struct Expected {
  const char* source;
  const char* text;
};

TEST(JinjaTemplate, ExpressionsAreThoseOfPython) {
  const Expected cases[] = {
      {"{{ 1 + 2 * 3 - 4 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 3 ** 2 }}", "5.0 -4 2 64"},
      {"{{ 1e16 }} {{ 1e15 }} {{ 0.1 + 0.2 }} {{ 1e-5 }}",
       "1e+16 1000000000000000.0 0.30000000000000004 1e-05"},
      {"{{ [1, 'a', none, true, 2.0, (1,), {}] }}", "[1, 'a', None, True, 2.0, (1,), {}]"},
      {"{{ ['a\\'b', '\"', '\\n', 'é', '\\u200b'] }}", "[\"a'b\", '\"', '\\n', 'é', '\\u200b']"},
      {"{{ 'abc'[0] }}{{ 'abc'[-1] }}{{ 'abc'[::-1] }}{{ 'abc'[5] }}|{{ 'aé🙂'[1:] }}",
       "accba|é🙂"},
      {"{{ 1 < 2 < 3 }} {{ 'a' in 'abc' }} {{ 1 not in [1] }} {{ 1 == true }}",
       "True True False True"},
      {"{{ 'a' ~ 1 ~ none ~ nothing }}", "a1None"},
      {"{{ nothing|default('d') }} {{ ''|default('d', true) }} {{ nothing is defined }}",
       "d d False"},
      {"{{ 'x' if false }}|{{ 'x' if false else 'y' }}", "|y"},
      {"{{ 'a b  c'.split() }} {{ 'a,b'.split(',', 1) }} {{ '  x '|trim }} {{ 'aa'.replace('a', "
       "'b', 1) }}",
       "['a', 'b', 'c'] ['a', 'b'] x ba"},
      {"{{ \"it's a-b\"|title }} {{ \"it's\".title() }} {{ 'ß'|upper }}", "It's A-B It'S SS"},
      {"{{ {'b': 1, 'a': [1, none]}|tojson }} {{ {'a': 1}|tojson(indent=2) }}",
       "{\"b\": 1, \"a\": [1, null]} {\n  \"a\": 1\n}"},
      {"{{ [3, 1]|sort }} {{ [1, 2, 3]|select('odd')|list }} {{ ['a']|map('upper')|join }}",
       "[1, 3] [1, 3] A"},
      {"{{ '%s-%02d' % ('a', 3) }} {{ '{:>3}|{a}'.format(1, a='b') }}", "a-03   1|b"},
      {"{{ '\\q\\é\\u00e9' }}", "\\q\\xe9é"},
      {"{{ strftime_now('%d %b %Y') }}", "04 Mar 2026"},
      {"{{ {'items': 1}.items is callable }}{{ {'x': 1}.y is defined }}", "TrueFalse"},
  };
  for (const Expected& expected : cases)
    EXPECT_EQ(render(expected.source), expected.text) << expected.source;
}

TEST(JinjaTemplate, StatementsAreThoseOfJinja) {
  const Expected cases[] = {
      {"{% for x in [1, 2] %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.nextitem }};{% "
       "endfor %}",
       "1TrueFalse2;2FalseTrue;"},
      {"{% for x in [1, 2, 3] if x > 1 %}{{ loop.length }}{{ x }}{% else %}no{% endfor %}", "2223"},
      {"{% for x in [] %}{% else %}none{% endfor %}", "none"},
      {"{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1"},
      {"{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", "1"},
      {"{% set n = namespace(x=1) %}{% for i in [1] %}{% set n.x = 2 %}{% endfor %}{{ n.x }}", "2"},
      {"{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 3 %}{% break "
       "%}{% endif %}{{ i }}{% endfor %}",
       "1"},
      {"{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(b=1, a=3) }}{{ f() }}",
       "12312"},
      {"{% macro f() %}<{{ caller(1) }}>{% endmacro %}{% call(x) f() %}{{ x }}{% endcall %}",
       "<1>"},
      {"{% set x %}a{{ 1 }}{% endset %}{{ x }}{% filter upper %}b{% endfilter %}", "a1B"},
      {"{% generation %}a{% endgeneration %}{% raw %}{{ x }}{% endraw %}", "a{{ x }}"},
      {"  {% if true %}\nx\n  {% endif %}\ny\n", "x\ny"},
      {"a  {%- if true -%}  b  {%- endif %}  c", "ab  c"},
      {"a {#- c -#} b\n  {# d #}\nc", "ab\nc"},
      {"  {%+ if true +%}\nx{% endif %}", "  \nx"},
  };
  for (const Expected& expected : cases)
    EXPECT_EQ(render(expected.source), expected.text) << expected.source;
}

// Jinja 3.1.6.
TEST(JinjaTemplate, RareThingsAreThoseOfJinja) {
  const Expected cases[] = {
      {"{{ {'a b': 1, 'c': '/&ä'}|urlencode }} {{ [('x', 'y z'), ['p', 'q/']]|urlencode }} "
       "{{ 'a b/ü'|urlencode }} {{ 5|urlencode }} {{ nothing|urlencode }}",
       "a+b=1&c=%2F%26%C3%A4 x=y+z&p=q%2F a%20b/%C3%BC 5 "},
      {"{{ ['ab', 'cd']|urlencode }} {{ {}|urlencode }}|{{ {'a':none, 'b': 1.5}.items()|urlencode "
       "}}|{{ true|urlencode }}",
       "a=b&c=d |a=None&b=1.5|True"},
      {"{{ '{0} {1}'.format(1, 2) }} {{ '{} {}'.format(1, 2) }} "
       "{{ '{a} {} {b}'.format(1, a=2, b=3) }} {{ '{0.real} {}'.format(5, 6) }} "
       "{{ '{} {0[0]}'.format('ab') }} {{ '{a}'.format_map({'a': 1}) }}",
       "1 2 1 2 2 1 3 5 5 ab a 1"},
      {"{% for x in [1] %}{% block a %}[{{ x }}{{ loop is defined }}]{% endblock %}{% endfor %}",
       "[False]"},
      {"{% for x in [1] %}{% block a scoped %}[{{ x }}]{% endblock a %}{% endfor %}", "[1]"},
      {"{% set y = 2 %}{% for x in [1] %}{% set y = 3 %}{% block a %}[{{ y }}]{% endblock %}"
       "{% endfor %}",
       "[2]"},
      {"{% with y = 2 %}{% block a %}[{{ y }}]{% endblock %}{% endwith %}", "[]"},
      {"{% macro m(p) %}{% block a %}[{{ p }}]{% endblock %}{% endmacro %}{{ m(3) }}", "[]"},
      {"{% set _u = 1 %}{% if true %}{% set z = 5 %}{% endif %}{% block a %}{{ _u }}{{ z }}"
       "{% set q = 1 %}{% endblock %}{{ q }}",
       "15"},
      {"{% block a %}{% set z = 1 %}{% block b %}[{{ z }}]{% endblock %}{% endblock %}", "[]"},
      {"{% set self = 3 %}{{ self }}", "3"},
      {"{{ {'a': 1}.items() }} {{ [{'a': 1}.keys()] }} {{ {'a': [1]}.values() }}",
       "dict_items([('a', 1)]) [dict_keys(['a'])] dict_values([[1]])"},
      {"{{ {'a':1,'b':2}.items() == {'b':2,'a':1}.items() }} {{ {'a':1}.keys() == {'b':1}.keys() "
       "}} {{ {'a':1}.values() == {'a':1}.values() }} {{ {'a':1}.keys() is sequence }}",
       "True False False False"},
      {"{{ (5).real }} {{ (5).imag }} {{ (5).numerator }} {{ (5).denominator }} {{ (1.5).real }} "
       "{{ (1.5).imag }} {{ true.real }} {{ 5['real'] }}|{{ (1.5).numerator }}|{{ {'real': 1}.real "
       "}}",
       "5 0 5 1 1.5 0.0 1 5||1"},
      {"{{ 'abc'.isidentifier() }} {{ '1a'.isidentifier() }} {{ ''.isidentifier() }} "
       "{{ '_ä9'.isidentifier() }} {{ 'a b'.isidentifier() }} {{ '℘'.isidentifier() }} "
       "{{ 'a·'.isidentifier() }}",
       "True False False True False True True"},
      {"{{ 'a\tb'.expandtabs()|tojson }} {{ 'ab\tc\nd\te'.expandtabs(4)|tojson }} "
       "{{ '\ta'.expandtabs(0)|tojson }} {{ 'a\tb\\r\tc'.expandtabs(tabsize=3)|tojson }} "
       "{{ 'a\tb'.expandtabs(-1)|tojson }} {{ 'abcd\te'.expandtabs(4)|tojson }}",
       "\"a       b\" \"ab  c\\nd   e\" \"a\" \"a  b\\r   c\" \"ab\" \"abcd    e\""},
      {"{{ 'Ab Cd'.istitle() }} {{ 'AB'.istitle() }} {{ ''.istitle() }} {{ \"It's\".istitle() }} "
       "{{ \"It'S\".istitle() }} {{ '1a'.istitle() }} {{ '1A'.istitle() }} {{ 'ǅa'.istitle() }}",
       "True False False False True False True True"},
      {"{{ 'ab'.isprintable() }} {{ 'a\n'.isprintable() }} {{ ''.isprintable() }} "
       "{{ '\u00a0'.isprintable() }} {{ 'é'.isprintable() }}",
       "True False True False True"},
      {"{{ range(3) }} {{ range(1, 4) }}", "range(0, 3) range(1, 4)"},
      {"{{ [].append }}|{{ {'update': 3}.update }}|{{ {'update': 3}['update'] }}|{{ (5).foo }}",
       "||3|"},
  };
  for (const Expected& expected : cases)
    EXPECT_EQ(render(expected.source), expected.text) << expected.source;
  for (const char* source :
       {"{{ [1, 2]|urlencode }}", "{{ '{} {1}'.format(1, 2) }}", "{{ '{0} {}'.format(1, 2) }}",
        "{{ '{.real}'.format(1) }}", "{{ '{[0]}'.format('ab') }}", "{{ '{}'.format_map({}) }}",
        "{% block a %}x{% endblock %}{% block a %}y{% endblock %}",
        "{% block a %}x{% endblock b %}", "{{ {'update': 3}.update() }}",
        "{% for x in [1] %}{% block a %}{% break %}{% endblock %}{% endfor %}",
        "{% for x in [1] %}{% block a scoped %}{% break %}{% endblock %}{% endfor %}",
        "{{ 'a\tb'.expandtabs(1000000000000) }}"}) {
    EXPECT_THROW(render(source), Error) << source;
  }
}

// What Jinja writes and this engine cannot write as exactly.
TEST(JinjaTemplate, WhatIsLeftOutIsAnErrorAndNoOtherText) {
  for (const char* source : {"{{ self }}",
                             "{% block a %}x{% endblock %}{{ self.a() }}",
                             "{{ namespace(a=1) }}",
                             "{{ [namespace()] }}",
                             "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
                             "{{ joiner }}",
                             "{% macro m() %}{% endmacro %}{{ m }}",
                             "{{ [1, 2]|map('string') }}",
                             "{{ 'x'.upper }}",
                             "{% for i in [1] %}{{ loop }}{% endfor %}",
                             "{{ cycler(1) ~ '' }}",
                             "{{ range(0, 11, 3) }}",
                             "{{ range(0) }}",
                             "{{ range(0, 5, 10) }}",
                             "{{ range(3).start }}",
                             "{{ (5).bit_length() }}",
                             "{{ (5).bit_length }}",
                             "{{ 'x'.encode() }}",
                             "{{ {}.fromkeys([1]) }}",
                             "{{ '%s' % joiner }}"}) {
    expect_fails(ErrorCode::kUnsupported, "line 1", source);
  }
}

TEST(JinjaTemplate, ErrorsSayWhereAndWhat) {
  expect_fails(ErrorCode::kData,
               "T, line 2 of the chat template: the chat template refuses these messages: \"Roles "
               "must alternate\"",
               "\n{{ raise_exception('Roles must\\n alternate') }}");
  expect_fails(ErrorCode::kData, "nothing is undefined", "{{ nothing.x }}");
  expect_fails(ErrorCode::kData, "line 3: expected", "\n\n{% if %}");
  expect_fails(ErrorCode::kData, "there is no filter nofilter", "{{ 1|nofilter }}");
  expect_fails(ErrorCode::kData, "namespace", "{% set x = {} %}{% set x.a = 1 %}");
  expect_fails(ErrorCode::kData, "append", "{{ [].append(1) }}");
  for (const char* source :
       {"{{ 1 + 'a' }}", "{{ none|list }}", "{{ 'a' in 5 }}", "{{ 1 < 'a' }}", "{{ 1 // 0 }}",
        "{% for x in 5 %}{% endfor %}", "{{ nothing|tojson }}", "{{ (1 }}", "{% endif %}", "{{ 'a",
        "{% do 1 %}", "{% for a, in [[1]] %}{% endfor %}", "{{ 5|indent }}", "{% include 'x' %}",
        "{# c", "{% set true = 1 %}"}) {
    EXPECT_THROW(render(source), Error) << source;
  }
  EXPECT_EQ(render("{% if false %}{{ 1|nofilter }}{% endif %}"), "");
}

TEST(JinjaTemplate, WhatIsTooMuchIsAnError) {
  const std::string macro = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
  const std::string grow = "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = ";
  const std::string nest = "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = ";
  for (const std::string& source : {
           std::string("{{ 'a' * 1000000000000 }}"),
           std::string("{{ [1] * 1000000000000 }}"),
           std::string("{{ range(1000000000000) }}"),
           std::string("{{ 'a'|center(1000000000000) }}"),
           std::string("{{ [1]|batch(1000000000000, 'x')|list }}"),
           std::string("{{ [[1]]|tojson(indent=1000000000000) }}"),
           std::string("{% set x = 'a' * 1000000 %}{{ x|replace('a', x) }}"),
           std::string("{% for i in range(9999) %}{{ 'a' * 99999 }}{% endfor %}"),
           std::string(
               "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
           macro,
           grow + "n.x ~ n.x %}{% endfor %}",
           nest + "n.x + n.x %}{% endfor %}",
           nest + "[n.x, n.x] %}{% endfor %}{{ n.x }}",
           nest + "[n.x, n.x] %}{% endfor %}{{ n.x|tojson }}",
           nest + "[n.x] %}{% set n.x = [n.x] %}{% endfor %}",
       }) {
    expect_fails(ErrorCode::kUnsupported, "line 1", source);
  }
  for (const char* part : {"(", "[", "{1:", "-", "not "}) {
    std::string source = "{{ ";
    for (int i = 0; i < 100'000; ++i) source += part;
    EXPECT_THROW(render(source), Error) << part;
  }
  for (const char* part : {"+1", ".a", "()", "|trim", "[0]", "**1"}) {
    std::string source = "{{ 1";
    for (int i = 0; i < 100'000; ++i) source += part;
    EXPECT_THROW(render(source + " }}"), Error) << part;
  }
}

TEST(JinjaTemplate, LongMessagesAreNoProblem) {
  const std::string text(1'000'000, 'x');
  ordered_json messages = ordered_json::array();
  for (int i = 0; i < 20; ++i) messages.push_back({{"role", "user"}, {"content", "é" + text}});
  const std::string source =
      "{% set ns = namespace(all='') %}{% for m in messages %}{% set c = m.content|trim %}"
      "{% if '</think>' in c %}{% set c = c.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
      "{% set ns.all = ns.all ~ c|replace('y', 'z') %}{{ c[1:] }}{{ c|length }}{% endfor %}{{ "
      "ns.all|length }}";
  EXPECT_EQ(render(source, {{"messages", messages}}).size(), 20 * (text.size() + 7) + 8);
}

// Text of the marks with this origin, one after the other with a bar between them.
std::string marked(const MarkedText& text, uint32_t origin) {
  std::string all;
  for (const Mark& mark : text.marks) {
    if (mark.origin == origin) all += text.bytes.substr(mark.begin, mark.end - mark.begin) + "|";
  }
  return all;
}

TEST(JinjaTemplate, MarksFollowTheTextOfMessages) {
  const ordered_json variables = {{"a", "<b> Text\n x"}, {"list", {"<b>"}}};
  const auto origin = [](const std::string& place) { return place.starts_with("/a") ? 1u : 2u; };
  const auto of_a = [&](const std::string& expression) {
    return marked(Template("<b>{{ " + expression + " }}<b>", "T").render(variables, noon(), origin),
                  1);
  };
  EXPECT_EQ(of_a("a"), "<b> Text\n x|");
  EXPECT_EQ(of_a("'x' ~ a ~ 'y' + a"), "<b> Text\n x|<b> Text\n x|");
  EXPECT_EQ(of_a("a[:3]"), "<b>|");
  EXPECT_EQ(of_a("a[2::-1]"), ">b<|");
  EXPECT_EQ(of_a("a|upper"), "<B> TEXT\n X|");
  EXPECT_EQ(of_a("a|title"), "<B> Text\n X|");
  EXPECT_EQ(of_a("a|replace('Text', '<c>')"), "<b> |\n x|");
  EXPECT_EQ(of_a("'<b>Text'|replace('Text', a)"), "<b> Text\n x|");
  EXPECT_EQ(of_a("a.split('Text')[0].strip()"), "<b>|");
  EXPECT_EQ(of_a("a.split()|join('<b>')"), "<b>|Text|x|");
  EXPECT_EQ(of_a("a|list|last"), "x|");
  EXPECT_EQ(of_a("[a]"), "<b> Text\\n x|");
  EXPECT_EQ(of_a("{'k': a}|tojson"), "<b> Text\\n x|");
  EXPECT_EQ(of_a("a|e"), "&lt;b&gt; Text\n x|");
  EXPECT_EQ(of_a("a|indent(1)"), "<b> Text| x|");
  EXPECT_EQ(of_a("'%s-%5s' % (a, 1)"), "<b> Text\n x|");
  EXPECT_EQ(of_a("'{}'.format(a)"), "<b> Text\n x|");
  EXPECT_EQ(of_a("a.format(1)"), "<b> Text\n x|");
  EXPECT_EQ(of_a("a.partition(' ')[0]"), "<b>|");
  EXPECT_EQ(of_a("a|reverse"), "x \ntxeT >b<|");
  EXPECT_EQ(of_a("a|urlencode"), "%3Cb%3E%20Text%0A%20x|");
  EXPECT_EQ(of_a("{'<b>': a}|urlencode"), "%3Cb%3E+Text%0A+x|");
  EXPECT_EQ(of_a("('\t' ~ a[:3] ~ '\t').expandtabs()"), "<b>|");
  EXPECT_EQ(of_a("a.replace(' ', '\t').expandtabs(2)"), "<b>|Text\n|x|");
  EXPECT_EQ(of_a("list[0] ~ '<b>'"), "");
  EXPECT_EQ(of_a("a|length"), "");
}

}  // namespace
}  // namespace chunkllm::jinja
