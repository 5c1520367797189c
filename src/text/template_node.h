// The syntax tree of a chat template.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template_value.h"

namespace gptq::jinja {

/// Nodes lie in one array and name each other by their place, so that no depth of the source becomes one of a
/// destructor.
using NodeId = uint32_t;
constexpr NodeId kNoNode = UINT32_MAX;
using NameId = uint32_t;

enum class NodeKind : uint8_t {
  // expressions                a, b, c; list; named
  constant,       //              value
  name,           // name
  attribute,      // a.name
  item,           // a[b]
  slice,          // [a:b:c] as the b of an item
  call,           // a(list, named, *b, **c)
  filter,         // a | name(list, named, *b, **c); a is kNoNode where it filters a block
  test,           // a is name(list, named, *b, **c)
  negative,       // -a
  positive,       // +a
  negation,       // not a
  arithmetic,     // a op b
  concatenation,  // list[0] ~ list[1] ~ ...
  comparison,     // a, then pairs: named[i] is (a Comparison, a node)
  all_of,         // list[0] and list[1] ...
  any_of,         // list[0] or list[1] ...
  conditional,    // a if b else c
  list,           // [list]
  tuple,          // (list)
  dict,           // {list[0]: list[1], list[2]: list[3] ...}
  // statements
  data,          //              value, a text
  output,        // {{ a }}
  body,          // list
  loop,          // for a in b if c: list[0], else list[1]
  choice,        // pairs of condition and body in list; c: else
  assign,        // set a = b
  assign_block,  // set a with filters b: c
  member,        // a target: name.value
  macro,         // named: parameters, and their defaults or kNoNode; a: body; flags
  call_block,    // call(named) a: b; flags
  filter_block,  // filter a: b
  scope,         // a body with names of its own; list: targets and values of "with", in pairs
  leave_loop,    // break
  next_item,     // continue
};

enum class Arithmetic : uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power };
enum class Comparison : uint8_t { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };

/// What a macro takes besides its parameters, because its body mentions it.
constexpr uint8_t kUsesCaller = 1, kUsesNamed = 2, kUsesMore = 4;

struct Node {
  NodeKind kind;
  uint8_t op = 0;  // an Arithmetic, or flags of a macro
  uint32_t line = 1;
  NameId name = 0;
  NodeId a = kNoNode, b = kNoNode, c = kNoNode;
  std::vector<NodeId> list;
  std::vector<std::pair<uint32_t, NodeId>> named;  // a NameId (or Comparison) and a node
  Value value;
  Native native = nullptr;  // of a filter or test; null where there is none of that name
};

struct Tree {
  std::vector<Node> nodes;
  std::vector<std::string> names;
  NameId caller = 0, kwargs = 0, varargs = 0;
  NodeId root = kNoNode;
};

/// Fault::format, naming line, found and wanted, for what is no template; Fault::limit where it is too large or nested
/// too deep; Fault::unsupported for tags that read other files.
Tree parse_template(std::string_view source, std::string_view name);

}  // namespace gptq::jinja
