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
  const std::string modules[] = {"l.q", "l.k"};
  const auto unused = ModuleRules(list).unused(modules);
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
