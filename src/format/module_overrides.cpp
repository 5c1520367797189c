#include "format/module_overrides.h"

#include <array>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/qtensor.h"
#include "base/text.h"
#include "format/json_events.h"

namespace gptq {
namespace {

constexpr std::array<std::string_view, 8> kKeys{
    "bits", "group_size", "sym", "desc_act", "act_group_aware", "static_groups", "damp_percent", "mse"};
/// How a checkpoint was made, which its tensors no longer need to be told.
constexpr std::array<std::string_view, 6> kHistory{"fallback", "hessian",   "gptaq",
                                                   "foem",     "pack_impl", "offload_to_disk"};
/// Null or this, else the tensors mean something else.
constexpr std::string_view kWords = "pack_dtype", kAdapter = "adapter";

/// The keys of the object at a path, in the order of the text, which Json (a sorted map) does not keep.
class MemberOrder final : public JsonEventReader {
 public:
  explicit MemberOrder(std::span<const std::string_view> path) : path_(path) {}
  std::vector<std::string> take() { return std::move(keys_); }

 private:
  void on(const JsonEvent& event, int depth) override {
    if (event.kind != EventKind::key) return;
    const auto at = static_cast<size_t>(depth);  // members of the outermost object are at depth 1
    if (at <= matched_) matched_ = at - 1;
    if (matched_ == path_.size()) {
      if (at == matched_ + 1) keys_.push_back(std::move(*event.text));
    } else if (at == matched_ + 1 && *event.text == path_[matched_]) {
      ++matched_;
    }
  }

  std::span<const std::string_view> path_;
  size_t matched_ = 0;  // components of path_ that the present place is below
  std::vector<std::string> keys_;
};

const Json* member_at(const Json& json, std::span<const std::string_view> path) {
  const Json* at = &json;
  for (std::string_view key : path) {
    if (!at->is_object()) return nullptr;
    const auto it = at->find(key);
    if (it == at->end() || it->is_null()) return nullptr;
    at = &*it;
  }
  return at;
}

bool contains(std::span<const std::string_view> keys, std::string_view key) {
  for (std::string_view one : keys) {
    if (one == key) return true;
  }
  return false;
}

void check_keys(const JsonObject& object, OverrideUse use) {
  for (const auto& [key, value] : object.json().items()) {
    if (contains(kKeys, key)) continue;
    const bool harmless =
        value.is_null() || contains(kHistory, key) ||
        (key == kWords && value.is_string() && value.get_ref<const std::string&>() == "int32");
    if (use == OverrideUse::read && harmless) continue;
    const bool known = contains(kHistory, key) || key == kWords || key == kAdapter;
    throw Error(Fault::unsupported,
                cat(object.name(), known ? ": the setting " : ": unknown setting ", quoted(key),
                    known ? " is not supported here" : std::string(), nearest_hint(key, kKeys)));
  }
}

std::optional<bool> maybe_boolean(const JsonObject& object, std::string_view key) {
  if (!object.has({key})) return std::nullopt;
  return object.boolean_or({key}, false);
}

std::optional<double> maybe_number(const JsonObject& object, std::string_view key, double low, double high) {
  if (!object.has({key})) return std::nullopt;
  return object.number({key}, low, high);
}

void read_settings(const JsonObject& object, ModuleOverride& into) {
  if (const auto bits = object.maybe_integer({"bits"}, 2, 8)) {
    if (!is_bit_width(*bits)) object.refuse(Fault::range, "bits", "2, 3, 4 or 8");
    into.bits = static_cast<int>(*bits);
  }
  into.group_size = object.maybe_integer({"group_size"}, -1, int64_t{1} << 30);
  if (into.group_size == 0) object.refuse(Fault::range, "group_size", "-1 or more than 0");
  into.symmetric = maybe_boolean(object, "sym");
  into.desc_act = maybe_boolean(object, "desc_act");
  into.act_group_aware = maybe_boolean(object, "act_group_aware");
  into.static_groups = maybe_boolean(object, "static_groups");
  into.damp_percent = maybe_number(object, "damp_percent", 0, 1);
  if (into.damp_percent && (*into.damp_percent <= 0 || *into.damp_percent >= 1))
    object.refuse(Fault::range, "damp_percent", "more than 0 and less than 1");
  into.mse = maybe_number(object, "mse", 0, 16);
  if (into.desc_act == true && into.act_group_aware == true) {
    throw Error(Fault::mismatch,
                cat(object.name(), ": 'desc_act' and 'act_group_aware' are both true, wanted one of them"));
  }
}

ModuleOverride parse_one(const std::string& key, const Json& value, std::string_view where, OverrideUse use) {
  ModuleOverride result;
  result.key = key;
  result.where = cat(where, ": ", quoted(key, 200));
  const bool prefixed = key.starts_with("-:") || key.starts_with("+:");
  if (key.starts_with("-:")) result.kind = ModuleOverride::Kind::skip;
  result.pattern = key.substr(prefixed ? 2 : 0);
  if (result.pattern.empty()) throw Error(Fault::format, cat(result.where, ": the pattern is empty"));
  if (result.kind == ModuleOverride::Kind::skip && value.is_null()) return result;
  const JsonObject object(value, result.where);
  check_keys(object, use);
  read_settings(object, result);
  return result;
}

}  // namespace

ModuleOverrides parse_module_overrides(std::string_view text, std::string_view name,
                                       std::span<const std::string_view> path, OverrideUse use) {
  const JsonDocument document = parse_json(text, name);
  const Json* object = member_at(document, path);
  if (object == nullptr) return {};
  std::string where(name);
  for (std::string_view key : path) where += cat(": '", key, "'");
  if (!object->is_object()) throw Error(Fault::format, cat(where, " is not an object"));
  if (object->size() > kMostModuleOverrides) {
    throw Error(Fault::limit,
                cat(where, " has ", object->size(), " patterns, wanted at most ", kMostModuleOverrides));
  }
  MemberOrder order(path);
  order.parse(text, name, {});
  ModuleOverrides overrides;
  for (const std::string& key : order.take()) {
    overrides.push_back(parse_one(key, *object->find(key), where, use));
  }
  return overrides;
}

void write_module_overrides(JsonWriter& out, std::span<const ModuleOverride> overrides) {
  out.begin_object();
  for (const ModuleOverride& one : overrides) {
    out.key(one.key);
    out.begin_object();
    const auto member = [&](std::string_view name, const auto& value) {
      if (value) out.member(name, *value);
    };
    member("bits", one.bits);
    member("group_size", one.group_size);
    member("sym", one.symmetric);
    member("desc_act", one.desc_act);
    member("act_group_aware", one.act_group_aware);
    member("static_groups", one.static_groups);
    member("damp_percent", one.damp_percent);
    member("mse", one.mse);
    out.end_object();
  }
  out.end_object();
}

}  // namespace gptq
