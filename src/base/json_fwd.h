// The names of the JSON types, for headers that only mention them: the whole of nlohmann's costs a second per file.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace gptq {

using Json = nlohmann::json;  // std::map objects: lookups stay logarithmic in hostile files

class JsonDocument;
class JsonObject;

}  // namespace gptq
