// SPDX-License-Identifier: Apache-2.0
#include "spec.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <functional>
#include <map>

namespace phos::keeper {
namespace {

constexpr std::size_t kMaxSpecBytes = 16U << 20;

using Setter = std::function<bool(Spec&, std::string_view)>;

template <typename Number>
bool parse_number(std::string_view text, Number& out, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc{} && end == text.data() + text.size();
}

Setter text_of(std::string Spec::*field) {
  return [field](Spec& spec, std::string_view value) {
    spec.*field = std::string(value);
    return true;
  };
}

template <typename Number>
Setter number_of(Number Spec::*field, int base = 10) {
  return [field, base](Spec& spec, std::string_view value) {
    return parse_number(value, spec.*field, base);
  };
}

Setter list_of(std::vector<std::string> Spec::*field) {
  return [field](Spec& spec, std::string_view value) {
    (spec.*field).emplace_back(value);
    return true;
  };
}

Setter flag_of(bool Spec::*field) {
  return [field](Spec& spec, std::string_view value) {
    spec.*field = value == "1";
    return value == "0" || value == "1";
  };
}

bool add_group(Spec& spec, std::string_view value) {
  gid_t group = 0;
  if (!parse_number(value, group)) return false;
  spec.groups.push_back(group);
  return true;
}

const std::map<std::string_view, Setter>& setters() {
  static const std::map<std::string_view, Setter> table{
      {"id", text_of(&Spec::id)},
      {"socket", text_of(&Spec::socket_path)},
      {"log-out", text_of(&Spec::log_out)},
      {"log-err", text_of(&Spec::log_err)},
      {"log-limit-bytes", number_of(&Spec::log_limit_bytes)},
      {"exit-file", text_of(&Spec::exit_file)},
      {"pty", flag_of(&Spec::pty)},
      {"rows", number_of(&Spec::rows)},
      {"columns", number_of(&Spec::columns)},
      {"cgroup", text_of(&Spec::cgroup)},
      {"cwd", text_of(&Spec::cwd)},
      {"uid", number_of(&Spec::uid)},
      {"gid", number_of(&Spec::gid)},
      {"group", add_group},
      {"umask", number_of(&Spec::umask, 8)},
      {"env", list_of(&Spec::environment)},
      {"arg", list_of(&Spec::arguments)},
      {"hold-ms", number_of(&Spec::hold_ms)},
      {"linger-ms", number_of(&Spec::linger_ms)},
      {"deadline-ms", number_of(&Spec::deadline_ms)},
      {"pid-file", text_of(&Spec::pid_file)},
      {"inherit-stdin", text_of(&Spec::inherit_stdin)},
      {"inherit-stdout", text_of(&Spec::inherit_stdout)},
      {"inherit-stderr", text_of(&Spec::inherit_stderr)},
      {"inherit-tty", text_of(&Spec::inherit_tty)},
      {"stdin-file", text_of(&Spec::stdin_file)},
      {"stdin-eof", flag_of(&Spec::stdin_eof)},
      {"termios", text_of(&Spec::termios)},
  };
  return table;
}

Problem usage(std::string message) { return Problem{"USAGE", std::move(message)}; }

}  // namespace

MaybeProblem parse_spec(std::string_view text, Spec& spec) {
  while (!text.empty()) {
    const std::size_t name_end = text.find('\0');
    const std::size_t value_end =
        name_end == std::string_view::npos ? name_end : text.find('\0', name_end + 1);
    if (value_end == std::string_view::npos) {
      return usage("the keeper's specification ends in the middle of a pair");
    }
    const std::string_view name = text.substr(0, name_end);
    const std::string_view value = text.substr(name_end + 1, value_end - name_end - 1);
    const auto setter = setters().find(name);
    if (setter == setters().end()) {
      return usage("the keeper knows no setting '" + std::string(name) + "'");
    }
    if (!setter->second(spec, value)) {
      return usage("'" + std::string(value) + "' is no value for '" + std::string(name) + "'");
    }
    text.remove_prefix(value_end + 1);
  }
  if (spec.socket_path.empty()) return usage("the keeper was given no socket path");
  if (spec.arguments.empty()) return usage("the keeper was given no program to start");
  return std::nullopt;
}

MaybeProblem read_spec(int fd, Spec& spec) {
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t count = ::read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return problem_of_errno("reading the keeper's specification", errno);
    if (count == 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
    if (text.size() > kMaxSpecBytes) return usage("the keeper's specification is too long");
  }
  return parse_spec(text, spec);
}

}  // namespace phos::keeper
