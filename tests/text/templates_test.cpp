// Small templates against Jinja's own answers (tests/golden/make_templates.py), and hostile ones against the limits.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "support/sanitized.h"
#include "support/test_data.h"
#include "text/template.h"
#include "text/template_json.h"
#include "text/template_limits.h"

namespace gptq {
namespace {

std::tm some_date() {
  std::tm date{};
  date.tm_year = 126;
  date.tm_mon = 0;
  date.tm_mday = 5;
  date.tm_hour = 15;
  date.tm_yday = 4;
  date.tm_wday = 1;
  return date;
}

std::string render(std::string_view source, std::string_view variables = "{}") {
  const jinja::Template parsed(source, "t.jinja");
  return parsed.render(jinja::parse_value(variables, "variables"), some_date());
}

Error refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  return Error(Status::ok, "no error");
}

TEST(Templates, PrintWhatJinjaPrints) {
  const std::string file = test::read_file(test::source_dir() / "tests/golden/templates.json");
  const JsonDocument expected = parse_json(file, "templates.json");
  const jinja::Value ordered = jinja::parse_value(file, "templates.json");
  const jinja::Value& variables = *ordered.dict()->find("variables");
  size_t cases = 0;
  for (const Json& row : (*expected)["cases"]) {
    const std::string source = row["template"].get<std::string>();
    SCOPED_TRACE(source);
    ++cases;
    std::string text, error;
    try {
      text = jinja::Template(source, "t.jinja").render(variables, some_date());
    } catch (const Error& e) {
      error = e.what();
    }
    if (!row.contains("error")) {
      EXPECT_EQ(error, "");
      EXPECT_EQ(text, row["rendered"].get<std::string>());
      continue;
    }
    const std::string wanted = row["error"].get<std::string>();
    EXPECT_NE(error, "") << "prints " << text << ", wanted " << wanted;
    EXPECT_NE(error.find("t.jinja: line 1: "), std::string::npos) << error;
    // messages that templates themselves, or lookups in what they are given, lead to are word for word Jinja's
    for (std::string_view kind : {"TemplateError", "UndefinedError", "SecurityError"}) {
      if (!wanted.starts_with(kind)) continue;
      EXPECT_NE(error.find(wanted), std::string::npos) << error << "\n" << wanted;
    }
  }
  EXPECT_GT(cases, 200U);
}

TEST(Templates, TellTheTime) {
  EXPECT_EQ(render("{{ strftime_now('%Y-%m-%d %H:%M:%S|%d %b %Y|%B %A %a %-d %e %I%p %j %y %%') }}"),
            "2026-01-05 15:00:00|05 Jan 2026|January Monday Mon 5  5 03PM 005 26 %");
}

TEST(Templates, NameTheirLine) {
  const Error format = refusal([] { render("a\n{% if x %}\n{{ ) }}"); });
  EXPECT_EQ(format.fault(), Fault::format);
  EXPECT_STREQ(format.what(), "t.jinja: line 3: unexpected ')' [FORMAT]");
  const Error refused = refusal([] { render("a\n\n{{ raise_exception('no ' + x) }}", R"({"x": "tools"})"); });
  EXPECT_EQ(refused.status(), Status::invalid_argument);
  EXPECT_STREQ(refused.what(), "t.jinja: line 3: TemplateError: no tools");
  EXPECT_STREQ(refusal([] { render("{{ a\n.b\n.c }}"); }).what(),
               "t.jinja: line 2: UndefinedError: 'a' is undefined");
  EXPECT_EQ(refusal([] { render("{% include 'other' %}"); }).fault(), Fault::unsupported);
  EXPECT_EQ(refusal([] { render("\xFF"); }).fault(), Fault::format);
}

void expect_limit(const std::string& source) {
  SCOPED_TRACE(source.substr(0, 300));
  const auto start = std::chrono::steady_clock::now();
  const Error error = refusal([&] { render(source); });
  EXPECT_EQ(error.fault(), Fault::limit) << error.what();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(Templates, StopAtTheLimits) {
  const std::string deep(200, '(');
  std::string blocks;
  for (int i = 0; i < 100; ++i) blocks += "{% if 1 %}";
  const std::string map_names = [] {
    std::string names;
    for (int i = 0; i < 5000; ++i) names += "'map',";
    return names;
  }();
  const std::string hostile[] = {
      "{{ " + deep + "1" + std::string(200, ')') + " }}",
      blocks,
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro a(f) %}{{ f(f) }}{% endmacro %}{{ a(a) }}",
      "{{ 'x' * 99999999999 }}",
      "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}",
      "{% set ns = namespace(s={}) %}{% for i in range(9999) %}{% set ns.s = {'a': ns.s} %}{% endfor %}",
      "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
      "{% for i in range(9999) %}{{ 'x' * 99999 }}{% endfor %}",
      "{{ 'x'.center(99999999999) }}",
      "{{ '%99999999999s' % 'x' }}",
      "{{ '{:99999999999}'.format('x') }}",
      "{{ 'x'|indent(99999999999) }}",
      "{{ [1]|tojson(indent=99999999) }}",
      "{{ ('a' * 999999).replace('', "
      "'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb') }}",
      "{{ ['a']|map('map', " + map_names + " 'map')|list }}",
      std::string(jinja::kMaxSource + 1, ' '),
      "{{ a" +
          [] {
            std::string s;
            for (int i = 0; i < 9999; ++i) s += "|trim";
            return s;
          }() +
          " }}",
  };
  for (const std::string& source : hostile) expect_limit(source);
}

// Those that work on until all steps or bytes are used up.
TEST(Templates, StopWhenNothingIsLeft) {
  std::string head_start;
  if (test::kSanitized) {  // of 256 MB and 20 million steps, 225 and 17 go to long texts, at little cost
    head_start = "{% set x = 'x' * 10000 %}";
    for (const char* name : {"a", "b", "c", "d"}) head_start += cat("{% set ", name, " = x * 5600 %}");
    head_start += "{% for i in range(5) %}{% set e = x * 1000 %}{% endfor %}";
  }
  EXPECT_EQ(render(head_start), "");
  for (const char* source :
       {"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ ('x' * 9999999)|list|length }}",
        "{% set ns = namespace(s=['x']) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{{ [1]|batch(99999999999, 0)|list }}", "{{ [1]|slice(99999999999)|list }}",
        "{% macro m() %}{% for i in range(99999) %}{% macro q() %}{% endmacro %}{{ m() }}{% endfor %}{% "
        "endmacro %}{{ m() }}"}) {
    expect_limit(head_start + source);
  }
}

TEST(Templates, CopeWithLongChats) {
  std::string messages = "{\"messages\": [";
  for (int i = 0; i < 3000; ++i) {
    messages += i == 0 ? "" : ",";
    messages += R"({"role": ")";
    messages += i % 2 == 0 ? "user" : "assistant";
    messages += R"(", "content": ")" + std::string(1000, 'x') + "\"}";
  }
  messages += "]}";
  const std::string text = render(
      "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('x') }}"
      "{% endif %}<|{{ m.role }}|>\n{{ m.content | trim }}{{ '' if loop.last else '<|end|>' }}{% endfor %}",
      messages);
  EXPECT_GT(text.size(), 3'000'000U);
}

}  // namespace
}  // namespace gptq
