// A folder of tensors by name, whatever files hold them, for reading and for writing.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/tensor.h"

namespace gptq {

struct TensorInfo {
  std::string name{};
  DType dtype = DType::f32;
  std::vector<int64_t> shape{};
  uint64_t bytes = 0;
  std::string file{};  // name of the file in the folder, for messages
};

/// The size that shape and type give; Fault::range where that is none.
uint64_t tensor_bytes(const TensorInfo& tensor);

/// How tensor bytes are handed out.
enum class Access : uint8_t {
  read,  // copied into memory of their own; a file that shrinks meanwhile is an error
  map,   // borrowed from a read-only mapping
};

/// Validated when opened: a Checkpoint that exists has every tensor inside its file. Reads are thread-safe.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  /// Sorted by name.
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  virtual const TensorInfo* find(std::string_view name) const = 0;
  /// Status::not_found naming the tensor when absent.
  virtual Tensor read(std::string_view name, Access access) const = 0;
  /// A part of the tensor's bytes, from `offset` on. Status::internal past its end.
  virtual void read_part(std::string_view name, uint64_t offset, std::span<std::byte> out) const = 0;
  /// Fault::changed if a file is no longer what was opened.
  virtual void check_unchanged() const = 0;
};

/// Hands over the bytes of a tensor piece by piece, so that a large one is never in memory as a whole.
void stream_tensor(const Checkpoint& checkpoint, const TensorInfo& tensor,
                   const std::function<void(uint64_t offset, std::span<const std::byte> part)>& visit);

/// Opens model.safetensors, or model.safetensors.index.json with its shards, or the one other *.safetensors file
/// of the folder (the names that AutoGPTQ gave). When both the single file and an index are there, the index wins
/// if it names files that exist, and a warning is logged. Status::not_found when there is none of them.
/// A file NAME.safetensors, or an index NAME.safetensors.index.json, of one of the `preferred` names comes first.
std::unique_ptr<Checkpoint> open_checkpoint(const fs::path& folder,
                                            std::span<const std::string> preferred = {});

/// Returns `folder`; refuses one that is not there or is no folder.
const fs::path& check_model_folder(const fs::path& folder);

/// One safetensors file on its own.
std::unique_ptr<Checkpoint> open_safetensors(const fs::path& file);

/// Writes one safetensors file whose tensors arrive in any order.
class SafetensorsWriter {
 public:
  using Metadata = std::vector<std::pair<std::string, std::string>>;

  /// Sizes and places are fixed here, from `tensors` (name, dtype, shape); the file is reserved at full size.
  /// Tensors are laid out by falling element size, then in the order given, so each is aligned to its element.
  SafetensorsWriter(const fs::path& file, std::vector<TensorInfo> tensors, const Metadata& metadata);
  /// In an open folder, by the last part of `file`; the rest is for messages.
  SafetensorsWriter(const Descriptor& folder, const fs::path& file, std::vector<TensorInfo> tensors,
                    const Metadata& metadata);
  ~SafetensorsWriter();

  /// `bytes` must have the announced size; a name unknown or written twice is Status::internal.
  void write(std::string_view name, std::span<const std::byte> bytes);
  /// The same in parts, from the first to the last: `offset` is where the part before ended.
  void write_part(std::string_view name, uint64_t offset, std::span<const std::byte> bytes);
  /// Fails unless every tensor was written; fsyncs.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gptq
