// Conversions between formats: the same codes, the same logits, and refusals by name.
#include "quant/convert.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/half.h"
#include "format/written_module.h"
#include "support/reference.h"

namespace gptq::test {
namespace {

using nlohmann::json;

const Progress kQuiet = [](int64_t, int64_t, const std::string&) {};

ConvertOptions to(std::optional<QuantFormat> format, DType dtype = DType::f32) {
  return {.format = format, .dtype = dtype};
}

/// Converts, and takes the reference along.
void convert(const fs::path& source, const fs::path& target, const ConvertOptions& options) {
  convert_model(source, target, options, kQuiet);
  if (fs::exists(source / "expected.safetensors"))
    fs::copy_file(source / "expected.safetensors", target / "expected.safetensors");
}

std::string refusal(const fs::path& source, const fs::path& target, const ConvertOptions& options,
                    Fault fault) {
  try {
    convert_model(source, target, options, kQuiet);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), fault) << error.what();
    EXPECT_FALSE(fs::exists(target));
    EXPECT_TRUE(fs::is_empty(target.parent_path()));
    return error.what();
  }
  ADD_FAILURE() << "was not refused";
  return {};
}

/// Every module of both folders stands for the same weights; with the same codes unless zero points had to go up.
void expect_same_weights(const fs::path& a, const fs::path& b, bool same_codes) {
  const Loader one(a), other(b);
  for (const StoredLinear& linear : one.linears()) {
    ASSERT_EQ(one.is_quantized(linear.path), other.is_quantized(linear.path)) << linear.path;
    if (!one.is_quantized(linear.path)) continue;
    const QTensor p = one.quantized_weight(linear.path, linear.in_features, linear.out_features);
    const QTensor q = other.quantized_weight(linear.path, linear.in_features, linear.out_features);
    EXPECT_EQ(p.scales, q.scales) << linear.path;
    EXPECT_EQ(p.group_of, q.group_of) << linear.path;
    if (same_codes) {
      EXPECT_EQ(p.codes, q.codes) << linear.path;
      EXPECT_EQ(p.zeros, q.zeros) << linear.path;
      continue;
    }
    std::vector<float> u(static_cast<size_t>(p.cols)), v(u);
    for (int64_t row = 0; row < p.rows; ++row) {
      dequantize_row(p, row, u.data());
      dequantize_row(q, row, v.data());
      ASSERT_EQ(u, v) << linear.path << " " << row;
    }
  }
}

class Convert : public testing::TestWithParam<std::string> {
 protected:
  /// Below the source tree, or of the extra data.
  static std::optional<fs::path> find(const std::string& name) {
    if (name.starts_with("tests/")) return source_dir() / name;
    return extra_data(name);
  }
};

TEST_P(Convert, KeepsCodesAndLogits) {
  const auto source = find(GetParam());
  if (!source) GTEST_SKIP() << "needs " << GetParam() << " below $GPTQ_TEST_DATA";
  const TemporaryFolder folder;
  convert(*source, folder / "v2", to(QuantFormat::gptq_v2));
  expect_same_weights(*source, folder / "v2", true);
  expect_reference(folder / "v2");
  convert(*source, folder / "dense", to(std::nullopt));
  expect_reference(folder / "dense");
  EXPECT_FALSE(json::parse(read_file(folder / "dense/config.json")).contains("quantization_config"));

  const bool gpt2 = GetParam().find("gpt2") != std::string::npos;
  const bool out_of_order = GetParam().find("actorder") != std::string::npos;
  const TemporaryFolder empty;
  if (gpt2 || out_of_order) {
    const std::string text =
        refusal(*source, empty / "ct", to(QuantFormat::compressed_tensors), Fault::unsupported);
    EXPECT_NE(text.find(gpt2 ? "transposed" : "activation order"), std::string::npos) << text;
    return;
  }
  convert(*source, folder / "ct", to(QuantFormat::compressed_tensors));
  expect_same_weights(*source, folder / "ct", true);
  expect_reference(folder / "ct");
  EXPECT_FALSE(fs::exists(folder / "ct/quantize_config.json"));

  convert(folder / "ct", folder / "back",
          to(QuantFormat::gptq_v2));  // from one quantized form to another and back
  EXPECT_EQ(read_file(folder / "back/model.safetensors"), read_file(folder / "v2/model.safetensors"));
  EXPECT_EQ(json::parse(read_file(folder / "back/quantize_config.json")),
            json::parse(read_file(folder / "v2/quantize_config.json")));
}

INSTANTIATE_TEST_SUITE_P(
    Folders, Convert,
    testing::Values("tests/golden/models/gptq-b4-g16", "tests/golden/models/gptq-b3-g32-v1-asym",
                    "tests/golden/models/gptq-b8-perchannel", "tests/golden/models/gptq-gpt2-b2-g16",
                    "tests/golden/models/gptq-b4-g16-v2-asym-actorder",
                    "tests/golden/models/compressed-b4-g16-asym", "tests/golden/models/compressed-mixed",
                    "gptq/llama-awq-g32", "gptq/llama-mixed", "gptq/qwen2-b4-g32",
                    "gptq/llama-b8-perchannel-v2-asym", "gptq/llama-b3-g32-v2-asym", "gptq/gpt2-b4-g32"));

TEST(ConvertToV1, RaisesZeroPointsOrNamesTheModule) {
  const TemporaryFolder folder, empty;
  const fs::path models = source_dir() / "tests/golden/models";
  convert(models / "gptq-b8-perchannel", folder / "sym", to(QuantFormat::gptq));
  expect_same_weights(models / "gptq-b8-perchannel", folder / "sym", true);
  expect_reference(folder / "sym");
  EXPECT_EQ(json::parse(read_file(folder / "sym/quantize_config.json"))["checkpoint_format"], "gptq");
  // groups of 16 with a zero point of 0: some have a code at the top, so that neither can be moved
  const std::string text = refusal(models / "gptq-b4-g16-v2-asym-actorder", empty / "out",
                                   to(QuantFormat::gptq), Fault::unsupported);
  EXPECT_NE(text.find("model.layers."), std::string::npos) << text;
  EXPECT_NE(text.find("gptq_v2"), std::string::npos) << text;
}

TEST(ConvertDense, RoundsToItsType) {
  const TemporaryFolder folder;
  const fs::path source = source_dir() / "tests/golden/models/gptq-b4-g16";
  const Loader loader(source);
  for (DType dtype : {DType::bf16, DType::f16}) {
    const fs::path out = folder / std::string(dtype_name(dtype));
    convert(source, out, to(std::nullopt, dtype));
    const json config = json::parse(read_file(out / "config.json"));
    EXPECT_EQ(config["dtype"], dtype == DType::f16 ? "float16" : "bfloat16");
    const auto checkpoint = open_safetensors(out / "model.safetensors");
    for (const TensorInfo& tensor : checkpoint->tensors()) EXPECT_EQ(tensor.dtype, dtype) << tensor.name;
    const StoredLinear linear = loader.linears()[3];
    const QTensor q = loader.quantized_weight(linear.path, linear.in_features, linear.out_features);
    const auto stored = to_float(checkpoint->read(linear.path + ".weight", Access::read));
    std::vector<float> row(static_cast<size_t>(q.cols));
    for (int64_t n = 0; n < q.rows; ++n) {
      dequantize_row(q, n, row.data());
      for (size_t k = 0; k < row.size(); ++k) {
        const float wanted =
            dtype == DType::f16 ? fp16_to_float(float_to_fp16(row[k])) : bf16_to_float(float_to_bf16(row[k]));
        ASSERT_EQ(stored[static_cast<size_t>(n) * row.size() + k], wanted);
      }
    }
  }
}

TEST(ConvertDense, ChangesTheTypeOfPlainModels) {
  const TemporaryFolder folder;
  const fs::path source = source_dir() / "tests/golden/models/llama";  // bf16
  convert(source, folder / "f32", to(std::nullopt, DType::f32));
  expect_reference(folder / "f32");
  convert(folder / "f32", folder / "bf16", to(std::nullopt, DType::bf16));
  const auto before = open_safetensors(source / "model.safetensors"),
             after = open_safetensors(folder / "bf16/model.safetensors");
  for (const TensorInfo& tensor : before->tensors()) {
    const Tensor a = before->read(tensor.name, Access::read), b = after->read(tensor.name, Access::read);
    ASSERT_EQ(a.bytes, b.bytes);
    EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes), 0) << tensor.name;
  }
}

TEST(ConvertErrors, AreNamedAndLeaveNothing) {
  const TemporaryFolder empty, folder;
  const fs::path models = source_dir() / "tests/golden/models";
  const std::string plain =
      refusal(models / "llama", empty / "out", to(QuantFormat::gptq), Fault::unsupported);
  EXPECT_NE(plain.find("is not quantized"), std::string::npos) << plain;
  EXPECT_THROW(convert_model(models / "gptq-b4-g16", models / "gptq-b4-g16", to(QuantFormat::gptq), kQuiet),
               Error);
  convert(models / "gptq-b4-g16", folder / "out", to(QuantFormat::gptq));
  try {
    convert_model(models / "gptq-b4-g16", folder / "out", to(QuantFormat::gptq_v2), kQuiet);
    FAIL() << "replaced a folder";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::exists) << error.what();
  }
  ConvertOptions options = to(QuantFormat::gptq_v2);
  options.overwrite = Overwrite::yes;
  options.max_shard_bytes = 20'000;
  convert_model(models / "gptq-b4-g16", folder / "out", options, kQuiet);
  EXPECT_TRUE(fs::exists(folder / "out/model.safetensors.index.json"));
  expect_same_weights(models / "gptq-b4-g16", folder / "out", true);
}

TEST(ConvertProgress, CountsAndCancels) {
  const TemporaryFolder folder;
  const fs::path source = source_dir() / "tests/golden/models/gptq-b4-g16";
  std::vector<int64_t> seen;
  convert_model(source, folder / "out", to(QuantFormat::gptq_v2),
                [&](int64_t done, int64_t total, const std::string&) {
                  EXPECT_EQ(total, 2 * 14);
                  EXPECT_LE(done, total);
                  EXPECT_TRUE(seen.empty() || seen.back() <= done);
                  seen.push_back(done);
                });
  EXPECT_EQ(seen.front(), 0);
  EXPECT_EQ(seen.back(), 2 * 14);
  for (size_t stop = 0; stop < seen.size(); stop += 5) {
    const TemporaryFolder empty;
    size_t calls = 0;
    const Progress cancel = [&](int64_t, int64_t, const std::string&) {
      if (calls++ == stop) throw Error(Status::cancelled, "cancelled");
    };
    EXPECT_THROW(convert_model(source, empty / "out", to(QuantFormat::gptq_v2), cancel), Error);
    EXPECT_TRUE(fs::is_empty(empty.path()));
  }
}

TEST(Convert, RefusesAnOutputThatHoldsTheModel) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "models");
  fs::copy(source_dir() / "samples/model", folder / "models/sample");
  for (const fs::path& target : {folder / "models", folder / "models/sample"}) {
    ConvertOptions options = to(std::nullopt);
    options.overwrite = Overwrite::yes;
    try {
      convert_model(folder / "models/sample", target, options, kQuiet);
      ADD_FAILURE() << "took the place of " << target;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::invalid_argument) << error.what();
    }
    EXPECT_TRUE(fs::exists(folder / "models/sample/model.safetensors"));
  }
}

TEST(Convert, GroupsThatTheInputsDontShowAreNotInOrder) {
  QTensor q{.bits = 4, .rows = 1, .cols = 64, .groups = 4};
  q.codes.resize(64);
  q.scales.assign(4, 1.0f);
  q.zeros.assign(4, 8);
  q.group_of.resize(64);
  for (int k = 0; k < 64; ++k) q.group_of[static_cast<size_t>(k)] = k / 16;
  EXPECT_NO_THROW(check_writable(q, "m", QuantFormat::compressed_tensors));
  for (int k = 0; k < 64; ++k) q.group_of[static_cast<size_t>(k)] = k / 32;
  EXPECT_THROW(check_writable(q, "m", QuantFormat::compressed_tensors), Error);
}

}  // namespace
}  // namespace gptq::test
