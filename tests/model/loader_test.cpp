// Strict loading: a folder whose tensors and configuration disagree is refused by name.
#include "model/loader.h"

#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "session/model.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

using nlohmann::json;

/// A copy of the sample model's folder whose config.json is patched.
class Folder {
 public:
  explicit Folder(const std::string& patch = "{}") {
    const fs::path from = source_dir() / "samples/model";
    for (const auto& entry : fs::directory_iterator(from))
      fs::copy_file(entry.path(), folder_ / entry.path().filename().string());
    json config = json::parse(read_file(from / "config.json"));
    config.merge_patch(json::parse(patch));
    write_file(folder_ / "config.json", config.dump());
  }
  const fs::path& path() const { return folder_.path(); }

  /// Writes the checkpoint again with changed names, dropping those that become empty.
  void rename_tensors(const std::function<std::string(const std::string&)>& rename) {
    const auto source = open_checkpoint(path());
    std::vector<TensorInfo> infos;
    for (TensorInfo info : source->tensors()) {
      info.name = rename(info.name);
      if (!info.name.empty()) infos.push_back(info);
    }
    {
      SafetensorsWriter writer(folder_ / "new", infos, {});
      for (const TensorInfo& info : source->tensors()) {
        const Tensor data = source->read(info.name, Access::read);
        if (const std::string name = rename(info.name); !name.empty())
          writer.write(name, {data.data, data.bytes});
      }
      writer.finish();
    }
    fs::rename(folder_ / "new", folder_ / "model.safetensors");
  }

 private:
  TemporaryFolder folder_;
};

TEST(OldNames, OfWeightsAreFoundByTheConfiguration) {
  const fs::path source = source_dir() / "tests/golden/models/gptq-b4-g16";
  for (const char* name : {"gptq_model-4bit-16g", "my-weights"}) {
    const TemporaryFolder folder;
    for (const char* file : {"config.json", "expected.safetensors"})
      fs::copy_file(source / file, folder / file);
    fs::copy_file(source / "model.safetensors", folder / (std::string(name) + ".safetensors"));
    json config = json::parse(read_file(source / "quantize_config.json"));
    config["model_file_base_name"] = name;
    if (name[0] == 'g') config.erase("model_file_base_name");
    write_file(folder / "quantize_config.json", config.dump());
    expect_reference(folder.path());  // not expected.safetensors, which lies beside it
  }
}

void expect_refused(const fs::path& folder, Fault fault, const std::string& says) {
  try {
    load_model(folder);
    FAIL() << "loaded; wanted an error about " << says;
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), fault) << error.what();
    EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
  }
}

TEST(Loader, LoadsTheSampleModel) {
  const Folder folder;
  const auto model = load_model(folder.path());
  EXPECT_EQ(model->spec().layers, 4);
  EXPECT_EQ(model->parameters(), 4096 * 256 + 4 * (256 * 256 * 2 + 256 * 128 * 2 + 3 * 256 * 768));
}

TEST(Loader, VocabularyAgainstEmbedding) {
  expect_refused(Folder(R"({"vocab_size": 5000})").path(), Fault::mismatch, "model.embed_tokens.weight");
}

TEST(Loader, SizesAgainstTensors) {
  expect_refused(Folder(R"({"intermediate_size": 512})").path(), Fault::mismatch, "mlp.");
  expect_refused(Folder(R"({"num_key_value_heads": 8})").path(), Fault::mismatch, "self_attn.");
  expect_refused(Folder(R"({"num_hidden_layers": 5})").path(), Fault::mismatch, "model.layers.4.");
}

TEST(Loader, TensorsThatNobodyClaims) {
  expect_refused(Folder(R"({"num_hidden_layers": 3})").path(), Fault::mismatch, "model.layers.3.");
  Folder folder;
  folder.rename_tensors([](const std::string& name) {
    return name == "model.layers.1.mlp.up_proj.weight" ? std::string("model.layers.1.mlp.upp_proj.weight")
                                                       : name;
  });
  expect_refused(folder.path(), Fault::mismatch, "model.layers.1.mlp.up_proj.weight");
}

TEST(Loader, MissingTensor) {
  Folder folder;
  folder.rename_tensors(
      [](const std::string& name) { return name == "model.norm.weight" ? std::string() : name; });
  expect_refused(folder.path(), Fault::mismatch, "model.norm.weight");
}

TEST(Loader, UntiedHeadMustBeThere) {
  expect_refused(Folder(R"({"tie_word_embeddings": false})").path(), Fault::mismatch, "lm_head.weight");
}

TEST(Loader, HeadFollowsTheFileWhenConfigIsSilent) {
  const Folder folder(R"({"tie_word_embeddings": null})");
  EXPECT_NO_THROW(load_model(folder.path()));
}

TEST(Loader, QuantizedTensorsNeedAConfiguration) {
  Folder folder;
  folder.rename_tensors([](const std::string& name) {
    return name == "model.layers.0.mlp.up_proj.weight" ? std::string("model.layers.0.mlp.up_proj.qweight")
                                                       : name;
  });
  expect_refused(folder.path(), Fault::mismatch, "quantization_config");
}

TEST(Loader, MissingFiles) {
  const TemporaryFolder empty;
  EXPECT_THROW(load_model(empty.path()), Error);
  try {
    load_model(empty / "nowhere");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::not_found);
  }
  Folder folder;
  fs::remove(folder.path() / "model.safetensors");
  try {
    load_model(folder.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::not_found) << error.what();
  }
}

TEST(Loader, ReadAndMappedWeightsAgree) {
  const Folder folder;
  const auto ids = std::vector<int32_t>{5, 80, 300, 2000, 4000, 17, 99};
  ModelOptions options;
  options.access = Access::read;
  const auto copied = Model::load(folder.path(), options, [](int64_t, int64_t, const std::string&) {});
  EXPECT_EQ(causal_logits(copied, ids, 7), causal_logits(load_model(folder.path()), ids, 7));
}

TEST(Loader, RowsOfAMatrixAreThoseOfTheWhole) {
  for (const char* model : {"llama", "llama-f16-old", "gpt2"}) {  // gpt2: stored transposed
    const Loader loader(source_dir() / "tests/golden/models" / model);
    for (const StoredLinear& linear : loader.modules(1)) {
      const Tensor weight = loader.dense_weight(linear, Access::read);
      const std::vector<float> whole = to_float(weight);
      const int64_t rows = weight.shape[0], cols = weight.shape[1];
      for (const auto& [begin, count] :
           {std::pair<int64_t, int64_t>{0, rows}, {0, 1}, {rows - 3, 3}, {5, 7}}) {
        EXPECT_EQ(to_float(loader.dense_rows(linear, begin, count)),
                  std::vector<float>(whole.begin() + begin * cols, whole.begin() + (begin + count) * cols))
            << linear.path << " " << begin;
      }
    }
    StoredLinear linear = loader.modules(0)[0];
    EXPECT_THROW(loader.dense_rows(linear, INT32_MAX, 1), Error);
    linear.weight = "absent";
    EXPECT_THROW(loader.dense_rows(linear, 0, 1), Error);
  }
}

/// Of tensors that have a Linear of each expert, in both layouts, and of some only a part of the outputs.
TEST(Loader, RowsOfExpertsAreThoseOfTheWhole) {
  for (const char* model : {"granitemoe", "dbrx", "gpt_oss", "llama4_text"}) {
    GPTQ_EXTRA_DATA(folder, std::string("families/") + model);
    const Loader loader(folder);
    int stacked = 0;
    for (const StoredLinear& linear : loader.modules(1)) {
      const Tensor read = loader.dense_weight(linear, Access::read);
      const std::vector<float> whole = to_float(read),
                               mapped = to_float(loader.dense_weight(linear, Access::map));
      ASSERT_EQ(read.shape, (std::vector{linear.out_features, linear.in_features}));
      EXPECT_EQ(whole, mapped);
      EXPECT_EQ(to_float(loader.dense_rows(linear, 0, linear.out_features)), whole);
      if (!linear.stacked) continue;
      EXPECT_EQ(to_float(loader.dense_rows(linear, 5, 7)),
                std::vector<float>(whole.begin() + 5 * linear.in_features,
                                   whole.begin() + 12 * linear.in_features));
      // element by element: its place in the tensor
      const std::vector<float> all = to_float(loader.checkpoint().read(linear.weight, Access::read));
      for (int64_t row = 0; row < linear.out_features; ++row) {
        for (int64_t col = 0; col < linear.in_features; ++col) {
          const int64_t output = linear.first_output + row;
          const int64_t at = linear.expert * linear.outputs * linear.in_features +
                             (linear.storage == Storage::in_out ? col * linear.outputs + output
                                                                : output * linear.in_features + col);
          ASSERT_EQ(whole[static_cast<size_t>(row * linear.in_features + col)], all[static_cast<size_t>(at)])
              << linear.path;
        }
      }
      ++stacked;
    }
    EXPECT_GT(stacked, 0) << model;
  }
}

TEST(Loader, NamesTheTensorsOfExpertsThatAreMissing) {
  GPTQ_EXTRA_DATA(source, "families/mixtral");
  const TemporaryFolder folder;
  fs::copy(source, folder / "model", fs::copy_options::recursive);
  std::string config = read_file(source / "config.json");
  const std::string number = "\"num_local_experts\": 4";
  ASSERT_NE(config.find(number), std::string::npos);
  config.replace(config.find(number), number.size(), "\"num_local_experts\": 5");
  write_file(folder / "model" / "config.json", config);
  try {
    const Loader loader(folder / "model");
    FAIL() << "loads with an expert too few";
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_TRUE(what.find("block_sparse_moe.gate.weight") != std::string::npos ||
                what.find("experts.4.w1.weight") != std::string::npos)
        << what;
  }
}

TEST(Loader, OneNumberIsNoBiasOfAllExperts) {
  const fs::path source = source_dir() / "tests/golden/models/glm4-moe-groups";
  const TemporaryFolder folder;
  fs::copy_file(source / "config.json", folder / "config.json");
  const auto checkpoint = open_checkpoint(source);
  std::vector<TensorInfo> infos(checkpoint->tensors().begin(), checkpoint->tensors().end());
  size_t changed = 0;
  for (TensorInfo& info : infos) {
    if (!info.name.ends_with("e_score_correction_bias")) continue;
    info.shape.clear();
    ++changed;
  }
  ASSERT_GT(changed, 0u);
  SafetensorsWriter writer(folder / "model.safetensors", infos, {});
  for (const TensorInfo& info : infos) {
    const Tensor data = checkpoint->read(info.name, Access::read);
    writer.write(info.name, {data.data, info.shape.empty() ? 4 : data.bytes});
  }
  writer.finish();
  try {
    const Loader loader(folder.path());
    FAIL() << "loads";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::mismatch);
    EXPECT_NE(std::string(error.what()).find("e_score_correction_bias"), std::string::npos) << error.what();
  }
}

TEST(Loader, RowsThatDoNotDivideIntoTheirBlocks) {
  const TemporaryFolder folder;
  write_file(folder / "config.json",
             R"({"model_type": "codegen", "n_head": 1, "n_embd": 2, "rotary_dim": 2, "n_layer": 1,)"
             R"( "n_positions": 8, "vocab_size": 4})");
  std::vector<TensorInfo> infos;
  infos.push_back({.name = "transformer.wte.weight", .dtype = DType::f32, .shape = {4, 2}, .bytes = 32});
  SafetensorsWriter writer(folder / "model.safetensors", infos, {});
  const std::vector<std::byte> zeros(32);
  writer.write(infos[0].name, zeros);
  writer.finish();
  try {
    const Loader loader(folder.path());
    FAIL() << "loads";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("blocks"), std::string::npos) << error.what();
  }
}

/// Tied and apart: the head is rounded, the embedding is not.
TEST(Loader, HeadInFewerBits) {
  for (const char* model : {"llama", "gpt2", "qwen2"}) {
    const Loader loader(source_dir() / "tests/golden/models" / model);
    const auto backend = create_backend("cpu", {.threads = 1});
    const auto stream = backend->create_stream(nullptr);
    const int64_t hidden = loader.spec().hidden, vocab = loader.spec().vocab;
    const auto rows_of = [&](const Linear& table) {
      std::vector<int32_t> ids(static_cast<size_t>(vocab));
      std::iota(ids.begin(), ids.end(), 0);
      std::vector<float> values(static_cast<size_t>(vocab * hidden));
      const Matrix rows{reinterpret_cast<std::byte*>(values.data()), vocab, hidden};
      stream->embed(table, ids, rows);
      return values;
    };
    const Weights whole = loader.load_outer(*backend, Access::read);
    const auto head = rows_of(*whole.head), embed = rows_of(*whole.embed);
    for (const auto& [bits, part] : {std::pair{8, 1.0f / 250}, std::pair{4, 1.0f / 13}}) {
      const Weights rounded = loader.load_outer(*backend, Access::map, bits);
      EXPECT_EQ(rows_of(*rounded.embed), embed);
      const auto got = rows_of(*rounded.head);
      EXPECT_NE(got, head);
      for (size_t begin = 0; begin < got.size(); begin += static_cast<size_t>(hidden)) {
        float most = 0;
        for (size_t i = begin; i < begin + static_cast<size_t>(hidden); ++i)
          most = std::max(most, std::abs(head[i]));
        for (size_t i = begin; i < begin + static_cast<size_t>(hidden); ++i)
          ASSERT_NEAR(got[i], head[i], most * part) << model << ", " << bits << " bits";
      }
    }
  }
}

TEST(Loader, EmbeddingOfSomeTokens) {
  for (const char* model : {"llama", "gpt2"}) {
    const Loader loader(source_dir() / "tests/golden/models" / model);
    const auto backend = create_backend("cpu", {.threads = 1});
    const auto stream = backend->create_stream(nullptr);
    const auto hidden = static_cast<size_t>(loader.spec().hidden);
    const std::vector<int32_t> ids{7, 0, 7, static_cast<int32_t>(loader.spec().vocab) - 1};
    const auto memory = stream->allocate(ids.size() * hidden * stream->element_bytes());
    const Matrix rows{.data = memory->data(), .rows = 4, .cols = loader.spec().hidden};
    const auto looked_up = [&](const Linear& table, const std::vector<int32_t>& places) {
      std::vector<float> values(ids.size() * hidden);
      stream->embed(table, places, rows);
      stream->download(rows, values.data());
      return values;
    };
    const Weights whole = loader.load_outer(*backend, Access::read);
    EXPECT_EQ(looked_up(*loader.load_embedding(*backend, ids), {0, 1, 2, 3}), looked_up(*whole.embed, ids));
    EXPECT_EQ(loader.load_around(*backend, Access::read).positions == nullptr, whole.positions == nullptr);
  }
}

}  // namespace
}  // namespace gptq::test
