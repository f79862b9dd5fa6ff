// SPDX-License-Identifier: Apache-2.0
#include "cubin.h"

#include <elf.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "limits.h"

namespace phos::code_images {
namespace {

constexpr std::uint16_t kMachineCuda = 190;  // EM_CUDA
constexpr std::uint8_t kOtherKernel = 0x10;  // st_other of a symbol that can be launched
constexpr std::uint8_t kOtherManaged = 0x04;
// Attribute numbers of .nv.info records.
constexpr std::uint8_t kInfoMaxThreads = 0x05;
constexpr std::uint8_t kInfoReqThreads = 0x10;
constexpr std::uint8_t kInfoFrameSize = 0x11;
constexpr std::uint8_t kInfoParameter = 0x17;
constexpr std::uint8_t kInfoRegisters = 0x2F;
constexpr std::uint8_t kInfoParameterWide = 0x45;
constexpr std::uint8_t kFormatPayload = 4;

struct Ordinal {
  std::uint16_t ordinal;
  ParameterDescription parameter;
};

class CubinReader {
 public:
  explicit CubinReader(Bytes bytes) : reader_(bytes) {}

  Result<ModuleDescription> run() {
    const auto header = reader_.at<Elf64_Ehdr>(0);
    if (!header || header->e_machine != kMachineCuda || header->e_shentsize != sizeof(Elf64_Shdr)) {
      return ImageError::malformed_elf;
    }
    // From ABI version 8 on the architecture lies above the low byte of e_flags.
    const bool wide = header->e_ident[EI_OSABI] == 0x41 || header->e_ident[EI_ABIVERSION] >= 8;
    module_.sm = wide ? (header->e_flags >> 8) & 0xFFFFU : header->e_flags & 0xFFU;
    if (!read_sections(*header) || !read_symbols() || !read_all_info()) {
      return ImageError::malformed_elf;
    }
    finish();
    return std::move(module_);
  }

 private:
  bool read_sections(const Elf64_Ehdr& header) {
    for (std::uint32_t i = 0; i < header.e_shnum; ++i) {
      const auto section =
          reader_.at<Elf64_Shdr>(header.e_shoff + std::uint64_t{i} * sizeof(Elf64_Shdr));
      if (!section) {
        return false;
      }
      sections_.push_back(*section);
    }
    if (header.e_shstrndx >= sections_.size()) {
      return false;
    }
    const Elf64_Shdr& strings = sections_[header.e_shstrndx];
    const auto table = reader_.slice(strings.sh_offset, strings.sh_size);
    if (!table) {
      return false;
    }
    for (const Elf64_Shdr& section : sections_) {
      const auto name = SpanReader(*table).text(section.sh_name);
      if (!name) {
        return false;
      }
      section_names_.push_back(*name);
    }
    return true;
  }

  bool read_symbols() {
    for (const Elf64_Shdr& section : sections_) {
      if (section.sh_type != SHT_SYMTAB) {
        continue;
      }
      const auto table = reader_.slice(section.sh_offset, section.sh_size);
      if (!table || section.sh_link >= sections_.size()) {
        return false;
      }
      const Elf64_Shdr& strings = sections_[section.sh_link];
      const auto names = reader_.slice(strings.sh_offset, strings.sh_size);
      const std::size_t count = table->size() / sizeof(Elf64_Sym);
      if (!names || count > kMaxSymbols) {
        return false;
      }
      for (std::size_t i = 0; i < count; ++i) {
        const auto symbol = SpanReader(*table).at<Elf64_Sym>(i * sizeof(Elf64_Sym));
        const auto name = SpanReader(*names).text(symbol->st_name);
        if (!name) {
          return false;
        }
        add_symbol(static_cast<std::uint32_t>(i), *symbol, *name);
      }
    }
    return true;
  }

  void add_symbol(std::uint32_t index, const Elf64_Sym& symbol, std::string_view name) {
    if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= sections_.size()) {
      return;
    }
    const std::string_view section = section_names_[symbol.st_shndx];
    const auto type = ELF64_ST_TYPE(symbol.st_info);
    if (type == STT_FUNC && (symbol.st_other & kOtherKernel) != 0) {
      kernel_by_symbol_[index] = module_.kernels.size();
      kernel_by_name_[std::string(name)] = module_.kernels.size();
      KernelDescription kernel;
      kernel.name = name;
      kernel.static_shared_bytes = 0;
      module_.kernels.push_back(std::move(kernel));
      ordinals_.emplace_back();
      return;
    }
    const bool constant = section == ".nv.constant3";
    if (type == STT_OBJECT && (constant || section.starts_with(".nv.global"))) {
      module_.variables.push_back({std::string(name), symbol.st_size,
                                   constant ? VariableSpace::constant : VariableSpace::global,
                                   (symbol.st_other & kOtherManaged) != 0});
    }
  }

  std::optional<std::size_t> kernel_of_section(std::string_view section,
                                               std::string_view prefix) const {
    if (!section.starts_with(prefix)) {
      return std::nullopt;
    }
    const auto found = kernel_by_name_.find(std::string(section.substr(prefix.size())));
    return found == kernel_by_name_.end() ? std::nullopt : std::optional(found->second);
  }

  bool read_all_info() {
    for (std::size_t i = 0; i < sections_.size(); ++i) {
      const std::string_view name = section_names_[i];
      if (const auto kernel = kernel_of_section(name, ".nv.shared.")) {
        // From sm_90 on this includes 1 KiB that the system reserves.
        const std::uint64_t reserved = module_.sm >= 90 ? 1024 : 0;
        const std::uint64_t bytes = std::min<std::uint64_t>(sections_[i].sh_size, 1U << 20);
        module_.kernels[*kernel].static_shared_bytes =
            static_cast<std::int32_t>(bytes > reserved ? bytes - reserved : 0);
      }
      const auto kernel = kernel_of_section(name, ".nv.info.");
      if (!kernel && name != ".nv.info") {
        continue;
      }
      const auto records = reader_.slice(sections_[i].sh_offset, sections_[i].sh_size);
      if (!records || !read_info(*records, kernel)) {
        return false;
      }
    }
    return true;
  }

  // Records: u8 format, u8 attribute, u16 value or (format 4) payload length, payload.
  bool read_info(Bytes records, std::optional<std::size_t> kernel) {
    const SpanReader reader(records);
    std::uint64_t at = 0;
    while (at + 4 <= reader.size()) {
      const auto format = *reader.at<std::uint8_t>(at);
      const auto attribute = *reader.at<std::uint8_t>(at + 1);
      const std::uint16_t value = *reader.at<std::uint16_t>(at + 2);
      at += 4;
      if (format != kFormatPayload) {
        continue;
      }
      const auto payload = reader.slice(at, value);
      if (!payload) {
        return false;
      }
      at += value;
      if (kernel) {
        read_kernel_record(attribute, SpanReader(*payload), *kernel);
      } else {
        read_module_record(attribute, SpanReader(*payload));
      }
    }
    return true;
  }

  void read_kernel_record(std::uint8_t attribute, SpanReader payload, std::size_t kernel) {
    if (attribute == kInfoMaxThreads || attribute == kInfoReqThreads) {
      const auto x = payload.at<std::uint32_t>(0);
      const auto y = payload.at<std::uint32_t>(4);
      const auto z = payload.at<std::uint32_t>(8);
      if (x && y && z && *x <= 1024 && *y <= 1024 && *z <= 1024) {
        module_.kernels[kernel].max_threads_per_block =
            static_cast<std::int32_t>(std::min(1024U, *x * *y * *z));
      }
      return;
    }
    if (attribute != kInfoParameter && attribute != kInfoParameterWide) {
      return;
    }
    const auto ordinal = payload.at<std::uint16_t>(4);
    const auto offset = payload.at<std::uint16_t>(6);
    const auto word = payload.at<std::uint32_t>(8);
    if (!ordinal || !offset || !word || ordinals_[kernel].size() >= kMaxParameters) {
      return;
    }
    const std::uint32_t bytes = attribute == kInfoParameter ? *word >> 18 : *word;
    // What no kernel can have is not one of its parameters, and its end must not wrap around.
    if (bytes > kMaxParameterBytes || *offset > kMaxParameterBytes - bytes) return;
    ordinals_[kernel].push_back({*ordinal, {*offset, bytes, bytes >= 8}});
  }

  void read_module_record(std::uint8_t attribute, SpanReader payload) {
    const auto symbol = payload.at<std::uint32_t>(0);
    const auto number = payload.at<std::uint32_t>(4);
    if (!symbol || !number || *number > (1U << 24)) {
      return;
    }
    const auto found = kernel_by_symbol_.find(*symbol);
    if (found == kernel_by_symbol_.end()) {
      return;
    }
    if (attribute == kInfoRegisters) {
      module_.kernels[found->second].registers = static_cast<std::int32_t>(*number);
    } else if (attribute == kInfoFrameSize) {
      module_.kernels[found->second].local_bytes = static_cast<std::int32_t>(*number);
    }
  }

  // The records come in descending order of ordinal.
  void finish() {
    for (std::size_t i = 0; i < module_.kernels.size(); ++i) {
      auto& ordinals = ordinals_[i];
      std::sort(ordinals.begin(), ordinals.end(),
                [](const Ordinal& a, const Ordinal& b) { return a.ordinal < b.ordinal; });
      auto& kernel = module_.kernels[i];
      for (const Ordinal& entry : ordinals) {
        kernel.parameters.push_back(entry.parameter);
        kernel.parameter_bytes = std::max(kernel.parameter_bytes,
                                          entry.parameter.offset + entry.parameter.bytes);
      }
    }
  }

  SpanReader reader_;
  ModuleDescription module_;
  std::vector<Elf64_Shdr> sections_;
  std::vector<std::string_view> section_names_;
  std::unordered_map<std::string, std::size_t> kernel_by_name_;
  std::unordered_map<std::uint32_t, std::size_t> kernel_by_symbol_;
  std::vector<std::vector<Ordinal>> ordinals_;
};

}  // namespace

Result<std::uint64_t> elf_bytes(Bytes bytes) {
  const SpanReader reader(bytes);
  const auto header = reader.at<Elf64_Ehdr>(0);
  if (!header) {
    return ImageError::truncated;
  }
  if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
    return ImageError::unknown_format;
  }
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB) {
    return ImageError::malformed_elf;
  }
  if (header->e_shnum != 0 && header->e_shentsize != sizeof(Elf64_Shdr)) {
    return ImageError::malformed_elf;
  }
  const auto end_of = [](std::uint64_t offset, std::uint64_t length) -> std::uint64_t {
    return offset > kMaxImageBytes || length > kMaxImageBytes ? kMaxImageBytes + 1
                                                              : offset + length;
  };
  std::uint64_t end = sizeof(Elf64_Ehdr);
  end = std::max(end, end_of(header->e_phoff,
                             std::uint64_t{header->e_phnum} * header->e_phentsize));
  end = std::max(end, end_of(header->e_shoff,
                             std::uint64_t{header->e_shnum} * header->e_shentsize));
  if (end > kMaxImageBytes) {
    return ImageError::too_large;
  }
  for (std::uint32_t i = 0; i < header->e_shnum; ++i) {
    const auto section =
        reader.at<Elf64_Shdr>(header->e_shoff + std::uint64_t{i} * sizeof(Elf64_Shdr));
    if (!section) {
      return ImageError::truncated;
    }
    if (section->sh_type != SHT_NOBITS && section->sh_type != SHT_NULL) {
      end = std::max(end, end_of(section->sh_offset, section->sh_size));
    }
  }
  if (end > kMaxImageBytes) {
    return ImageError::too_large;
  }
  return end;
}

Result<ModuleDescription> describe_cubin(Bytes bytes) { return CubinReader(bytes).run(); }

}  // namespace phos::code_images
