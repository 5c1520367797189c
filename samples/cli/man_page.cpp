// gptq(1): the manual and the help pages, as roff.
#include <gptq.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "command_line.h"
#include "help.h"
#include "pages.h"

namespace cli {
namespace {

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      result += c;
    }
  }
  // a line that starts with one of these would be a request
  return !result.empty() && (result[0] == '.' || result[0] == '\'') ? "\\&" + result : result;
}

std::string item(const std::string& term, const std::string& text) {
  return ".TP\n.B \"" + escaped(term) + "\"\n" + escaped(text) + "\n";
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return 'a' <= c && c <= 'z' ? c - 32 : c; });
  return text;
}

struct Section {
  std::string title;
  std::vector<std::string> lines;  // without the indentation of the section
};

/// A heading ends in ':' and is not indented; what belongs to it is, by two.
std::vector<Section> sections_of(const std::string& manual) {
  std::vector<Section> sections;
  std::istringstream stream(manual);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("  ")) {
      sections.back().lines.push_back(line.substr(2));
    } else if (line.ends_with(':')) {
      sections.push_back({line.substr(0, line.size() - 1), {}});
    } else if (line.empty() && !sections.empty()) {
      sections.back().lines.emplace_back();
    }
  }
  for (Section& section : sections) {
    while (!section.lines.empty() && section.lines.back().empty()) section.lines.pop_back();
  }
  return sections;
}

/// As it is written, line by line.
std::string verbatim(const std::vector<std::string>& lines) {
  std::string text = ".EX\n";
  for (const std::string& line : lines) text += escaped(line) + "\n";
  return text + ".EE\n";
}

/// Text, and items in two columns: "term   what it is", whose further lines are indented.
std::string flowing(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    const size_t gap = line.find("  ");
    if (line.empty()) {
      text += ".PP\n";
    } else if (gap == 0) {
      text += escaped(line.substr(line.find_first_not_of(' '))) + "\n";
    } else if (gap != std::string::npos) {
      text += item(line.substr(0, gap), line.substr(line.find_first_not_of(' ', gap)));
    } else {
      text += escaped(line) + "\n";
    }
  }
  return text;
}

std::string manual_section(const std::vector<Section>& sections, const std::string& title,
                           const std::string& as) {
  for (const Section& section : sections) {
    if (section.title != title) continue;
    const bool code = title == "Usage" || title == "Examples";
    return ".SH " + as + "\n" + (code ? verbatim(section.lines) : flowing(section.lines));
  }
  throw std::logic_error("the manual has no section '" + title + "'");
}

std::string command_section(const CLI::App& command) {
  std::vector<Section> examples = sections_of(command.get_description());
  std::string text = ".SS \"gptq " + command.get_name();
  std::string items;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional()) text += " " + option->get_name(true);
    if (option->get_positional() || option->get_group() != kCommonGroup) {
      items += item(spelling(*option), option->get_description());
    }
  }
  text += " [options]\"\n" + escaped(about_line(command)) + "\n" + items;
  if (!command.get_footer().empty()) text += ".PP\n" + escaped(command.get_footer()) + "\n";
  return text + ".PP\nExamples:\n" + verbatim(examples.at(0).lines);
}

}  // namespace

std::string man_page(const CLI::App& app) {
  const std::string manual = kManual;
  const std::vector<Section> sections = sections_of(manual);
  std::string page =
      std::string(".TH GPTQ 1 \"\" \"gptq ") + gptq_version_string() + "\" \"User Commands\"\n";
  page += ".SH NAME\n" + escaped(manual.substr(0, manual.find('\n'))) + "\n";
  page += manual_section(sections, "Usage", "SYNOPSIS");
  page += manual_section(sections, "Commands", "DESCRIPTION");
  page += manual_section(sections, kCommonGroup, "OPTIONS");
  page += ".SH COMMANDS\n";
  for (const CLI::App* command : commands_in(app)) page += command_section(*command);
  for (const Section& section : sections) {
    if (section.title == "Exit codes") {
      page += manual_section(sections, section.title, "EXIT STATUS");
    } else if (section.title == "Output" || section.title == "Environment") {
      page += manual_section(sections, section.title, upper(section.title));
    }
  }
  return page + manual_section(sections, "Examples", "EXAMPLES");
}

}  // namespace cli
