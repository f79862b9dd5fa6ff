// SPDX-License-Identifier: Apache-2.0
// From text to program: the layout of shared memory, the lowering of every function, and the tables
// that the driver reads.
#include <algorithm>
#include <unordered_set>

#include "../../memory/address_space.h"
#include "../refusal.h"
#include "../run/runner.h"
#include "../text/parser.h"
#include "lowering.h"

namespace phos::sim::ptx {

RunnerPool::RunnerPool() = default;
RunnerPool::~RunnerPool() = default;

namespace {

using SharedOffsets = std::unordered_map<const text::Variable*, std::uint32_t>;

constexpr std::uint64_t kMaxShared = 1U << 20;

struct SharedUse {
  std::vector<const text::Variable*> variables;  // with a size, in order of appearance
  bool calls = false;
};

void visit(const text::Operand& operand, const text::Module& module,
           std::vector<const text::Variable*>& out,
           std::unordered_set<const text::Variable*>& seen) {
  if (operand.kind == text::OperandKind::symbol) {
    const auto known = module.variable_index.find(operand.name);
    if (known != module.variable_index.end()) {
      const text::Variable& variable = module.variables[known->second];
      if (variable.space == Space::shared && variable.bytes != 0 && seen.insert(&variable).second) {
        out.push_back(&variable);
      }
    }
  }
  for (const text::Operand& element : operand.elements) {
    visit(element, module, out, seen);
  }
}

SharedUse shared_use(const text::Function& function, const text::Module& module) {
  SharedUse use;
  std::unordered_set<const text::Variable*> seen;
  for (const text::Operand& operand : function.operands) {
    visit(operand, module, use.variables, seen);
  }
  for (const text::Variable& variable : function.variables) {
    if (variable.space == Space::shared && variable.bytes != 0) {
      use.variables.push_back(&variable);
    }
  }
  for (const text::Instruction& in : function.code) {
    use.calls = use.calls || module.forms[in.form].base == "call";
  }
  return use;
}

std::uint32_t place(const std::vector<const text::Variable*>& variables, std::uint64_t start,
                    SharedOffsets& offsets) {
  for (const text::Variable* variable : variables) {
    if (offsets.contains(variable)) {
      continue;
    }
    start = (start + variable->align - 1) / variable->align * variable->align;
    offsets[variable] = static_cast<std::uint32_t>(start);
    start += variable->bytes;
    if (start > kMaxShared) {
      refuse(variable->line, {}, "shared variables take more memory than a block can have");
    }
  }
  return static_cast<std::uint32_t>(start);
}

VariableInfo describe(const text::Variable& variable) {
  VariableInfo info;
  info.name = variable.name;
  info.space = variable.space == Space::constant ? VariableSpace::constant
                                                 : VariableSpace::global;
  info.bytes = variable.bytes;
  info.align = variable.align;
  info.managed = variable.managed;
  info.external = variable.external;
  info.visible = variable.visible;
  info.initial = variable.initial;
  return info;
}

KernelInfo describe_kernel(const text::Function& function, const CodeFunction& code) {
  KernelInfo info;
  info.name = function.name;
  std::uint64_t offset = 0;
  for (const text::Variable& parameter : function.params) {
    offset = (offset + parameter.align - 1) / parameter.align * parameter.align;
    info.parameters.push_back({static_cast<std::uint32_t>(offset),
                               static_cast<std::uint32_t>(parameter.bytes), parameter.align});
    offset += parameter.bytes;
  }
  if (offset > 32764) {
    refuse(function.line, {}, "the parameters of kernel " + info.name + " take too many bytes");
  }
  info.parameter_bytes = static_cast<std::uint32_t>(offset);
  info.static_shared_bytes = code.static_shared_bytes;
  info.local_bytes = code.local_bytes;
  info.max_threads = function.max_threads != 0 ? function.max_threads : 1024;
  if (function.required[0] != 0) {
    info.required_block = Dim3{function.required[0], function.required[1], function.required[2]};
  }
  info.min_blocks = function.min_blocks;
  info.registers = code.register_estimate;
  info.uses_grid_sync = code.uses_grid_sync;
  return info;
}

void add_relocations(ModuleContext& context, std::uint32_t index, const text::Variable& variable) {
  for (const text::Relocation& r : variable.relocations) {
    Relocation out;
    out.variable = index;
    out.offset = r.offset;
    out.bytes = r.bytes;
    out.shift = r.shift;
    out.addend = r.addend;
    const auto target = context.variables.find(r.symbol);
    const auto function = context.functions.find(r.symbol);
    if (target != context.variables.end()) {
      out.target = target->second;
    } else if (function != context.functions.end()) {
      out.to_function = true;
      out.target = function->second;
    } else {
      refuse(variable.line, {}, "the initial value of " + std::string(variable.name) +
             " names '" + std::string(r.symbol) + "', which has no address");
    }
    context.program.relocations.push_back(out);
  }
}

void declare_all(ModuleContext& context) {
  Program& program = context.program;
  for (const text::Variable& variable : context.text.variables) {
    if (variable.space == Space::global || variable.space == Space::constant) {
      context.variables[variable.name] = static_cast<std::uint32_t>(program.variables.size());
      program.variables.push_back({describe(variable), 0});
      program.variable_infos.push_back(program.variables.back().info);
    }
  }
  for (std::size_t i = 0; i < context.text.functions.size(); ++i) {
    context.functions[context.text.functions[i]->name] = static_cast<std::uint32_t>(i);
  }
  for (const auto& [name, target] : context.text.aliases) {
    const auto known = context.functions.find(target);
    if (known != context.functions.end()) {
      context.functions[name] = known->second;
    }
  }
  for (const text::Variable& variable : context.text.variables) {
    const auto index = context.variables.find(variable.name);
    if (index != context.variables.end()) {
      add_relocations(context, index->second, variable);
    }
  }
}

void lower_all(ModuleContext& context) {
  Program& program = context.program;
  const text::Module& module = context.text;
  std::vector<SharedUse> uses;
  SharedOffsets common;
  std::uint32_t common_bytes = 0;
  for (const auto& function : module.functions) {
    uses.push_back(shared_use(*function, module));
    if (!function->entry) {
      common_bytes = place(uses.back().variables, common_bytes, common);
    }
  }
  program.functions.resize(module.functions.size());
  for (std::size_t i = 0; i < module.functions.size(); ++i) {
    const text::Function& function = *module.functions[i];
    CodeFunction& code = program.functions[i];
    code.name = function.name;
    code.entry = function.entry;
    code.defined = function.defined;
    if (!function.defined) {
      continue;
    }
    SharedOffsets offsets = common;
    std::uint32_t bytes = common_bytes;
    if (function.entry) {
      const auto& own = uses[i].variables;
      const bool shares = uses[i].calls ||
                          std::any_of(own.begin(), own.end(), [&](const text::Variable* v) {
                            return common.contains(v);
                          });
      bytes = place(own, shares ? common_bytes : 0, offsets);
    }
    code.static_shared_bytes = bytes;
    Lowering(context, function, code, std::move(offsets), bytes).run();
    if (function.entry) {
      program.kernel_functions.push_back(static_cast<std::uint32_t>(i));
      program.kernels.push_back(describe_kernel(function, code));
      program.pools.push_back(std::make_unique<RunnerPool>());
    }
  }
}

}  // namespace

std::unique_ptr<Program> build_program(std::span<const std::string_view> texts) {
  if (texts.size() != 1) {
    throw Refusal{{kErrorInvalidPtx, 0, {}, "one PTX text is expected"}};
  }
  const text::Module module = text::parse(texts.front());
  auto program = std::make_unique<Program>();
  program->function_base = kFunctionWindow;
  for (const text::Form& form : module.forms) {
    program->forms.emplace_back(form.text);
  }
  ModuleContext context{*program, module, {}, {}};
  declare_all(context);
  lower_all(context);
  return program;
}

}  // namespace phos::sim::ptx
