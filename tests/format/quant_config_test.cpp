// quantize_config.json and its relatives: every spelling, every contradiction.
#include "format/quant_config.h"

#include "base/json.h"
#include "format/format_support.h"
#include "format/quant_config_parse.h"

namespace gptq {
namespace {

using test::Outcome;
using test::outcome_of;

QuantConfig parse(std::string_view text) { return parse_quant_config(parse_json(text, "q.json"), "q.json"); }
Outcome refusal(std::string_view text) {
  return outcome_of([&] { parse(text); });
}

TEST(QuantConfig, Defaults) {
  const QuantConfig config = parse(R"({"bits":4})");
  EXPECT_EQ(config.bits, 4);
  EXPECT_EQ(config.group_size, 128);
  EXPECT_EQ(config.symmetry, Symmetry::symmetric);
  EXPECT_FALSE(config.desc_act);
  EXPECT_EQ(config.format, QuantFormat::gptq);
  EXPECT_FALSE(config.producer_is_gptqmodel);
}

TEST(QuantConfig, Spellings) {
  EXPECT_EQ(parse(R"({"w_bit":8,"q_group_size":64})").bits, 8);
  EXPECT_EQ(parse(R"({"wbits":2,"q_group_size":64})").group_size, 64);
  EXPECT_EQ(parse(R"({"bits":3,"group_size":-1,"method":"GPTQ"})").group_size, -1);
  EXPECT_EQ(parse(R"({"bits":4,"zero_point":true})").symmetry, Symmetry::asymmetric);
  EXPECT_EQ(parse(R"({"bits":4,"zero_point":false})").symmetry, Symmetry::symmetric);
  EXPECT_EQ(parse(R"({"bits":4,"sym":false})").symmetry, Symmetry::asymmetric);
  EXPECT_EQ(parse(R"({"bits":4,"sym":null})").symmetry, Symmetry::symmetric);
  EXPECT_TRUE(parse(R"({"bits":4,"desc_act":true})").desc_act);
  for (const char* key : {"checkpoint_format", "format", "version"}) {
    EXPECT_EQ(parse("{\"bits\":4,\"" + std::string(key) + "\":\"gptq_v2\"}").format, QuantFormat::gptq_v2)
        << key;
  }
  EXPECT_EQ(parse(R"({"bits":4,"version":1})").format, QuantFormat::gptq);
  EXPECT_EQ(parse(R"({"bits":4,"damp_percent":0.1,"meta":{"damp_percent":0.05,"static_groups":true}})").bits,
            4);
}

TEST(QuantConfig, TheProducer) {
  EXPECT_TRUE(parse(R"({"bits":4,"meta":{"quantizer":["gptqmodel:7.7.0"]}})").producer_is_gptqmodel);
  EXPECT_TRUE(parse(R"({"bits":4,"meta":{"quantizer":"gptqmodel:1.0"}})").producer_is_gptqmodel);
  EXPECT_TRUE(
      parse(R"({"bits":4,"meta":{"quantizer":["optimum:1.2","gptqmodel:1.0"]}})").producer_is_gptqmodel);
  EXPECT_FALSE(parse(R"({"bits":4,"meta":{"quantizer":["intel/auto-round:0.4"]}})").producer_is_gptqmodel);
  for (const char* meta :
       {"{}", "null", "{\"quantizer\":null}", "{\"quantizer\":[1]}", "{\"quantizer\":{}}"}) {
    EXPECT_FALSE(parse("{\"bits\":4,\"meta\":" + std::string(meta) + "}").producer_is_gptqmodel) << meta;
  }
}

TEST(QuantConfig, BadNumbers) {  // rows 63, 64
  for (const char* bits : {"0", "1", "5", "6", "7", "9", "16", "-4", "3.5", "4.0", "\"4\"", "1e308",
                           "9223372036854775808", "[4]", "true"}) {
    const Outcome found = refusal("{\"bits\":" + std::string(bits) + "}");
    EXPECT_EQ(found.fault, Fault::range) << bits;
    EXPECT_TRUE(found.mentions("'bits'") && found.mentions("q.json")) << found.message;
  }
  EXPECT_EQ(refusal("{}").fault, Fault::format);
  for (const char* size : {"0", "-2", "-128", "1e10", "99999999999999999999", "\"128\"", "32.5"}) {
    const Outcome found = refusal("{\"bits\":4,\"group_size\":" + std::string(size) + "}");
    EXPECT_EQ(found.fault, Fault::range) << size;
    EXPECT_TRUE(found.mentions("'group_size'")) << found.message;
  }
}

TEST(QuantConfig, MethodsAndFormats) {
  for (const auto& [members, format] : {
           std::pair{R"("quant_method":"awq")", QuantFormat::awq_gemm},
           std::pair{R"("quant_method":"awq","version":"GEMM")", QuantFormat::awq_gemm},
           std::pair{R"("quant_method":"awq","version":"gemv")", QuantFormat::awq_gemv},
           std::pair{R"("method":"awq","format":"gemm","checkpoint_format":"gemm")", QuantFormat::awq_gemm},
           std::pair{R"("version":"GEMM","q_group_size":64)", QuantFormat::awq_gemm},
           std::pair{R"("version":"gemv")", QuantFormat::awq_gemv},
           std::pair{R"("quant_method":"marlin")", QuantFormat::marlin},
           std::pair{R"("checkpoint_format":"marlin","quant_method":"gptq")", QuantFormat::marlin},
           std::pair{R"("is_marlin_format":true)", QuantFormat::marlin},
           std::pair{R"("is_marlin_format":true,"quant_method":"gptq","checkpoint_format":"gptq")",
                     QuantFormat::marlin},
           std::pair{R"("is_marlin_format":false,"quant_method":"gptq")", QuantFormat::gptq},
       }) {
    EXPECT_EQ(parse("{\"bits\":4," + std::string(members) + "}").format, format) << members;
  }
  // AWQ is asymmetric unless it says otherwise, and only GPTQ's own layout has an order
  EXPECT_EQ(parse(R"({"bits":4,"quant_method":"awq"})").symmetry, Symmetry::asymmetric);
  EXPECT_EQ(parse(R"({"bits":4,"quant_method":"awq","zero_point":false})").symmetry, Symmetry::symmetric);
  EXPECT_FALSE(parse(R"({"bits":4,"quant_method":"awq","desc_act":true})").desc_act);
  EXPECT_FALSE(parse(R"({"bits":4,"is_marlin_format":true,"desc_act":true})").desc_act);
}

TEST(QuantConfig, UnknownVariants) {
  for (const char* members :
       {R"("quant_method":"bitsandbytes")", R"("method":"qqq")",
        R"("quant_method":"awq","version":"gemv_fast")", R"("quant_method":"awq","version":"llm-awq")",
        R"("quant_method":"gptq","checkpoint_format":"gemm")", R"("checkpoint_format":"gptq_p")",
        R"("checkpoint_format":"gptq_v3")", R"("pack_dtype":"int16")", R"("rotation":"hadamard")"}) {
    const Outcome found = refusal("{\"bits\":4," + std::string(members) + "}");
    EXPECT_EQ(found.fault, Fault::unsupported) << members << found.message;
    EXPECT_TRUE(found.mentions("q.json")) << found.message;
  }
  EXPECT_TRUE(refusal(R"({"bits":4,"quant_method":"qqq"})")
                  .mentions("'gptq', 'marlin', 'awq' or 'compressed-tensors'"));
  for (const char* members :
       {R"("dynamic":null)", R"("dynamic":{})", R"("lm_head":false)", R"("lm_head":true)",
        R"("rotation":null)", R"("pack_dtype":"int32")", R"("is_marlin_format":false)", R"("unknown":[1])"}) {
    EXPECT_EQ(refusal("{\"bits\":4," + std::string(members) + "}").message, "") << members;
  }
}

/// As compressed-tensors 0.20 writes it, with `weights` in the place of its one group's.
std::string compressed(const std::string& weights, const std::string& more = "") {
  return R"({"quant_method":"compressed-tensors","format":"pack-quantized","quantization_status":"compressed",)"
         R"("kv_cache_scheme":null,"ignore":["lm_head"],"sparsity_config":{},"transform_config":{},"version":"0.20.0",)" +
         more +
         R"("config_groups":{"group_0":{"targets":["Linear"],"input_activations":null,)"
         R"("output_activations":null,"format":"pack-quantized","weights":)" +
         weights + "}}}";
}

TEST(CompressedConfig, SaysWhatItsWeightsAre) {
  const QuantConfig config = parse(compressed(
      R"({"num_bits":4,"type":"int","symmetric":false,"strategy":"group","group_size":64,"actorder":null})"));
  EXPECT_EQ(config.format, QuantFormat::compressed_tensors);
  EXPECT_EQ(config.bits, 4);
  EXPECT_EQ(config.group_size, 64);
  EXPECT_EQ(config.symmetry, Symmetry::asymmetric);
  EXPECT_EQ(parse(compressed(R"({"num_bits":8,"strategy":"channel"})")).group_size, -1);
  EXPECT_EQ(parse(compressed(R"({"num_bits":8,"group_size":32})")).group_size, 32);
  EXPECT_TRUE(parse(compressed(R"({"num_bits":4,"group_size":32,"actorder":"group"})")).desc_act);
  EXPECT_FALSE(parse(compressed(R"({"num_bits":4,"group_size":32,"actorder":"weight"})")).desc_act);
}

TEST(CompressedConfig, WhatIsNotKnownIsNamed) {
  for (const char* weights :
       {R"({"num_bits":4,"type":"float","strategy":"channel"})", R"({"num_bits":6,"strategy":"channel"})",
        R"({"num_bits":4,"strategy":"tensor"})", R"({"num_bits":4})",
        R"({"num_bits":4,"strategy":"channel","dynamic":true})", "null"}) {
    const Outcome found = refusal(compressed(weights));
    EXPECT_EQ(found.fault, Fault::unsupported) << weights << found.message;
    EXPECT_TRUE(found.mentions("group_0")) << found.message;
  }
  const std::string good = R"({"num_bits":4,"strategy":"channel"})";
  EXPECT_EQ(refusal(compressed(good)).message, "");
  EXPECT_EQ(refusal(compressed(R"({"num_bits":4,"strategy":"group","group_size":0})")).fault, Fault::range);
  EXPECT_EQ(refusal(R"({"quant_method":"compressed-tensors","format":"pack-quantized"})").fault,
            Fault::format);
  EXPECT_EQ(refusal(R"({"quant_method":"compressed-tensors","format":"float-quantized"})").fault,
            Fault::unsupported);
  std::string text = compressed(good);
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    return refusal(changed);
  };
  EXPECT_EQ(with("\"kv_cache_scheme\":null", "\"kv_cache_scheme\":{\"num_bits\":8}").fault,
            Fault::unsupported);
  EXPECT_EQ(with("\"transform_config\":{}", "\"transform_config\":{\"a\":1}").fault, Fault::unsupported);
  EXPECT_EQ(with("\"input_activations\":null", "\"input_activations\":{\"num_bits\":8}").fault,
            Fault::unsupported);
  EXPECT_EQ(with("\"compressed\"", "\"frozen\"").fault, Fault::unsupported);
  EXPECT_EQ(with("\"sparsity_config\":{}", "\"sparsity_config\":{\"format\":\"dense\"}").message, "");
  EXPECT_EQ(with("\"sparsity_config\":{}", "\"sparsity_config\":{\"format\":\"sparse-24\"}").fault,
            Fault::unsupported);
}

TEST(QuantConfig, WrongTypes) {
  for (const char* text :
       {R"({"bits":4,"sym":1})", R"({"bits":4,"desc_act":"true"})", R"({"bits":4,"quant_method":4})",
        R"({"bits":4,"checkpoint_format":{}})", R"({"bits":4,"meta":[]})", "[]", "null", "4"}) {
    EXPECT_EQ(refusal(text).fault, Fault::format) << text;
  }
  EXPECT_EQ(refusal(R"({"bits":4,"checkpoint_format":"gptq","format":"gptq_v2"})").fault, Fault::mismatch);
}

class Folder : public testing::Test {
 protected:
  std::optional<QuantConfig> read() const { return read_quant_config(folder_.path()); }
  void write(std::string_view name, std::string_view text) const { test::write_file(folder_ / name, text); }

  test::TemporaryFolder folder_;
};

TEST_F(Folder, LookupOrder) {
  EXPECT_FALSE(read().has_value());
  write("config.json", R"({"model_type":"llama"})");
  EXPECT_FALSE(read().has_value());
  write("config.json", R"({"model_type":"llama","quantization_config":null})");
  EXPECT_FALSE(read().has_value());
  write("config.json", R"({"quantization_config":{"quant_method":"gptq","bits":3}})");
  EXPECT_EQ(read()->bits, 3);
  write("quant_config.json", R"({"wbits":3,"group_size":32})");
  EXPECT_EQ(read()->group_size, 32);  // from the first that speaks
  write("quantize_config.json", R"({"bits":3,"group_size":32,"desc_act":true})");
  EXPECT_TRUE(read()->desc_act);
}

TEST_F(Folder, Disagreement) {  // row 68
  write("quantize_config.json",
        R"({"bits":4,"group_size":32,"checkpoint_format":"gptq","quant_method":"gptq"})");
  for (const char* other : {R"({"bits":8,"group_size":32})", R"({"bits":4,"group_size":64})",
                            R"({"bits":4,"format":"gptq_v2"})", R"({"bits":4,"quant_method":"awq"})"}) {
    write("config.json", "{\"quantization_config\":" + std::string(other) + "}");
    const Outcome found = outcome_of([&] { read(); });
    EXPECT_EQ(found.fault, Fault::mismatch) << other << found.message;
    EXPECT_TRUE(found.mentions("quantize_config.json") && found.mentions("config.json: quantization_config"))
        << found.message;
  }
  for (const char* other : {R"({"bits":4})", R"({"bits":4,"group_size":32,"version":"gptq"})"}) {
    write("config.json", "{\"quantization_config\":" + std::string(other) + "}");
    EXPECT_NO_THROW(read()) << other;
  }
}

TEST_F(Folder, HostileFiles) {  // row 54
  for (const std::string& text : {std::string(), std::string("[]"), std::string("{"),
                                  std::string("\xFF\xFE{\0}\0", 6), std::string("{\"bits\":4}\0", 11)}) {
    write("quantize_config.json", text);
    EXPECT_EQ(outcome_of([&] { read(); }).fault, Fault::format) << text;
  }
  write("quantize_config.json", R"({"bits":4,"bits":8})");
  EXPECT_EQ(outcome_of([&] { read(); }).fault, Fault::duplicate);
  write("quantize_config.json", std::string(100'000, '['));
  EXPECT_EQ(outcome_of([&] { read(); }).fault, Fault::limit);
}

TEST(WriteQuantConfig, ReadsBack) {
  for (int bits : {2, 3, 4, 8}) {
    for (auto symmetry : {Symmetry::symmetric, Symmetry::asymmetric}) {
      for (auto format : {QuantFormat::gptq, QuantFormat::gptq_v2}) {
        const QuantConfig config{.bits = bits,
                                 .group_size = bits == 8 ? -1 : 32,
                                 .symmetry = symmetry,
                                 .desc_act = bits == 3,
                                 .format = format};
        const std::string text = write_quant_config(config, {.quantizer = "libgptq:0.1.0"});
        const QuantConfig read = parse(text);
        EXPECT_EQ(read.bits, config.bits);
        EXPECT_EQ(read.group_size, config.group_size);
        EXPECT_EQ(read.symmetry, config.symmetry);
        EXPECT_EQ(read.desc_act, config.desc_act);
        EXPECT_EQ(read.format, config.format);
        EXPECT_FALSE(read.producer_is_gptqmodel);
      }
    }
  }
}

TEST(WriteQuantConfig, HasTheKeysInTheUsualOrder) {
  const QuantConfig config{.group_size = 32};
  const std::string text = write_quant_config(config, {.quantizer = "libgptq:0.1.0"});
  EXPECT_EQ(
      nlohmann::ordered_json::parse(text).dump(),
      R"({"bits":4,"group_size":32,"desc_act":false,"lm_head":false,"method":"gptq","quant_method":"gptq",)"
      R"("format":"gptq","checkpoint_format":"gptq","pack_dtype":"int32","meta":{"quantizer":["libgptq:0.1.0"],)"
      R"("uri":"https://github.com/libgptq/libgptq","damp_percent":0.05,"damp_auto_increment":0.01,)"
      R"("static_groups":false,"true_sequential":true,"act_group_aware":true},"sym":true})");
}

}  // namespace
}  // namespace gptq
