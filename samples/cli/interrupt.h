// Ctrl-C: a thread waits for SIGINT and SIGTERM and cancels what the tool is doing.
#pragma once

#include <gptq.h>
#include <signal.h>

#include <thread>

namespace cli {

/// True once SIGINT or SIGTERM came.
bool interrupted();
void throw_if_interrupted();
/// As if none had come: for a command that goes on after it.
void forget_interrupt();

/// Made before any other thread, which then all leave the signals to this one. A second signal ends the process.
class SignalWatcher {
 public:
  SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;
  ~SignalWatcher();

 private:
  void wait_for_signals();
  sigset_t signals_;
  std::thread thread_;
};

/// While it lives, a signal cancels this session or job.
class CancelOnSignal {
 public:
  explicit CancelOnSignal(const gptq_session* session);
  explicit CancelOnSignal(const gptq_quantizer* quantizer);
  CancelOnSignal(const CancelOnSignal&) = delete;
  CancelOnSignal& operator=(const CancelOnSignal&) = delete;
  ~CancelOnSignal();
};

}  // namespace cli
