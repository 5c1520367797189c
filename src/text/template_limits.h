// What a chat template may ask for. Templates come with downloaded models: they are programs of unknown origin.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gptq::jinja {

/// The largest published templates have 20 KB; a syntax tree takes up to 200 times its source.
constexpr size_t kMaxSource = size_t{512} << 10;
/// Brackets and blocks inside one another, in the source: published templates reach 12.
constexpr int kMaxNesting = 64;
/// Evaluations inside one another, macros that call themselves included: some 10 a level of a nested JSON schema, whose
/// own depth base/json.h bounds. A level takes at most 500 bytes of stack, and a thread of Java has 1 MB.
constexpr int kMaxDepth = 700;
/// Lists in lists, and so on.
constexpr int kMaxValueDepth = 128;
/// Nodes evaluated, items looked at, and bytes moved / 32: about a second. A message takes some 100 of them.
constexpr uint64_t kMaxSteps = 20'000'000;
/// Bytes of texts and lists that live at one time, and of one text, the output among them.
constexpr size_t kMaxBytes = size_t{256} << 20, kMaxText = size_t{64} << 20;
/// Items of range(): the limit of Jinja's own sandbox.
constexpr int64_t kMaxRange = 100'000;

}  // namespace gptq::jinja
