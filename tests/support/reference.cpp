#include "support/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "format/checkpoint.h"
#include "session/session.h"

namespace gptq::test {
namespace {

std::vector<int32_t> ids_of(const Checkpoint& file, std::string_view name) {
  const Tensor tensor = file.read(name, Access::read);
  std::vector<int32_t> ids(static_cast<size_t>(tensor.elements()));
  for (size_t i = 0; i < ids.size(); ++i) {
    if (tensor.dtype == DType::i64) {
      int64_t id;
      std::memcpy(&id, tensor.data + 8 * i, 8);
      ids[i] = static_cast<int32_t>(id);
    } else {
      std::memcpy(&ids[i], tensor.data + 4 * i, 4);
    }
  }
  return ids;
}

void quiet(int64_t, int64_t, const std::string&) {}

}  // namespace

Reference read_reference(const fs::path& folder) {
  const auto file = open_safetensors(folder / "expected.safetensors");
  Reference reference;
  const TensorInfo& ids = *file->find("input_ids");
  const std::vector<int32_t> flat = ids_of(*file, "input_ids");
  const auto length = static_cast<size_t>(ids.shape.back());
  for (size_t at = 0; at < flat.size(); at += length) {
    reference.input_ids.emplace_back(flat.begin() + static_cast<int64_t>(at),
                                     flat.begin() + static_cast<int64_t>(at + length));
  }
  reference.logits = to_float(file->read("logits", Access::read));
  reference.vocab = file->find("logits")->shape.back();
  if (file->find("greedy_ids") != nullptr) reference.greedy_ids = ids_of(*file, "greedy_ids");
  return reference;
}

std::shared_ptr<const Model> load_model(const fs::path& folder, int threads) {
  ModelOptions options;
  options.backend.threads = threads;
  return Model::load(folder, options, quiet);
}

std::vector<float> causal_logits(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& ids,
                                 int64_t piece) {
  Session session(model, std::max<int64_t>(model->spec().context, static_cast<int64_t>(ids.size())));
  std::vector<float> logits;
  for (size_t at = 0; at < ids.size(); at += static_cast<size_t>(piece)) {
    session.append_tokens(std::span(ids).subspan(at, std::min(static_cast<size_t>(piece), ids.size() - at)));
    session.prefill(Logits::all, quiet);
    logits.insert(logits.end(), session.logits().begin(), session.logits().end());
  }
  return logits;
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0, magnitude = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    if (std::isnan(a[i])) return INFINITY;
    magnitude = std::max(magnitude, std::abs(static_cast<double>(b[i])));
  }
  return difference / magnitude;
}

void expect_reference(const fs::path& folder, double tolerance) {
  const Reference reference = read_reference(folder);
  const auto model = load_model(folder);
  std::vector<float> logits;
  for (const auto& ids : reference.input_ids) {
    const auto part = causal_logits(model, ids, static_cast<int64_t>(ids.size()));
    logits.insert(logits.end(), part.begin(), part.end());
  }
  EXPECT_LE(relative_difference(logits, reference.logits), tolerance);
  if (reference.greedy_ids.empty()) return;
  EXPECT_EQ(greedy_ids(model, reference.input_ids[0], reference.greedy_ids.size()), reference.greedy_ids);
}

/// The references were made without an end before the last token.
std::vector<int32_t> greedy_ids(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& prompt,
                                size_t count) {
  Session session(model, std::max(model->spec().context, static_cast<int64_t>(prompt.size() + count)));
  session.append_tokens(prompt);
  std::vector<int32_t> greedy;
  while (greedy.size() < count) {
    session.prefill(Logits::last, quiet);
    std::vector<float> logits(session.logits().begin(), session.logits().end());
    for (int32_t id : model->spec().eos) logits[static_cast<size_t>(id)] = -INFINITY;
    greedy.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    session.append_tokens(std::span(greedy).last(1));
  }
  return greedy;
}

}  // namespace gptq::test
