// Any bytes as a GGUF file: refused with an Error, or every tensor lies inside, apart from the others and in whole
// blocks, each of its rows can be read, and the vocabulary is a file of a tokenizer, its settings valid UTF-8.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "format/gguf.h"
#include "format/gguf_blocks.h"
#include "format/gguf_tokenizer.h"

namespace {

void check(const gptq::GgufHeader& header, const uint8_t* data, uint64_t file_size) {
  uint64_t cursor = header.data_start();
  for (const gptq::GgufTensor& tensor : header.tensors()) {
    const uint64_t begin = header.data_start() + tensor.offset, end = begin + tensor.bytes;
    if (begin < cursor || end < begin || end > file_size || tensor.bytes == 0) std::abort();
    if (header.find(tensor.name) != &tensor) std::abort();
    cursor = end;
    const uint64_t row = tensor.bytes / static_cast<uint64_t>(tensor.rows());
    std::vector<float> values(static_cast<size_t>(tensor.cols()));
    std::vector<std::byte> bytes(row);
    for (int64_t n = 0; n < tensor.rows(); ++n) {
      std::memcpy(bytes.data(), data + begin + static_cast<uint64_t>(n) * row, row);
      gptq::unpack_gguf_row(tensor.type, bytes, values);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const gptq::GgufHeader header = gptq::parse_gguf_header(
        [&](uint64_t offset, std::span<std::byte> out) {
          if (offset > size || out.size() > size - offset) std::abort();
          if (!out.empty()) std::memcpy(out.data(), data + offset, out.size());
        },
        size, "fuzz");
    check(header, data, size);
    for (const auto& [name, contents] : gptq::gguf_tokenizer_files(header)) {
      if (name != "tokenizer.model" && !gptq::is_utf8(contents)) std::abort();
    }
  } catch (const gptq::Error&) {
  }
  return 0;
}
