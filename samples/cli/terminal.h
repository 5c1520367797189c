// Standard error: messages, and a progress bar that messages do not tear.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace cli {

enum class Verbosity : int32_t { quiet = 1, normal = 2, verbose = 3, debugging = 4 };

void set_verbosity(Verbosity verbosity);
Verbosity verbosity();

/// Writes "gptq: <kind>: <message>"; `kind` may be empty.
void say(std::string_view kind, std::string_view message);

/// Progress of one long task: a bar on a terminal, a line now and then elsewhere, nothing when quiet.
class Progress {
 public:
  enum class Show { always, when_slow };
  /// @param unit  what `done` counts, for the rate; empty where it is unknown
  explicit Progress(Show show, std::string unit = "");
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  /// A call that gives the seconds left, negative where nobody knows; without an answer they follow from the rate.
  void estimate_by(std::function<std::optional<double>()> seconds_left) {
    seconds_left_ = std::move(seconds_left);
  }
  /// @param stage  such as "layer 3/32", or with details that come and go, "layer 3/32: mlp.up_proj, loss 0.0123"
  void update(int64_t done, int64_t total, std::string_view stage);
  /// For gptq_options_set_progress(), without user data: updates the object that lives at the time, since the handles
  /// that report may outlive it. Cancels after Ctrl-C.
  static int32_t callback(void*, int64_t done, int64_t total, const char* stage);

 private:
  void draw(int64_t done, int64_t total, double now);
  void print_line(int64_t done, int64_t total, double now);
  std::string figures(int64_t done, int64_t total, double now) const;
  double seconds_left(int64_t done, int64_t total, double now) const;

  Show show_;
  std::string unit_;
  std::string stage_, detail_;
  std::function<std::optional<double>()> seconds_left_;
  double started_;
  int64_t done_ = 0, total_ = 0;
  double counted_from_;  // when `done` was counted_done_: where the present count began
  int64_t counted_done_ = 0;
  double last_output_ = -1;
  int64_t last_tenth_ = -1;
};

}  // namespace cli
