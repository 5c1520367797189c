// The memory that a decoder's matrices lie in: one block, each matrix with room for the same number of rows.
#include <algorithm>
#include <array>

#include "model/decoder.h"

namespace gptq {
namespace {

constexpr size_t kAlignment = 64;
constexpr int64_t kFewRows = 64;  // as steps have: their matrices stay

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

std::vector<Decoder::Part> Decoder::parts(const Spec& spec) {
  const auto most = [&](auto of) { return spec.most(of); };
  std::array<int64_t, kRoles> widest{};
  for (int64_t i = 0; i < spec.layers; ++i) {
    for (Role role : spec.roles(i)) {
      int64_t& cols = widest[static_cast<size_t>(role)];
      cols = std::max(cols, spec.out_features(role, i));
    }
  }
  const auto outputs = [&](Role role) { return widest[static_cast<size_t>(role)]; };
  const int64_t outer = std::max(spec.hidden, spec.embed_dim), experts = outputs(Role::router);
  const int64_t expert = spec.router.chosen * outputs(Role::expert_up);
  return {
      {&Decoder::x_, spec.hidden},
      {&Decoder::h_, outer},
      {&Decoder::g_, spec.traits.flow == Flow::parallel ? spec.hidden : 0},
      {&Decoder::q_, most([](const LayerSpec& layer) { return layer.queries(); })},
      {&Decoder::k_, most([](const LayerSpec& layer) { return layer.keys(); })},
      {&Decoder::v_, most([](const LayerSpec& layer) { return layer.values(); })},
      {&Decoder::a_, most([](const LayerSpec& layer) { return layer.mixed(); })},
      {&Decoder::gate_, outputs(Role::up)},
      {&Decoder::up_, outputs(Role::up)},
      {&Decoder::out_, outer},
      {&Decoder::out_gate_, outputs(Role::out_gate)},
      {&Decoder::q_latent_, outputs(Role::q_a)},
      {&Decoder::kv_latent_, outputs(Role::kv_a)},
      {&Decoder::k_rope_, outputs(Role::k_rope)},
      {&Decoder::k_plain_, outputs(Role::k_b)},
      {&Decoder::beta_, outputs(Role::beta)},
      {&Decoder::decay_, outputs(Role::decay)},
      {&Decoder::scores_, experts},
      {&Decoder::routed_, experts > 0 ? spec.router.chosen * spec.hidden : 0},
      {&Decoder::expert_gate_, expert},
      {&Decoder::expert_up_, expert},
  };
}

uint64_t Decoder::workspace_bytes(const Spec& spec, int64_t rows, size_t element_bytes) {
  uint64_t bytes = 0;
  for (const Part& part : parts(spec)) bytes += static_cast<uint64_t>(rows * part.cols) * element_bytes;
  return bytes;
}

size_t Decoder::bytes_of(const Part& part, int64_t rows) const {
  return aligned(static_cast<size_t>(rows * part.cols) * element_bytes_);
}

size_t Decoder::bytes_of_all(int64_t rows) const {
  size_t bytes = 0;
  for (const Part& part : parts_) bytes += bytes_of(part, rows);
  return bytes;
}

/// For batches of `rows`. The matrices have nothing in them if there was less; where there can't be more, they are as they were.
/// Memory that is not the host's comes at once for the largest batch: a step there finds its matrices where the last had them.
void Decoder::make_room(int64_t rows) {
  if (rows <= room_) return;
  const int64_t room =
      stream_.in_host_memory() ? std::min(max_rows_, (rows + kFewRows - 1) / kFewRows * kFewRows) : max_rows_;
  workspace_ = stream_.allocate(bytes_of_all(room));
  room_ = room;
}

bool Decoder::may_rest() const {
  constexpr size_t kKept = size_t{1} << 20;  // bytes that are not worth to be asked for again
  return stream_.in_host_memory() && room_ > kFewRows && bytes_of_all(room_) > kKept;
}

void Decoder::rest() noexcept {
  know_logits(0, 0);
  workspace_.reset();
  room_ = 0;
}

/// Each at its beginning, with `rows`.
void Decoder::place_parts(int64_t rows) {
  std::byte* place = workspace_->data();
  for (const Part& part : parts_) {
    Matrix& matrix = this->*part.matrix;
    matrix.data = place;
    matrix.rows = rows;
    place += bytes_of(part, room_);
  }
}

}  // namespace gptq
