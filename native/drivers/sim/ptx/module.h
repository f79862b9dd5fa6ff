// SPDX-License-Identifier: Apache-2.0
// A PTX module: what it declares, and its code made ready to run. A module is loaded once, bound to
// the addresses of its variables once, and then only read, so kernels of it may run at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diagnostic.h"

namespace phos::sim {
class AddressSpace;
}

namespace phos::sim::ptx {

struct Program;  // the lowered code (program.h)

struct Parameter {
  std::uint32_t offset = 0;  // in the parameter buffer
  std::uint32_t bytes = 0;
  std::uint32_t align = 1;
};

struct KernelInfo {
  std::string name;
  std::vector<Parameter> parameters;
  std::uint32_t parameter_bytes = 0;
  std::uint32_t static_shared_bytes = 0;
  std::uint32_t local_bytes = 0;      // per thread, of the kernel itself without its callees
  std::uint32_t max_threads = 1024;   // per block, from .maxntid or .reqntid
  std::optional<Dim3> required_block;  // .reqntid
  std::uint32_t min_blocks = 0;       // .minnctapersm
  std::uint32_t registers = 0;        // per thread, estimated: 16 to 255
  bool uses_grid_sync = false;        // reads the grid workspace of a cooperative launch
};

enum class VariableSpace : std::uint8_t { global, constant };

struct VariableInfo {
  std::string name;
  VariableSpace space = VariableSpace::global;
  std::uint64_t bytes = 0;
  std::uint32_t align = 1;
  bool managed = false;
  bool external = false;           // declared here, defined in another module
  bool visible = false;            // has a name that other modules and the host may use
  std::vector<std::byte> initial;  // leading bytes; what is missing is zero
};

// A place in the memory of a variable that holds an address.
struct Relocation {
  std::uint32_t variable = 0;  // whose memory is written
  std::uint64_t offset = 0;
  std::uint8_t bytes = 8;      // 8, 4, 2 or 1; one byte is selected by `shift`
  std::uint8_t shift = 0;      // bits that the value is moved right before it is stored
  bool to_function = false;
  std::uint32_t target = 0;    // index of a variable or of a function
  std::int64_t addend = 0;
};

class Module {
 public:
  struct Loaded;

  // Never throws on bad input. Errors: 218 for text that is not valid PTX or that uses what the
  // device lacks (message names line and opcode), 200 for text that is not PTX at all.
  static Loaded load(std::string_view ptx);
  // Several texts as one module: what one declares .extern another defines. For cuLink and -rdc.
  static Loaded link(std::span<const std::string_view> texts);

  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  std::span<const KernelInfo> kernels() const noexcept;
  std::optional<std::uint32_t> find_kernel(std::string_view name) const;
  std::span<const VariableInfo> variables() const noexcept;
  std::optional<std::uint32_t> find_variable(std::string_view name) const;
  std::span<const Relocation> relocations() const noexcept;

  // Tells the device address of a variable. The driver has allocated `bytes` there.
  void bind(std::uint32_t variable, std::uint64_t address);
  std::uint64_t address_of(std::uint32_t variable) const noexcept;
  // Device functions live at base + 16 * index; the default is kFunctionWindow. To be called before
  // initialise(), with a range of its own for every module whose function addresses may meet.
  void set_function_base(std::uint64_t base) noexcept;
  std::uint32_t function_count() const noexcept;
  std::optional<std::uint64_t> function_address(std::string_view name) const;

  // Once every variable is bound: writes initial bytes and relocated addresses of all variables
  // into their memory, and makes the kernels ready. Error: a variable without memory (200).
  [[nodiscard]] Diagnostic initialise(const AddressSpace& memory);
  // As initialise(), for memory that holds its values already (after a restore).
  [[nodiscard]] Diagnostic attach();

  const Program& program() const noexcept { return *program_; }

 private:
  explicit Module(std::unique_ptr<Program> program);
  std::unique_ptr<Program> program_;
};

struct Module::Loaded {
  std::unique_ptr<Module> module;  // null if refused
  Diagnostic diagnostic;
};

}  // namespace phos::sim::ptx
