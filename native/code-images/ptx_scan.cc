// SPDX-License-Identifier: Apache-2.0
#include "ptx_scan.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <unordered_set>

#include "limits.h"
#include "ptx_tokens.h"

namespace phos::code_images {
namespace {

struct Type {
  std::uint32_t bytes;
  bool maybe_pointer;
};

// `.u64`, `.f32`, `.bf16x2`, `.texref` ... Zero bytes: not a type.
Type type_of(std::string_view token) noexcept {
  if (token == ".texref" || token == ".samplerref" || token == ".surfref") {
    return {8, false};
  }
  if (token == ".pred") {
    return {1, false};
  }
  if (token == ".f16x2" || token == ".bf16x2") {
    return {4, false};
  }
  std::size_t at = token.find_first_of("0123456789");
  if (at == std::string_view::npos || at < 2) {
    return {0, false};
  }
  const std::string_view letters = token.substr(1, at - 1);
  const bool is_float = letters == "f" || letters == "bf";
  if (!is_float && letters != "u" && letters != "s" && letters != "b") {
    return {0, false};
  }
  std::uint32_t bits = 0;
  const auto [end, error] =
      std::from_chars(token.data() + at, token.data() + token.size(), bits);
  if (error != std::errc{} || end != token.data() + token.size() || bits > 128 || bits % 8 != 0) {
    return {0, false};
  }
  return {bits / 8, !is_float && bits >= 64};
}

struct Declaration {
  std::string name;
  std::uint64_t bytes = 0;
  std::uint64_t alignment = 1;
  bool maybe_pointer = false;
  bool managed = false;
};

class Scanner {
 public:
  explicit Scanner(std::string_view text) : tokens_(text) { module_.from_ptx = true; }

  Result<ModuleDescription> run() {
    if (!tokens_.accept(".version")) {
      return ImageError::malformed_ptx;
    }
    while (!tokens_.at_end()) {
      if (!read_top() || module_.kernels.size() + module_.variables.size() > kMaxSymbols) {
        return ImageError::malformed_ptx;
      }
    }
    return std::move(module_);
  }

 private:
  bool read_top() {
    const std::string_view token = tokens_.take();
    if (token == ".target") {
      read_target();
      return true;
    }
    if (token == ".entry") {
      return read_entry();
    }
    if (token == ".func") {
      return skip_function();
    }
    if (token == ".global" || token == ".const" || token == ".shared") {
      return read_variables(token);
    }
    if (token == ".section") {
      tokens_.take();
      return tokens_.peek() != "{" || tokens_.skip_braces();
    }
    // Numbers after .version and .address_size, linking directives, .file and the like.
    return true;
  }

  void read_target() {
    std::string_view name = tokens_.peek();
    if (!name.starts_with("sm_")) {
      return;
    }
    name.remove_prefix(3);
    std::from_chars(name.data(), name.data() + name.size(), module_.sm);
    tokens_.take();
  }

  // One declarator up to its name and dimensions. `.align N .b8 name[4][4]`.
  bool read_declaration(Declaration& declaration) {
    Type type{0, false};
    std::uint64_t lanes = 1;
    std::optional<std::uint64_t> alignment;
    bool behind_ptr = false;
    while (tokens_.peek().starts_with('.')) {
      const std::string_view token = tokens_.take();
      if (token == ".align") {
        const auto number = tokens_.take_number();
        if (!number || *number == 0 || *number > (1U << 20)) {
          return false;
        }
        // Behind .ptr it is the alignment of what the pointer points at.
        alignment = behind_ptr ? alignment : number;
      } else if (token == ".attribute") {
        read_attribute(declaration);
      } else if (token == ".v2" || token == ".v4" || token == ".v8") {
        lanes = static_cast<std::uint64_t>(token[2] - '0');
      } else if (token == ".ptr") {
        behind_ptr = true;
      } else if (const Type known = type_of(token); known.bytes != 0) {
        type = known;
      }
    }
    element_ = type;
    lanes_ = lanes;
    declaration.alignment = alignment.value_or(type.bytes * lanes);
    return type.bytes != 0 && read_name(declaration);
  }

  bool read_name(Declaration& declaration) {
    declaration.name = tokens_.take();
    declaration.bytes = std::uint64_t{element_.bytes} * lanes_;
    bool array = false;
    unsized_ = false;
    while (tokens_.accept("[")) {
      array = true;
      if (tokens_.accept("]")) {
        unsized_ = true;
        continue;
      }
      const auto count = tokens_.take_number();
      if (!count || *count > kMaxImageBytes || !tokens_.accept("]")) {
        return false;
      }
      declaration.bytes *= *count;
      if (declaration.bytes > (1ULL << 47)) {
        return false;
      }
    }
    declaration.maybe_pointer = array ? declaration.bytes >= 8 : element_.maybe_pointer;
    return !declaration.name.empty();
  }

  void read_attribute(Declaration& declaration) {
    if (!tokens_.accept("(")) {
      return;
    }
    while (!tokens_.at_end() && !tokens_.accept(")")) {
      declaration.managed |= tokens_.take() == ".managed";
    }
  }

  // Skips `= value` or `= {...}`; gives the number of elements, which sizes `name[]`.
  bool skip_initialiser(std::uint64_t& elements) {
    elements = 1;
    if (tokens_.peek() != "{") {
      while (!tokens_.at_end() && tokens_.peek() != "," && tokens_.peek() != ";") {
        tokens_.take();
      }
      return true;
    }
    std::size_t depth = 0;
    do {
      const std::string_view token = tokens_.take();
      if (token.empty()) {
        return false;
      }
      depth += token == "{" || token == "(" ? 1U : 0U;
      depth -= token == "}" || token == ")" ? 1U : 0U;
      elements += token == "," && depth == 1 ? 1U : 0U;
    } while (depth != 0);
    return true;
  }

  bool read_variables(std::string_view space) {
    Declaration declaration;
    if (!read_declaration(declaration)) {
      return false;
    }
    for (;;) {
      if (tokens_.accept("=")) {
        std::uint64_t elements = 0;
        if (!skip_initialiser(elements)) {
          return false;
        }
        declaration.bytes *= unsized_ ? elements : 1;
      } else if (unsized_) {
        declaration.bytes = 0;
      }
      add_variable(space, declaration);
      if (tokens_.accept(";")) {
        return true;
      }
      if (!tokens_.accept(",") || !read_name(declaration)) {
        return false;
      }
    }
  }

  void add_variable(std::string_view space, const Declaration& declaration) {
    if (space == ".shared") {
      shared_[declaration.name] = declaration;
      return;
    }
    const auto where = space == ".const" ? VariableSpace::constant : VariableSpace::global;
    module_.variables.push_back(
        {declaration.name, declaration.bytes, where, declaration.managed});
  }

  bool skip_function() {
    while (!tokens_.at_end() && tokens_.peek() != "{" && tokens_.peek() != ";") {
      tokens_.take();
    }
    return tokens_.peek() == "{" ? tokens_.skip_braces() : tokens_.accept(";");
  }

  bool read_entry() {
    KernelDescription kernel;
    kernel.name = tokens_.take();
    if (tokens_.accept("(") && !read_parameters(kernel)) {
      return false;
    }
    while (!tokens_.at_end() && tokens_.peek() != "{" && tokens_.peek() != ";") {
      const std::string_view token = tokens_.take();
      if (token == ".maxntid" || token == ".reqntid") {
        read_thread_limit(kernel);
      }
    }
    if (tokens_.accept(";")) {
      return true;  // a declaration only
    }
    if (tokens_.peek() != "{" || !read_body(kernel)) {
      return false;
    }
    module_.kernels.push_back(std::move(kernel));
    return true;
  }

  bool read_parameters(KernelDescription& kernel) {
    std::uint64_t offset = 0;
    while (!tokens_.accept(")")) {
      Declaration declaration;
      if (kernel.parameters.size() == kMaxParameters || !read_declaration(declaration) ||
          declaration.bytes > kMaxParameterBytes) {
        return false;
      }
      offset = (offset + declaration.alignment - 1) / declaration.alignment *
               declaration.alignment;
      if (offset + declaration.bytes > kMaxParameterBytes) {
        return false;
      }
      kernel.parameters.push_back({static_cast<std::uint32_t>(offset),
                                   static_cast<std::uint32_t>(declaration.bytes),
                                   declaration.maybe_pointer});
      offset += declaration.bytes;
      tokens_.accept(",");
    }
    kernel.parameter_bytes = static_cast<std::uint32_t>(offset);
    return true;
  }

  void read_thread_limit(KernelDescription& kernel) {
    std::uint64_t threads = 1;
    do {
      const auto number = tokens_.take_number();
      threads *= number && *number <= 1024 ? *number : 1024;
      threads = std::min<std::uint64_t>(threads, 1024);
    } while (tokens_.accept(","));
    kernel.max_threads_per_block = static_cast<std::int32_t>(threads);
  }

  // Adds up the .shared variables that the body declares or names.
  bool read_body(KernelDescription& kernel) {
    std::uint64_t shared = 0;
    const auto add = [&shared](const Declaration& one) {
      shared = (shared + one.alignment - 1) / one.alignment * one.alignment + one.bytes;
      shared = std::min<std::uint64_t>(shared, 1U << 30);
    };
    std::unordered_set<std::string> seen;
    std::size_t depth = 0;
    do {
      const std::string_view token = tokens_.take();
      if (token.empty()) {
        return false;
      }
      if (token == "{") {
        ++depth;
      } else if (token == "}") {
        --depth;
      } else if (token == ".shared" && tokens_.peek().starts_with('.')) {
        // Either a declaration, or the state space of an instruction such as ld.shared.u32.
        Declaration declaration;
        if (read_declaration(declaration) && tokens_.accept(";") && !unsized_) {
          add(declaration);
        }
      } else if (!shared_.empty()) {
        const auto found = shared_.find(std::string(token));
        if (found != shared_.end() && seen.insert(found->first).second) {
          add(found->second);
        }
      }
    } while (depth != 0);
    kernel.static_shared_bytes = static_cast<std::int32_t>(shared);
    return true;
  }

  PtxTokens tokens_;
  ModuleDescription module_;
  std::unordered_map<std::string, Declaration> shared_;
  Type element_{0, false};
  std::uint64_t lanes_ = 1;
  bool unsized_ = false;
};

}  // namespace

bool looks_like_ptx(std::string_view text) noexcept {
  return PtxTokens(text).peek() == ".version";
}

Result<ModuleDescription> describe_ptx(std::string_view text) { return Scanner(text).run(); }

}  // namespace phos::code_images
