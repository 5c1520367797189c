// Text <-> token ids, by the rules of a folder's tokenizer.json or tokenizer.model.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace gptq {

/// Whether encode() adds what the post-processor says (a beginning-of-text token, for example).
enum class AddSpecial : uint8_t { no, yes };
/// Whether the text of a special token inside the input becomes that token, or plain text.
enum class ParseSpecial : uint8_t { no, yes };
/// Whether decode() leaves out special tokens.
enum class SkipSpecial : uint8_t { no, yes };

/// Ids to text, one after the other; not to be used by two threads at once. StreamDecoder is its comfortable form.
class TokenStream {
 public:
  virtual ~TokenStream() = default;
  /// Fault::range as Tokenizer::decode().
  virtual void push(int32_t id) = 0;
  virtual void finish() = 0;
  /// The text since the last call, as far as it is complete.
  virtual std::string take() = 0;
};

/// Immutable after loading: any number of threads may use one at once.
class Tokenizer {
 public:
  /// tokenizer.json if there, else tokenizer.model; tokenizer_config.json beside them supplies the special
  /// tokens and whether <s> and </s> are added (for tokenizer.model). Status::not_found when there is neither.
  static std::shared_ptr<const Tokenizer> load(const fs::path& folder);

  virtual ~Tokenizer() = default;

  /// Invalid UTF-8 is taken as U+FFFD, as Hugging Face's lossy reading does. Fault::limit above 2^31 - 1 bytes.
  virtual std::vector<int32_t> encode(std::string_view text, AddSpecial add, ParseSpecial parse) const = 0;

  /// The text of `ids` as a whole, always valid UTF-8 (broken sequences become U+FFFD).
  /// Fault::range for an id that is negative or unknown.
  virtual std::string decode(std::span<const int32_t> ids, SkipSpecial skip) const = 0;

  /// decode(), bit by bit. The stream must not outlive the tokenizer.
  virtual std::unique_ptr<TokenStream> start_decoding(SkipSpecial skip) const = 0;

  /// One more than the largest id.
  virtual int32_t vocab_size() const = 0;
  /// The token's own spelling ("Ġthe", "▁the", "<0x0A>"); empty for an id without a token.
  virtual std::string_view token_text(int32_t id) const = 0;
  virtual std::optional<int32_t> token_id(std::string_view token) const = 0;
  virtual bool is_special(int32_t id) const = 0;

  /// From tokenizer_config.json or special_tokens_map.json; empty when they do not say.
  virtual std::optional<int32_t> bos_id() const = 0;
  virtual std::optional<int32_t> eos_id() const = 0;
};

/// Turns a growing list of tokens into text, piece by piece: each piece is valid UTF-8, and all pieces together
/// are what decode() gives for the whole list (a tail that stays broken comes out of finish() as U+FFFD).
/// Costs O(1) tokens per push, not O(length).
class StreamDecoder {
 public:
  StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, SkipSpecial skip);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  /// Tokens that precede the stream (a prompt): their text is not emitted, but decides, for example, whether a
  /// first word keeps its space.
  void prime(std::span<const int32_t> ids);
  /// New text that `id` completes; may be empty while a sequence is incomplete.
  std::string push(int32_t id);
  /// What is still held back.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gptq
