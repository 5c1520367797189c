// Published chat templates against the texts, and errors, that Jinja gives in transformers.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "support/test_data.h"
#include "text/template.h"
#include "text/template_json.h"

namespace gptq {
namespace {

std::tm fixed_date() {
  std::tm date{};
  date.tm_year = 126;
  date.tm_mday = 15;
  date.tm_yday = 14;
  date.tm_wday = 4;
  return date;
}

TEST(PublishedTemplates, RenderAsTransformersDoes) {
  GPTQ_EXTRA_DATA(folder, "chat-templates");
  int cases = 0;
  for (const auto& entry : test::fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".jinja") continue;
    const std::string name = entry.path().stem().string();
    SCOPED_TRACE(name);
    const jinja::Template source(test::read_file(entry.path()), name);
    const std::string file = name + ".expected.json";
    const std::string json = test::read_file(folder / file);
    const JsonDocument expected = parse_json(json, file);
    // parsed anew for the order of its keys, which Json does not keep
    const jinja::Value ordered = jinja::parse_value(json, file);
    for (size_t i = 0; i < expected->size(); ++i) {
      const Json& test = (*expected)[i];
      SCOPED_TRACE(test["case"].get<std::string>());
      const jinja::Value& input = *ordered.sequence()->items[i].dict()->find("input");
      std::string text, error;
      try {
        text = source.render(input, fixed_date());
      } catch (const Error& e) {
        error = e.what();
      }
      ++cases;
      if (test.contains("error")) {
        EXPECT_NE(error.find(test["error"].get<std::string>()), std::string::npos) << error << text;
      } else {
        EXPECT_EQ(error, "");
        EXPECT_EQ(text, test["rendered"].get<std::string>());
      }
    }
  }
  EXPECT_GT(cases, 100);
}

}  // namespace
}  // namespace gptq
