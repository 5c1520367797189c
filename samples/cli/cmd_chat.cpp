// gptq chat: a conversation in the terminal, or line by line from a file.
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>

#include "command.h"
#include "interrupt.h"
#include "line_reader.h"
#include "sampling_options.h"

namespace cli {
namespace {

constexpr const char* kHelp =
    "/system TEXT  sets the system message; without TEXT takes it away\n"
    "/history      shows the messages\n"
    "/undo         forgets the last question and its answer\n"
    "/clear        forgets all but the system message\n"
    "/save FILE    writes the messages, as 'gptq template' reads them\n"
    "/load FILE    goes on with messages of a file\n"
    "/help         this\n"
    "/exit         ends, as does the end of the input\n"
    "A line that ends in \\ goes on in the next. Ctrl-C ends an answer.\n";

struct Arguments {
  Common common;
  SamplingArguments sampling;
  std::optional<std::string> system, messages, chat_template;
};

class Chat {
 public:
  explicit Chat(const Arguments& arguments)
      : arguments_(arguments),
        model_(load_model(arguments.common, arguments.common.model)),
        session_(make_session(arguments.common, model_)) {
    const auto defaults =
        make<Buffer>(gptq_model_sampling_defaults, static_cast<const gptq_model*>(model_.get()));
    check(gptq_options_set_json(options_.get(), text_of(defaults).data(),
                                static_cast<int64_t>(text_of(defaults).size())));
    arguments.sampling.set_in(options_);
    if (arguments.messages) load(*arguments.messages);
    if (arguments.system) set_system(*arguments.system);
    // a folder without a template says so now, and not after the first question
    Json probe = messages_;
    probe.push_back({{"role", "user"}, {"content", "Hi"}});
    prompt(probe);
  }

  void run() {
    LineReader lines;
    const bool terminal = isatty(STDIN_FILENO) != 0 && !arguments_.common.json;
    for (;;) {
      if (terminal) show("> ");
      std::optional<std::string> line = lines.next();
      while (line && line->ends_with('\\')) {
        line->back() = '\n';
        const auto more = lines.next();
        if (!more) break;
        *line += *more;
      }
      if (!line || *line == "/exit" || *line == "/quit") break;
      if (line->empty()) continue;
      try {
        if (line->starts_with('/')) {
          obey(*line);
        } else {
          ask(*line);
        }
      } catch (const Failure& failure) {
        if (!terminal) throw;
        say("error", failure.what());
      }
    }
    if (arguments_.common.json) put_json({{"messages", messages_}});
  }

 private:
  void show(std::string_view text) const {
    if (arguments_.common.json) return;
    put(text);
    flush_output();
  }

  void obey(const std::string& line) {
    const size_t blank = std::min(line.find(' '), line.size());
    const std::string command = line.substr(0, blank);
    const std::string rest = blank < line.size() ? line.substr(blank + 1) : "";
    if (command == "/help") {
      show(kHelp);
    } else if (command == "/system") {
      set_system(rest);
    } else if (command == "/history") {
      for (const Json& message : messages_) {
        const Json& content = message.value("content", Json());
        show(message.value("role", "") + ": " +
             (content.is_string() ? content.get<std::string>() : content.dump()) + "\n");
      }
    } else if (command == "/undo") {
      const auto is_question = [](const Json& message) { return message.value("role", "") == "user"; };
      const auto last = std::find_if(messages_.rbegin(), messages_.rend(), is_question);
      if (last != messages_.rend()) messages_.erase(last.base() - 1, messages_.end());
    } else if (command == "/clear") {
      messages_.erase(messages_.begin() + (has_system() ? 1 : 0), messages_.end());
    } else if (command == "/save") {
      std::ofstream file(rest, std::ios::binary);
      file << Json{{"messages", messages_}}.dump(2) << "\n";
      if (!file.flush()) throw Failure("can't write '" + rest + "'");
    } else if (command == "/load") {
      load(rest);
    } else {
      throw Failure("unknown command '" + command + "'; /help shows all");
    }
  }

  bool has_system() const { return !messages_.empty() && messages_[0].value("role", "") == "system"; }

  void set_system(const std::string& text) {
    if (has_system()) messages_.erase(messages_.begin());
    if (!text.empty()) messages_.insert(messages_.begin(), Json{{"role", "system"}, {"content", text}});
  }

  void load(const std::string& path) {
    const Json document = read_json_file(path);
    const Json messages = document.is_object() ? document.value("messages", Json()) : document;
    const auto is_message = [](const Json& each) {
      return each.is_object() && each.contains("role") && each["role"].is_string();
    };
    if (!messages.is_array() || !std::all_of(messages.begin(), messages.end(), is_message))
      throw Failure(path + ": wanted a JSON array of messages, or an object with 'messages'");
    messages_ = messages;
  }

  /// The tokens up to where the answer begins.
  std::vector<int32_t> prompt(const Json& messages) const {
    Json chat = {{"messages", messages}, {"add_generation_prompt", true}};
    if (arguments_.chat_template) chat["chat_template"] = *arguments_.chat_template;
    const std::string text = chat.dump(-1, ' ', false, Json::error_handler_t::replace);
    const auto ids = make<Buffer>(gptq_model_tokenize_chat, static_cast<const gptq_model*>(model_.get()),
                                  text.data(), static_cast<int64_t>(text.size()), 0);
    const auto all = items<int32_t>(ids);
    return {all.begin(), all.end()};
  }

  /// Brings the session to these tokens: only what is new is computed where the rest is as before.
  void continue_with(const std::vector<int32_t>& ids) {
    size_t kept = history_.size();
    if (ids.size() <= kept || !std::equal(history_.begin(), history_.end(), ids.begin())) {
      check(gptq_session_reset(session_.get()));
      history_.clear();
      kept = 0;
    }
    check(gptq_session_append_tokens(session_.get(), ids.data() + kept,
                                     static_cast<int64_t>(ids.size() - kept)));
    history_ = ids;
  }

  void ask(const std::string& question) {
    Json messages = messages_;
    messages.push_back({{"role", "user"}, {"content", question}});
    continue_with(prompt(messages));
    std::string answer;
    bool ended = false;
    {
      const CancelOnSignal guard(session_.get());
      try {
        check(gptq_session_begin(session_.get(), options_.get()));
        while (check(gptq_session_step(session_.get())) == GPTQ_OK) {
          if (const int32_t token = gptq_session_token(session_.get()); token >= 0) history_.push_back(token);
          const std::string_view chunk(gptq_session_text(session_.get()),
                                       static_cast<size_t>(gptq_session_text_size(session_.get())));
          answer += chunk;
          show(chunk);
        }
        ended = true;
      } catch (const Interrupted&) {
        if (isatty(STDIN_FILENO) == 0) throw;
        forget_interrupt();
      }
    }
    if (!ended) {  // what the session has of this answer is not known: it is computed again
      check(gptq_session_clear_cancel(session_.get()));
      check(gptq_session_reset(session_.get()));
      history_.clear();
    }
    if (!answer.ends_with('\n')) show("\n");
    if (std::string_view(gptq_session_finish_reason(session_.get())) == "context")
      say("warning", "the context is full: /undo or /clear make room");
    messages.push_back({{"role", "assistant"}, {"content", answer}});
    messages_ = std::move(messages);
  }

  const Arguments& arguments_;
  Options options_;
  Model model_;
  Session session_;
  Json messages_ = Json::array();
  std::vector<int32_t> history_;  // of the session
};

}  // namespace

void add_chat(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  Command command(app, "chat", "Talk with a model in the terminal.",
                  {"gptq chat Llama-3.2-1B-Instruct-gptq",
                   "gptq chat Qwen3-0.6B --system \"You are terse.\" --temperature 0",
                   "gptq chat Qwen3-0.6B --json < questions.txt"});
  arguments->common.add_to(command, "Model folder with a chat template, quantized or not");
  command.option("--system", "TEXT", arguments->system, "System message");
  command.option("--messages", "FILE", arguments->messages,
                 "Messages to go on with, as 'gptq template' takes them");
  command.option("--template", "NAME", arguments->chat_template,
                 "Which of the folder's chat templates, where it has several");
  arguments->sampling.add_to(command, SamplingArguments::Defaults::model);
  command.note(
      "Each line of the input is a message; /help in the chat shows its commands. Special tokens that a "
      "message spells out stay text. With --json nothing is shown but the messages, at the end.");
  command.run([arguments] { Chat(*arguments).run(); });
}

}  // namespace cli
