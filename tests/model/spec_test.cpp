// config.json: what is read, and what is refused by name.
#include "model/spec.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"

namespace gptq {
namespace {

Json llama() {
  return Json::parse(R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 320, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "hidden_act": "silu"})");
}

Spec read(const Json& json) { return read_spec(json, "config.json"); }

std::vector<int64_t> windows(const Spec& spec) {
  std::vector<int64_t> result;
  for (const LayerSpec& layer : spec.layer) result.push_back(layer.window);
  return result;
}

TEST(Spec, ReadsLlama) {
  Json json = llama();
  json["eos_token_id"] = {2, 7};
  json["bos_token_id"] = 1;
  json["rope_theta"] = 500000.0;
  const Spec spec = read(json);
  EXPECT_EQ(spec.family->name, "llama");
  EXPECT_EQ(spec.head_dim, 16);
  EXPECT_EQ(spec.out_features(Role::k, 0), 32);
  EXPECT_EQ(spec.in_features(Role::down, 0), 96);
  EXPECT_EQ(spec.eos, (std::vector<int32_t>{2, 7}));
  EXPECT_EQ(spec.bos, 1);
  EXPECT_EQ(spec.rope().theta, 500000.0);
  EXPECT_FALSE(spec.tied.has_value());
}

TEST(Spec, OldAndNewSpellingOfRopeAgree) {
  Json old = llama(), current = llama();
  old["rope_theta"] = 1000.0;
  old["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32}};
  current["rope_parameters"] = {{"rope_type", "yarn"},
                                {"factor", 4.0},
                                {"rope_theta", 1000.0},
                                {"original_max_position_embeddings", 32}};
  const RopeSpec a = read(old).rope(), b = read(current).rope();
  EXPECT_EQ(a.kind, RopeKind::yarn);
  EXPECT_EQ(b.kind, RopeKind::yarn);
  EXPECT_EQ(a.theta, b.theta);
  EXPECT_EQ(a.original_context, 32);
  EXPECT_EQ(a.attention_factor, b.attention_factor);
}

TEST(Spec, WindowsOfMistralAndQwen2) {
  Json mistral = llama();
  mistral["model_type"] = "mistral";
  mistral["sliding_window"] = 8;
  EXPECT_EQ(windows(read(mistral)), (std::vector<int64_t>{8, 8}));
  mistral["sliding_window"] = nullptr;
  EXPECT_EQ(windows(read(mistral)), (std::vector<int64_t>{0, 0}));
  Json qwen = llama();
  qwen["model_type"] = "qwen2";
  qwen["sliding_window"] = 8;
  EXPECT_EQ(windows(read(qwen)), (std::vector<int64_t>{0, 0}));
  qwen["use_sliding_window"] = true;
  qwen["max_window_layers"] = 1;
  EXPECT_EQ(windows(read(qwen)), (std::vector<int64_t>{0, 8}));
  qwen["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_EQ(windows(read(qwen)), (std::vector<int64_t>{8, 0}));
}

struct Refused {
  const char* name;
  const char* patch;  // merged into a good configuration
  Fault fault;
  const char* says;
};

class SpecRefusal : public testing::TestWithParam<Refused> {};

TEST_P(SpecRefusal, NamesKeyFoundAndWanted) {
  Json json = llama();
  json.merge_patch(Json::parse(GetParam().patch));
  try {
    read(json);
    FAIL() << "accepted " << GetParam().patch;
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), GetParam().fault) << error.what();
    EXPECT_NE(std::string(error.what()).find(GetParam().says), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("config.json"), std::string::npos) << error.what();
  }
}

constexpr Refused kRefused[] = {
    {"HiddenZero", R"({"hidden_size": 0})", Fault::range, "hidden_size"},
    {"HiddenNegative", R"({"hidden_size": -64})", Fault::range, "hidden_size"},
    {"HiddenFloat", R"({"hidden_size": 64.0})", Fault::range, "hidden_size"},
    {"HiddenText", R"({"hidden_size": "64"})", Fault::range, "hidden_size"},
    {"HiddenHuge", R"({"hidden_size": 1e308})", Fault::range, "hidden_size"},
    {"Hidden2To63", R"({"hidden_size": 9223372036854775808})", Fault::range, "hidden_size"},
    {"HeadsDoNotDivide", R"({"num_attention_heads": 5, "num_key_value_heads": 5})", Fault::mismatch,
     "hidden_size"},
    {"KvHeadsDoNotDivide", R"({"num_key_value_heads": 3})", Fault::mismatch, "num_key_value_heads"},
    {"KvHeadsZero", R"({"num_key_value_heads": 0})", Fault::range, "num_key_value_heads"},
    {"TooManyLayers", R"({"num_hidden_layers": 1000000000})", Fault::limit, "num_hidden_layers"},
    {"ContextHuge", R"({"max_position_embeddings": 1000000000000})", Fault::limit, "max_position_embeddings"},
    {"VocabMissing", R"({"vocab_size": null})", Fault::format, "vocab_size"},
    {"EpsZero", R"({"rms_norm_eps": 0})", Fault::range, "rms_norm_eps"},
    {"EpsNegative", R"({"rms_norm_eps": -1e-5})", Fault::range, "rms_norm_eps"},
    {"ThetaZero", R"({"rope_theta": 0})", Fault::range, "rope_theta"},
    {"FactorZero", R"({"rope_scaling": {"type": "linear", "factor": 0}})", Fault::range, "factor"},
    {"FactorMissing", R"({"rope_scaling": {"type": "linear"}})", Fault::format, "factor"},
    {"RopeUnknown", R"({"rope_scaling": {"type": "spiral", "factor": 2}})", Fault::unsupported, "spiral"},
    {"RopeNotObject", R"({"rope_scaling": 4})", Fault::format, "rope_scaling"},
    {"Llama3Order",
     R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1}})",
     Fault::range, "high_freq_factor"},
    {"ModelUnknown", R"({"model_type": "lama"})", Fault::unsupported, "'llama'"},
    {"RemoteCode", R"({"model_type": "own", "auto_map": {"AutoModel": "x.Y"}})", Fault::unsupported,
     "auto_map"},
    {"ActUnknown", R"({"hidden_act": "snake"})", Fault::unsupported, "snake"},
    {"EosNegative", R"({"eos_token_id": -1})", Fault::range, "eos_token_id"},
    {"EosText", R"({"eos_token_id": ["</s>"]})", Fault::range, "eos_token_id"},
    {"OddHeadDim", R"({"head_dim": 15})", Fault::range, "head_dim"},
};

INSTANTIATE_TEST_SUITE_P(All, SpecRefusal, testing::ValuesIn(kRefused),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Spec, RefusesWhatIsNoObject) {
  EXPECT_THROW(read(Json::parse("[]")), Error);
  EXPECT_THROW(read(Json::parse("null")), Error);
}

Json moe(const char* type) {
  Json json = llama();
  json["model_type"] = type;
  json["num_hidden_layers"] = 6;
  json["num_experts"] = 8;
  json["num_experts_per_tok"] = 2;
  json["moe_intermediate_size"] = 32;
  return json;
}

std::vector<int64_t> experts(const Spec& spec) {
  std::vector<int64_t> result;
  for (const LayerSpec& layer : spec.layer) result.push_back(layer.experts);
  return result;
}

TEST(Spec, LayersThatHaveExperts) {
  Json json = moe("qwen3_moe");
  json["decoder_sparse_step"] = 2;
  json["mlp_only_layers"] = {3};
  const Spec spec = read(json);
  EXPECT_EQ(experts(spec), (std::vector<int64_t>{0, 8, 0, 0, 0, 8}));
  EXPECT_EQ(spec.at(0).intermediate, 96);
  EXPECT_EQ(spec.at(1).intermediate, 0);
  EXPECT_EQ(spec.out_features(Role::expert_up, 1), 32);
  EXPECT_EQ(spec.in_features(Role::expert_down, 1), 32);
  EXPECT_EQ(spec.out_features(Role::router, 1), 8);
  EXPECT_EQ(spec.router.renormalize, Renormalize::no);
  Json glm = moe("glm4_moe");
  glm["first_k_dense_replace"] = 4;
  glm["n_shared_experts"] = 2;
  glm["routed_scaling_factor"] = 1.5;
  EXPECT_EQ(experts(read(glm)), (std::vector<int64_t>{0, 0, 0, 0, 8, 8}));
  EXPECT_EQ(read(glm).at(5).intermediate, 64);
  EXPECT_EQ(read(glm).router.factor, 1.5f);
  EXPECT_EQ(read(glm).router.renormalize, Renormalize::yes);
}

TEST(Spec, LayersOfLlama4) {
  Json json = moe("llama4_text");
  json["intermediate_size_mlp"] = 128;
  json["interleave_moe_layer_step"] = 2;
  json["attention_chunk_size"] = 16;
  json["no_rope_layers"] = Json::array();
  json["no_rope_layer_interval"] = 3;
  json["attn_temperature_tuning"] = 4;
  json["floor_scale"] = 8;
  json["moe_intermediate_size"] = nullptr;
  const Spec spec = read(json);
  EXPECT_EQ(experts(spec), (std::vector<int64_t>{0, 8, 0, 8, 0, 8}));
  EXPECT_EQ(spec.at(0).intermediate, 128);
  EXPECT_EQ(spec.at(1).intermediate, 96);
  EXPECT_EQ(spec.at(1).expert_intermediate, 96);
  for (int64_t i : {0, 1, 3, 4}) {
    EXPECT_EQ(spec.at(i).rope, 0) << i;
    EXPECT_EQ(spec.at(i).chunk, 16) << i;
  }
  for (int64_t i : {2, 5}) {  // see all, and do not rotate
    EXPECT_EQ(spec.at(i).rope, -1) << i;
    EXPECT_EQ(spec.at(i).chunk, 0) << i;
  }
  EXPECT_EQ(spec.temperature_scale, 0.1);
  EXPECT_EQ(spec.temperature_floor, 8);
  json["attn_temperature_tuning"] = false;
  EXPECT_EQ(read(json).temperature_scale, 0);
}

TEST(Spec, WindowsOfQwen3Moe) {
  Json json = moe("qwen3_moe");
  json["sliding_window"] = 16;
  EXPECT_EQ(windows(read(json)), (std::vector<int64_t>{0, 0, 0, 0, 0, 0}));
  json["use_sliding_window"] = true;
  EXPECT_EQ(windows(read(json)), (std::vector<int64_t>{16, 16, 16, 16, 16, 16}));
}

TEST(Spec, WindowsOfQwen2Moe) {
  Json json = moe("qwen2_moe");
  json["max_window_layers"] = 4;
  EXPECT_EQ(windows(read(json)), (std::vector<int64_t>{0, 0, 0, 0, 0, 0}));
  json["use_sliding_window"] = true;
  EXPECT_EQ(windows(read(json)), (std::vector<int64_t>{4096, 0, 4096, 0, 0, 0}));
  json["sliding_window"] = 16;
  json["layer_types"] = {"full_attention", "sliding_attention", "full_attention",
                         "full_attention", "sliding_attention", "full_attention"};
  EXPECT_EQ(windows(read(json)), (std::vector<int64_t>{0, 16, 0, 0, 16, 0}));
}

TEST(Spec, DbrxDividesWeightsUnlessTheKeyIsNull) {
  Json json = moe("dbrx");
  json["attn_config"] = {{"kv_n_heads", 2}};
  json["ffn_config"] = {{"moe_num_experts", 8}, {"moe_top_k", 2}, {"ffn_hidden_size", 32}};
  EXPECT_EQ(read(json).router.renormalize, Renormalize::yes);
  json["ffn_config"]["moe_normalize_expert_weights"] = nullptr;
  EXPECT_EQ(read(json).router.renormalize, Renormalize::no);
}

TEST(Spec, RefusesExpertsThatCannotBe) {
  const auto refused = [](const char* key, const Json& value, Fault fault) {
    Json json = moe("glm4_moe");
    json[key] = value;
    try {
      read(json);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), fault) << key << ": " << error.what();
      return;
    }
    ADD_FAILURE() << key << " " << value.dump() << " is taken";
  };
  refused("num_experts", 1'000'000'000, Fault::limit);
  refused("num_experts", 5000, Fault::limit);
  refused("num_experts", 0, Fault::range);
  refused("num_experts_per_tok", 9, Fault::range);
  refused("n_group", 3, Fault::mismatch);
  refused("mlp_only_layers", Json::array({6}), Fault::range);
  refused("mlp_only_layers", 1, Fault::range);
  Json json = moe("glm4_moe");
  json["n_group"] = 8;
  json["topk_group"] = 1;  // one group has one expert
  EXPECT_THROW(read(json), Error);
}

Json with_latents(const char* type) {
  Json json = moe(type);
  json.merge_patch(Json::parse(R"({"kv_lora_rank": 16, "q_lora_rank": null, "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8, "v_head_dim": 10, "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2})"));
  return json;
}

TEST(Spec, DeepSeek) {
  const Spec v3 = read(with_latents("deepseek_v3"));
  EXPECT_EQ(v3.at(1).mixer, Mixer::latent);
  EXPECT_EQ(v3.head_dim, 20);
  EXPECT_EQ(v3.ropes[0].dim, 8);
  EXPECT_EQ(v3.at(1).keys(), 4 * 20);
  EXPECT_EQ(v3.at(1).values(), 4 * 10);
  EXPECT_EQ(v3.router.groups, 4);
  EXPECT_EQ(v3.router.group_score, GroupScore::two_best);
  Json json = with_latents("deepseek_v2");
  EXPECT_EQ(read(json).router.groups, 1);  // greedy
  json["topk_method"] = "group_limited_greedy";
  EXPECT_EQ(read(json).router.groups, 4);
  EXPECT_EQ(read(json).router.group_score, GroupScore::best);
}

TEST(Spec, LayersOfQwen3Next) {
  const auto kinds = [](const Json& json) {
    std::string text;
    for (const LayerSpec& layer : read(json).layer) text += layer.mixer == Mixer::delta ? 'd' : 'a';
    return text;
  };
  Json json = moe("qwen3_next");
  json["head_dim"] = 16;
  EXPECT_EQ(kinds(json), "dddadd");
  json["full_attention_interval"] = 3;
  EXPECT_EQ(kinds(json), "ddadda");
  json["layer_types"] = {"full_attention",   "linear_attention", "linear_attention",
                         "linear_attention", "full_attention",   "linear_attention"};
  EXPECT_EQ(kinds(json), "adddad");
  EXPECT_EQ(read(json).at(1).queries(), 16 * 128);
  EXPECT_EQ(read(json).at(1).values(), 32 * 128);
  EXPECT_EQ(read(json).at(0).queries(), 4 * 16);
}

TEST(Spec, RefusesMixersThatCannotBe) {
  const auto refused = [](Json json, const char* key, const Json& value, Fault fault) {
    json[key] = value;
    try {
      read(json);
      ADD_FAILURE() << key << " " << value.dump() << " is taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), fault) << error.what();
      EXPECT_NE(std::string(error.what()).find(key), std::string::npos) << error.what();
    }
  };
  const Json latents = with_latents("deepseek_v2"), delta = moe("qwen3_next");
  refused(latents, "kv_lora_rank", nullptr, Fault::format);
  refused(latents, "q_lora_rank", 0, Fault::range);
  refused(latents, "qk_rope_head_dim", 7, Fault::range);
  refused(latents, "topk_method", "noaux_tc", Fault::unsupported);
  refused(latents, "scoring_func", "sigmoid", Fault::unsupported);
  refused(delta, "layer_types", Json::array({"full_attention"}), Fault::mismatch);
  refused(delta, "layer_types", Json::array({"mamba", "mamba", "mamba", "mamba", "mamba", "mamba"}),
          Fault::unsupported);
  refused(delta, "hidden_act", "gelu", Fault::unsupported);
  refused(delta, "linear_num_key_heads", 5, Fault::mismatch);
  refused(delta, "linear_num_value_heads", 0, Fault::range);
  refused(delta, "linear_conv_kernel_dim", 65, Fault::range);
  refused(delta, "linear_key_head_dim", 65536, Fault::limit);
}

}  // namespace
}  // namespace gptq
