// SentencePiece's precompiled normalization: a trie of character sequences and what each of them becomes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gptq {

class Charsmap {
 public:
  /// Nothing is replaced.
  Charsmap() = default;
  /// `data`: the size of the trie in bytes as 4 bytes, the trie, NUL-terminated texts; integers are little-endian. The
  /// trie is a double array as darts-clone makes it. Fault::truncated or format, naming `where`.
  Charsmap(std::string_view data, const std::string& where);

  /// Whether a sequence may begin with `byte`.
  bool may_begin(unsigned char byte) const;

  /// A sequence that `text` begins with, `length` bytes long, 0 if there is none, and what it becomes.
  struct Match {
    size_t length;
    std::string_view by;
  };
  Match longest(std::string_view text) const;
  Match shortest(std::string_view text) const;

 private:
  template <class Use>
  void for_each_prefix(std::string_view text, const Use& use) const;
  Match match(size_t length, uint32_t offset) const;

  std::vector<uint32_t> units_;
  std::string texts_;  // ends in NUL
};

}  // namespace gptq
