// What a traced backend writes down, and that it computes what the backend does.
#include "backend/trace.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <vector>

#include "backend/trace_cost.h"
#include "base/error.h"
#include "base/log.h"
#include "support/test_data.h"

namespace gptq {
namespace {

using nlohmann::json;

Tensor dense(std::vector<float>& values, int64_t rows, int64_t cols) {
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  Tensor t;
  t.dtype = DType::f32;
  t.shape = {rows, cols};
  t.data = reinterpret_cast<const std::byte*>(values.data());
  t.bytes = values.size() * sizeof(float);
  return t;
}

Matrix matrix(std::vector<float>& values, int64_t rows, int64_t cols) {
  values.resize(static_cast<size_t>(rows * cols), 0.25f);
  return {reinterpret_cast<std::byte*>(values.data()), rows, cols};
}

/// The events of a file, which may lack its end.
json events(const fs::path& path) {
  std::string text = test::read_file(path);
  EXPECT_TRUE(text.starts_with("["));
  const size_t comma = text.rfind(',');
  if (comma != std::string::npos) text.resize(comma);
  return json::parse(text + "]");
}

/// Two steps of a layer: a prompt of three, then one token each of two sequences. Returns what they give.
std::vector<float> two_steps(const Backend& backend) {
  const auto stream = backend.create_stream(nullptr);
  std::vector<float> weights(12 * 8);
  const auto linear = backend.prepare(dense(weights, 12, 8), nullptr);
  const auto cache =
      backend.create_cache({.layers = {{.kv_heads = 1, .key_dim = 4, .value_dim = 4}}, .sequences = 2});
  cache->reserve(0, 4);
  cache->reserve(1, 1);
  const AttentionParams params{.heads = 2, .kv_heads = 1, .key_dim = 4, .value_dim = 4};
  std::vector<float> all;
  for (const std::vector<Row>& rows : {std::vector<Row>{{0, 0}, {0, 1}, {0, 2}}, {{0, 3}, {1, 0}}}) {
    const auto m = static_cast<int64_t>(rows.size());
    std::vector<float> x, y, q, k, v, out;
    stream->linear(*linear, matrix(x, m, 8), matrix(y, m, 12));
    stream->rope_store({}, rows, matrix(q, m, 8), matrix(k, m, 4), matrix(v, m, 4), *cache, 0);
    stream->attention(params, rows, matrix(q, m, 8), *cache, 0, matrix(out, m, 8));
    all.insert(all.end(), y.begin(), y.end());
    all.insert(all.end(), out.begin(), out.end());
  }
  return all;
}

TEST(Trace, HasEachOpWithWhatItReadsAndComputes) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "trace.json";
  const auto plain = create_cpu_backend({.threads = 1});
  const auto expected = two_steps(*plain);
  {
    const auto traced = trace(plain, std::make_shared<TraceFile>(path));
    EXPECT_EQ(traced->description(), plain->description());
    EXPECT_EQ(traced->threads(), 1);
    const auto got = two_steps(*traced);
    ASSERT_EQ(got.size(), expected.size());
    EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
  }
  const json all = events(path);
  ASSERT_EQ(all.size(), 6u);
  double end = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const json& event = all[i];
    EXPECT_EQ(event["name"], (std::vector<std::string>{"linear", "rope_store", "attention"}[i % 3]));
    EXPECT_EQ(event["ph"], "X");
    EXPECT_EQ(event["args"]["rows"], i < 3 ? 3 : 2);
    EXPECT_GE(event["ts"].get<double>() + 1e-3, end);
    EXPECT_GE(event["dur"].get<double>(), 0);
    end = event["ts"].get<double>() + event["dur"].get<double>();
  }
  EXPECT_EQ(all[0]["args"]["shape"], "12 x 8");
  EXPECT_EQ(all[0]["args"]["flops"], 2 * 3 * 12 * 8);
  EXPECT_EQ(all[0]["args"]["bytes"], (12 * 8 + 3 * 8 + 3 * 12) * 4);
  // six pairs of positions, two heads; three positions of the cache
  EXPECT_EQ(all[2]["args"]["flops"], 2 * 6 * 2 * 8);
  EXPECT_EQ(all[2]["args"]["bytes"], (3 * 8 + 3 * 8) * 4 + 3 * 8 * 4);
  // four and one position
  EXPECT_EQ(all[5]["args"]["flops"], 2 * 5 * 2 * 8);
  EXPECT_EQ(all[5]["args"]["bytes"], (2 * 8 + 2 * 8) * 4 + (4 + 1) * 8 * 4);
}

/// Of weights those of parts that have rows, of the matrices the rows of all parts.
TEST(Trace, HasPartsWithTheirWeights) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "trace.json";
  {
    const auto traced = trace(create_cpu_backend({.threads = 1}), std::make_shared<TraceFile>(path));
    const auto stream = traced->create_stream(nullptr);
    std::vector<float> weights(12 * 8), x, y, want;
    const auto linear = traced->prepare(dense(weights, 12, 8), nullptr);
    const std::vector<const Linear*> parts{linear.get(), linear.get(), linear.get()};
    Routing routing;
    routing.experts = 3;
    routing.entries = 3;
    routing.begin = {0, 2, 2, 3};
    const PartsProjection projection{parts, matrix(y, 3, 12)};
    stream->linear_parts(matrix(x, 3, 8), routing, {&projection, 1});
    stream->linear(*linear, matrix(x, 3, 8), matrix(want, 3, 12));
    EXPECT_EQ(y, want);
    // as many as there are entries, where nobody knows more
    routing.begin.clear();
    const OpCost cost = CostModel(4).linear_parts(matrix(x, 3, 8), routing, {&projection, 1});
    EXPECT_EQ(cost.bytes, uint64_t{(3 * 12 * 8 + 3 * 8 + 3 * 12) * 4});
  }
  const json all = events(path);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0]["name"], "linear_parts");
  EXPECT_EQ(all[0]["args"]["rows"], 3);
  EXPECT_EQ(all[0]["args"]["bytes"], (2 * 12 * 8 + 3 * 8 + 3 * 12) * 4);
  EXPECT_EQ(all[0]["args"]["flops"], 2 * 3 * 12 * 8);
}

TEST(Trace, HasSumsAndNormsAsOne) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "trace.json";
  const auto plain = create_cpu_backend({.threads = 1});
  const std::vector<float> weight{1, 2, 3};
  const auto vector = plain->prepare_vector(float_tensor(weight));
  std::vector<float> x{1, 2, 3, 4, 5, 6}, y{3, 2, 1, 0, -1, -2}, out, sum = x, wanted;
  {
    const auto stream = plain->create_stream(nullptr);
    stream->add(matrix(sum, 2, 3), matrix(y, 2, 3), 0.5f);
    stream->norm(Norm::layer, matrix(sum, 2, 3), *vector, vector.get(), 1e-5f, matrix(wanted, 2, 3));
    trace(plain, std::make_shared<TraceFile>(path))
        ->create_stream(nullptr)
        ->add_norm(matrix(x, 2, 3), matrix(y, 2, 3), 0.5f, Norm::layer, *vector, vector.get(), 1e-5f,
                   matrix(out, 2, 3));
  }
  EXPECT_EQ(x, sum);
  EXPECT_EQ(out, wanted);
  const json all = events(path);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0]["name"], "add_norm");
  EXPECT_EQ(all[0]["args"]["bytes"], 4 * 6 * 4);
}

TEST(Trace, HasWhatASamplerAsksFor) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "trace.json";
  {
    const auto traced = trace(create_cpu_backend({.threads = 1}), std::make_shared<TraceFile>(path));
    std::vector<float> x{1, 3, 2, 5, 4, 6};
    std::vector<Ranked> out(2);
    traced->create_stream(nullptr)->largest(matrix(x, 2, 3), 1, out);
    EXPECT_EQ(out[0].column, 1);
    EXPECT_EQ(out[1].column, 2);
    const std::vector<double> temperatures{1, 2};
    std::vector<double> sums(2);
    traced->create_stream(nullptr)->exp_sums(matrix(x, 2, 3), temperatures, sums);
    EXPECT_DOUBLE_EQ(sums[0], 1 + std::exp(-1.0) + std::exp(-2.0));
    EXPECT_DOUBLE_EQ(sums[1], 1 + std::exp(-0.5) + std::exp(-1.0));
    EXPECT_TRUE(traced->create_stream(nullptr)->in_host_memory());
  }
  const json all = events(path);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1]["name"], "exp_sums");
  EXPECT_EQ(all[1]["args"]["bytes"], 6 * 4);
  EXPECT_EQ(all[0]["name"], "largest");
  EXPECT_EQ(all[0]["args"]["bytes"], 6 * 4);
}

/// By the definition: every pair of a row and a position that it sees.
TEST(Trace, CostsOfWindowsAndChunks) {
  const CostModel cost(2);
  const Matrix none{nullptr, 0, 0};
  for (const int64_t window : {0, 1, 3, 100}) {
    for (const int64_t chunk : {0, 4, 7}) {
      const AttentionParams params{
          .heads = 6, .kv_heads = 3, .key_dim = 5, .value_dim = 2, .window = window, .chunk = chunk};
      std::vector<Row> rows;
      for (int32_t p = 9; p < 17; ++p) rows.push_back({1, p});
      uint64_t pairs = 0, seen = 0;
      for (int64_t j = 0; j < 17; ++j) {
        bool any = false;
        for (const Row& row : rows) {
          const int64_t p = row.position;
          if (j > p || (window > 0 && j <= p - window) || (chunk > 0 && j / chunk != p / chunk)) continue;
          ++pairs;
          any = true;
        }
        seen += any;
      }
      const OpCost got = cost.attention(params, rows, none, 3 * 7 * 4, none);
      EXPECT_EQ(got.flops, 2 * pairs * 6 * 7) << window << " " << chunk;
      EXPECT_EQ(got.bytes, seen * 3 * 7 * 4) << window << " " << chunk;
    }
  }
}

TEST(Trace, OfSeveralThreadsIsWhole) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "trace.json";
  TraceFile file(path);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&file] {
      // more than is kept in memory
      for (int i = 0; i < 2000; ++i) file.add("a \"name\"", i, i + 1, "{}");
    });
  }
  for (auto& thread : threads) thread.join();
  file.flush();
  const json all = events(path);
  EXPECT_EQ(all.size(), 8000u);
  std::set<int64_t> numbers;
  for (const json& event : all) numbers.insert(event["tid"].get<int64_t>());
  EXPECT_EQ(numbers.size(), 4u);
}

TEST(Trace, PlacesThatCannotBeWritten) {
  const test::TemporaryFolder folder;
  const fs::path missing = folder / "missing/trace.json";
  try {
    TraceFile file(missing);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::io);
    EXPECT_NE(std::string(error.what()).find(missing.string()), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("GPTQ_TRACE"), std::string::npos) << error.what();
  }
  // a pipe, and a file that another is writing
  const fs::path pipe = folder / "pipe", busy = folder / "busy";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(TraceFile{pipe}, Error);
  TraceFile first(busy);
  first.add("kept", 1, 2, "{}");
  EXPECT_THROW(TraceFile{busy}, Error);
  first.flush();
  EXPECT_EQ(events(busy).size(), 1u);
  // a disk that is full ends the trace, not the work
  const auto full = std::make_shared<TraceFile>("/dev/full");
  const auto plain = create_cpu_backend({.threads = 1});
  EXPECT_EQ(two_steps(*trace(plain, full)), two_steps(*plain));
  full->flush();
  EXPECT_EQ(two_steps(*trace(plain, full)), two_steps(*plain));
}

TEST(Trace, AWarningThatComesBack) {
  TraceFile file("/dev/full");
  set_log_sink(
      [](void* user_data, int32_t, const char*, int64_t) {
        auto& traced = *static_cast<TraceFile*>(user_data);
        traced.add("within", 0, 1, "{}");
        traced.flush();
      },
      &file);
  file.add("lost", 0, 1, "{}");
  file.flush();
  set_log_sink(nullptr, nullptr);
}

TEST(Trace, ForkedChildrenWriteNothing) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "trace.json";
  TraceFile file(path);
  file.add("parent", 0, 1, "{}");
  const pid_t child = ::fork();
  if (child == 0) {
    file.add("child", 0, 1, "{}");
    file.flush();
    ::_exit(0);
  }
  ASSERT_GT(child, 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(test::read_file(path), "");
  file.add("parent", 1, 2, "{}");
  file.flush();
  EXPECT_EQ(events(path).size(), 2u);
}

}  // namespace
}  // namespace gptq
