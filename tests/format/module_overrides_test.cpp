// "dynamic": what is read, in which order, what is refused by name, and that it is written as it was.
#include "format/module_overrides.h"

#include "base/json_writer.h"
#include "format/format_support.h"
#include "format/quant_config.h"

namespace gptq {
namespace {

using test::Outcome;
using test::outcome_of;

constexpr std::string_view kPath[] = {"dynamic"};

ModuleOverrides parse(std::string_view object, OverrideUse use = OverrideUse::quantize) {
  return parse_module_overrides(object, "the option", {}, use);
}
Outcome refusal(std::string_view object, OverrideUse use = OverrideUse::quantize) {
  return outcome_of([&] { parse(object, use); });
}

std::string printed(const ModuleOverrides& overrides) {
  JsonWriter out;
  write_module_overrides(out, overrides);
  return out.take();
}

TEST(ModuleOverrides, AllSettings) {
  const auto all =
      parse(R"({"+:.*down":{"bits":8,"group_size":-1,"sym":false,"desc_act":true,"act_group_aware":false,)"
            R"("static_groups":true,"damp_percent":0.1,"mse":2.4},"-:x":{},"y.z":{"bits":null}})");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].kind, ModuleOverride::Kind::change);
  EXPECT_EQ(all[0].key, "+:.*down");
  EXPECT_EQ(all[0].pattern, ".*down");
  EXPECT_EQ(all[0].bits, 8);
  EXPECT_EQ(all[0].group_size, -1);
  EXPECT_EQ(all[0].symmetric, false);
  EXPECT_EQ(all[0].desc_act, true);
  EXPECT_EQ(all[0].act_group_aware, false);
  EXPECT_EQ(all[0].static_groups, true);
  EXPECT_EQ(all[0].damp_percent, 0.1);
  EXPECT_EQ(all[0].mse, 2.4);
  EXPECT_EQ(all[1].kind, ModuleOverride::Kind::skip);
  EXPECT_EQ(all[1].pattern, "x");
  EXPECT_EQ(all[2].pattern, "y.z");
  EXPECT_FALSE(all[2].bits.has_value());
}

TEST(ModuleOverrides, KeepTheOrderOfTheText) {
  const std::string text =
      R"({"z":{"bits":8},"+:a":{"group_size":32},"-:m":{},"b":{"sym":false},"\u0061b":{"bits":2}})";
  EXPECT_EQ(printed(parse(text)),
            R"({"z":{"bits":8},"+:a":{"group_size":32},"-:m":{},"b":{"sym":false},"ab":{"bits":2}})");
}

TEST(ModuleOverrides, OnlyTheObjectAtThePath) {
  const std::string text =
      R"({"x":{"dynamic":{"no":{}}},"list":[{"dynamic":{"no":{}}}],"a":1,)"
      R"("dynamic":{"yes":{"bits":8},"dynamic":{"bits":2}},"dynamics":{"no":{}},"y":{"dynamic":{"no":{}}}})";
  EXPECT_EQ(printed(parse_module_overrides(text, "q.json", kPath, OverrideUse::read)),
            R"({"yes":{"bits":8},"dynamic":{"bits":2}})");
  for (const char* nothing : {"{}", R"({"dynamic":null})", R"({"dynamic":{}})", R"({"d":{"x":{}}})"}) {
    EXPECT_TRUE(parse_module_overrides(nothing, "q.json", kPath, OverrideUse::read).empty()) << nothing;
  }
}

TEST(ModuleOverrides, WhatIsWrongIsNamed) {
  struct Case {
    const char* text;
    Fault fault;
    const char* says;
  };
  const Case cases[] = {
      {R"({"a.b":{"bits":5}})", Fault::range, "'a.b': 'bits' is 5"},
      {R"({"a.b":{"bits":"8"}})", Fault::range, "'bits'"},
      {R"({"a.b":{"bits":1e308}})", Fault::range, "'bits'"},
      {R"({"a.b":{"group_size":0}})", Fault::range, "'group_size' is 0"},
      {R"({"a.b":{"group_size":-2}})", Fault::range, "'group_size' is -2"},
      {R"({"a.b":{"sym":1}})", Fault::format, "'sym'"},
      {R"({"a.b":{"damp_percent":1}})", Fault::range, "'damp_percent'"},
      {R"({"a.b":{"damp_percent":0}})", Fault::range, "'damp_percent'"},
      {R"({"a.b":{"mse":-1}})", Fault::range, "'mse'"},
      {R"({"a.b":{"desc_act":true,"act_group_aware":true}})", Fault::mismatch, "'desc_act'"},
      {R"({"a.b":{"group_sise":32}})", Fault::unsupported, "unknown setting 'group_sise'"},
      {R"({"a.b":{"group_sise":32}})", Fault::unsupported, "the nearest is 'group_size'"},
      {R"({"a.b":{"gptaq":{"alpha":0.25}}})", Fault::unsupported, "'gptaq'"},
      {R"({"a.b":8})", Fault::format, "'a.b'"},
      {R"({"a.b":null})", Fault::format, "'a.b'"},
      {R"({"-:a.b":{"bitz":8}})", Fault::unsupported, "'-:a.b'"},
      {R"({"":{"bits":8}})", Fault::format, "empty"},
      {R"({"-:":{}})", Fault::format, "empty"},
      {R"({"a":{},"a":{}})", Fault::duplicate, "the option"},
      {R"([])", Fault::format, "the option"},
      {R"({"a":{})", Fault::format, "the option"},
  };
  for (const Case& c : cases) {
    const Outcome found = refusal(c.text);
    EXPECT_EQ(found.fault, c.fault) << c.text << found.message;
    EXPECT_TRUE(found.mentions(c.says)) << c.text << found.message;
    EXPECT_TRUE(found.mentions("the option")) << found.message;
  }
}

TEST(ModuleOverrides, ACheckpointMayTellHowItWasMade) {
  const char* made =
      R"({"a":{"bits":8,"gptaq":{"alpha":1},"fallback":null,"pack_dtype":"int32","adapter":null}})";
  EXPECT_EQ(printed(parse(made, OverrideUse::read)), R"({"a":{"bits":8}})");
  EXPECT_EQ(refusal(made).fault, Fault::unsupported);
  for (const char* other : {R"({"a":{"pack_dtype":"int16"}})", R"({"a":{"adapter":{"rank":8}}})",
                            R"({"a":{"rotation":"hadamard"}})"}) {
    EXPECT_EQ(refusal(other, OverrideUse::read).fault, Fault::unsupported) << other;
  }
}

TEST(ModuleOverrides, TooMany) {
  std::string text = "{";
  for (size_t i = 0; i <= kMostModuleOverrides; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":{}";
  EXPECT_EQ(refusal(text + "}").fault, Fault::limit);
}

TEST(QuantConfigOverrides, AreReadFromEitherFileAndWritten) {
  const test::TemporaryFolder folder;
  const std::string dictionary = R"({"bits":4,"dynamic":{"z":{"bits":8},"-:a":{}}})";
  test::write_file(folder / "config.json", "{\"quantization_config\":" + dictionary + "}");
  const auto from_config = read_quant_config(folder.path());
  EXPECT_EQ(printed(from_config->overrides), R"({"z":{"bits":8},"-:a":{}})");
  EXPECT_TRUE(std::string_view(from_config->overrides[0].where)
                  .starts_with("config.json: 'quantization_config': 'dynamic': 'z'"))
      << from_config->overrides[0].where;
  test::write_file(folder / "quantize_config.json", dictionary);
  EXPECT_EQ(printed(read_quant_config(folder.path())->overrides), R"({"z":{"bits":8},"-:a":{}})");

  test::write_file(folder / "quantize_config.json",
                   write_quant_config(*from_config, {.quantizer = "libgptq:0.1.0"}));
  EXPECT_EQ(printed(read_quant_config(folder.path())->overrides), R"({"z":{"bits":8},"-:a":{}})");

  test::write_file(folder / "quantize_config.json", R"({"bits":4,"dynamic":{"z":{"bits":2}}})");
  const Outcome found = outcome_of([&] { read_quant_config(folder.path()); });
  EXPECT_EQ(found.fault, Fault::mismatch);
  EXPECT_TRUE(found.mentions("'dynamic'")) << found.message;
}

}  // namespace
}  // namespace gptq
