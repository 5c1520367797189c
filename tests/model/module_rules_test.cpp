// Patterns on names: which one decides, and which are told to be of no use.
#include "model/module_rules.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace gptq::test {
namespace {

ModuleOverrides overrides(std::string_view object) {
  return parse_module_overrides(object, "dynamic", {}, OverrideUse::quantize);
}

/// The key of the pattern that decides, "" if none.
std::string decides(std::string_view object, std::string_view module) {
  const ModuleOverrides list = overrides(object);
  const ModuleOverride* found = ModuleRules(list).find(module);
  return found != nullptr ? found->key : "";
}

TEST(ModuleRules, MatchFromTheStart) {
  const std::string_view name = "model.layers.12.mlp.down_proj";
  EXPECT_EQ(decides(R"({"model":{}})", name), "model");
  EXPECT_EQ(decides(R"({"layers":{}})", name), "");
  EXPECT_EQ(decides(R"({"(?:layers)?mod":{}})", name), "(?:layers)?mod");
  EXPECT_EQ(decides(R"({".*layers":{}})", name), ".*layers");
  EXPECT_EQ(decides(R"({".*\\.mlp\\.down_proj$":{}})", name), ".*\\.mlp\\.down_proj$");
  EXPECT_EQ(decides(R"({".*\\.mlp\\.down$":{}})", name), "");
  EXPECT_EQ(decides(R"({"^model":{}})", name), "^model");
  EXPECT_EQ(decides(R"({".*\\.(?:1|12)\\.":{}})", name), ".*\\.(?:1|12)\\.");
  EXPECT_EQ(decides(R"j({".*(?<=mlp\\.)down(?!_x)":{}})j", name), ".*(?<=mlp\\.)down(?!_x)");
  EXPECT_EQ(decides(R"({"Model":{}})", name), "");
  EXPECT_EQ(decides(R"({"(?i)Model":{}})", name), "(?i)Model");
}

TEST(ModuleRules, SkipsGoFirstThenTheOrderOfTheText) {
  EXPECT_EQ(decides(R"({"z.*":{"bits":8},"a.*":{"bits":2},"+:.*":{"bits":3}})", "a.b"), "a.*");
  EXPECT_EQ(decides(R"({".*":{"bits":8},"a.*":{"bits":2}})", "a.b"), ".*");
  EXPECT_EQ(decides(R"({".*":{"bits":8},"-:a.*":{},"-:a":{}})", "a.b"), "-:a.*");
  EXPECT_EQ(decides(R"({".*":{"bits":8},"-:a.*":{}})", "b"), ".*");
  EXPECT_EQ(decides("{}", "b"), "");
}

TEST(ModuleRules, UnusedOnesAreNamed) {
  const ModuleOverrides list =
      overrides(R"({".*q":{"bits":8},"-:.*k":{},"kv":{"bits":2},"+:.*o$":{"bits":2},"l.q":{}})");
  ModuleRules rules(list);
  for (const char* module : {"l.q", "l.k"}) rules.find(module);
  const auto unused = rules.unused();
  ASSERT_EQ(unused.size(), 3u);
  EXPECT_EQ(unused[0], "dynamic: 'kv' matches no module");
  EXPECT_EQ(unused[1], "dynamic: '+:.*o$' matches no module");
  EXPECT_EQ(unused[2], "dynamic: 'l.q' is never used: other patterns match first");
}

TEST(ModuleRules, BadPatternsAreNamed) {
  for (const char* object : {R"({"+:a(":{}})", R"({"-:[z-a]":{}})", R"({"*":{}})", R"({"\\C":{}})"}) {
    const ModuleOverrides list = overrides(object);
    try {
      ModuleRules{list};
      ADD_FAILURE() << object;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::unsupported) << error.what();
      EXPECT_NE(std::string_view(error.what()).find(list[0].where), std::string_view::npos) << error.what();
    }
  }
}

/// What find() says of names "m0", "m1", ... until it refuses one; how many it took.
std::string refusal(std::string_view object, uint64_t most_steps, int* names) {
  const ModuleOverrides list = overrides(object);
  ModuleRules rules(list, most_steps);
  for (*names = 0; *names < 100; ++*names) {
    try {
      rules.find("m" + std::to_string(*names) + std::string(8, 'a') + "cb");
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::limit) << error.what();
      return error.what();
    }
  }
  return "";
}

TEST(ModuleRules, AllMatchesShareOneBudget) {
  // each match takes thousands of steps, far below what one may take, and they are many
  constexpr std::string_view kSlow = R"({"x":{},"m[0-9]+(?:(?:a+)+)+b":{},"-:m[0-9]+a*b":{},"y":{}})";
  int names = 0;
  const std::string message = refusal(kSlow, 100'000, &names);
  EXPECT_GT(names, 3);
  EXPECT_LT(names, 90);
  EXPECT_TRUE(message.starts_with("dynamic: 'm[0-9]+(?:(?:a+)+)+b': has taken ")) << message;
  int again = 0;
  refusal(kSlow, 100'000, &again);
  EXPECT_EQ(again, names);
  EXPECT_EQ(refusal(kSlow, 1'000'000'000, &names), "");
  EXPECT_EQ(names, 100);
}

TEST(ModuleRules, NestedQuantifiersEnd) {
  const ModuleOverrides list = overrides(R"({"(?:(?:a+)+)+$":{}})");
  ModuleRules rules(list);
  try {
    rules.find(std::string(200, 'a') + "b");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::limit) << error.what();
  }
}

}  // namespace
}  // namespace gptq::test
