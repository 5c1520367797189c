// What a program here has measured, as JSON. The file is whole after each result: a program that is stopped, or fails, leaves
// what it had until then, with "complete": false.
#pragma once

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>

namespace gptq::test {

class Report {
 public:
  /// Without a path nothing is written.
  explicit Report(std::string path) : path_(std::move(path)) {}

  /// What all results have in common. Throws where the file can't be written, as the others do.
  void set(const char* key, nlohmann::ordered_json value) {
    all_[key] = std::move(value);
    write();
  }
  void add(nlohmann::ordered_json result) {
    results_.push_back(std::move(result));
    write();
  }
  void complete() {
    complete_ = true;
    write();
  }

 private:
  void write() const {
    if (path_.empty()) return;
    nlohmann::ordered_json all = all_;
    all["complete"] = complete_;
    all["results"] = results_;
    const std::string unfinished = path_ + ".new";
    std::ofstream out(unfinished);
    out << all.dump(2) << '\n';
    out.close();
    if (!out || std::rename(unfinished.c_str(), path_.c_str()) != 0)
      throw std::runtime_error("can't write " + path_);
  }

  std::string path_;
  nlohmann::ordered_json all_ = nlohmann::ordered_json::object(), results_ = nlohmann::ordered_json::array();
  bool complete_ = false;
};

}  // namespace gptq::test
