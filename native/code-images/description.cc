// SPDX-License-Identifier: Apache-2.0
#include "description.h"

#include <unordered_set>
#include <utility>

#include "cubin.h"
#include "fatbin.h"
#include "image.h"
#include "ptx_scan.h"

namespace phos::code_images {
namespace {

std::string_view as_text(Bytes bytes) noexcept {
  const auto* start = reinterpret_cast<const char*>(bytes.data());
  const std::string_view text(start, bytes.size());
  return text.substr(0, text.find('\0'));
}

// An 'a' target runs on exactly that architecture, an 'f' target on its family: the same major
// number, from its minor number up.
bool admits(const FatbinEntry& entry, std::uint32_t sm) noexcept {
  if (entry.arch_specific) {
    return entry.sm == sm;
  }
  if (entry.family_specific) {
    return entry.sm / 10 == sm / 10 && entry.sm <= sm;
  }
  return true;
}

// The highest PTX not above the device, else the lowest above it.
const FatbinEntry* choose_ptx(const std::vector<FatbinEntry>& entries, const Target& target) {
  const FatbinEntry* below = nullptr;
  const FatbinEntry* above = nullptr;
  for (const FatbinEntry& entry : entries) {
    if (entry.kind != EntryKind::ptx || !admits(entry, target.sm)) {
      continue;
    }
    if (entry.sm <= target.sm) {
      below = below == nullptr || entry.sm > below->sm ? &entry : below;
    } else if (target.accepts_newer_ptx) {
      above = above == nullptr || entry.sm < above->sm ? &entry : above;
    }
  }
  return below != nullptr ? below : above;
}

// Cubins are compatible within one major number, upwards from their minor number.
const FatbinEntry* choose_cubin(const std::vector<FatbinEntry>& entries, std::uint32_t sm) {
  const FatbinEntry* best = nullptr;
  for (const FatbinEntry& entry : entries) {
    const bool fits = entry.kind == EntryKind::elf && admits(entry, sm) &&
                      entry.sm / 10 == sm / 10 && entry.sm <= sm;
    if (fits && (best == nullptr || entry.sm > best->sm)) {
      best = &entry;
    }
  }
  return best;
}

// Adds one entry's description; the first to name a kernel or variable is believed.
class Merger {
 public:
  void add(ModuleDescription&& from) {
    module_.sm = module_.sm == 0 ? from.sm : module_.sm;
    module_.from_ptx = module_.from_ptx || from.from_ptx;
    for (auto& kernel : from.kernels) {
      if (kernels_.insert(kernel.name).second) {
        module_.kernels.push_back(std::move(kernel));
      }
    }
    for (auto& variable : from.variables) {
      if (variables_.insert(variable.name).second) {
        module_.variables.push_back(std::move(variable));
      }
    }
  }
  ModuleDescription take() { return std::move(module_); }

 private:
  ModuleDescription module_;
  std::unordered_set<std::string> kernels_;
  std::unordered_set<std::string> variables_;
};

Result<ModuleDescription> describe_entry(const FatbinEntry& entry) {
  const auto plain = plain_payload(entry);
  if (!plain.ok()) {
    return plain.error();
  }
  if (entry.kind == EntryKind::elf) {
    return describe_cubin(plain.value());
  }
  return describe_ptx(as_text(plain.value()));
}

Result<std::vector<std::string>> select_from(const ImageExtent& extent, const Target& target) {
  std::vector<std::string> texts;
  if (extent.kind == ImageKind::ptx) {
    texts.emplace_back(as_text(extent.parts.front()));
    return texts;
  }
  if (extent.kind == ImageKind::elf) {
    return ImageError::no_ptx;
  }
  for (const Bytes part : extent.parts) {
    const auto entries = fatbin_entries(part);
    if (!entries.ok()) {
      return entries.error();
    }
    const FatbinEntry* entry = choose_ptx(entries.value(), target);
    if (entry == nullptr) {
      continue;
    }
    const auto plain = plain_payload(*entry);
    if (!plain.ok()) {
      return plain.error();
    }
    texts.emplace_back(as_text(plain.value()));
  }
  if (texts.empty()) {
    return ImageError::no_ptx;
  }
  return texts;
}

// One pass over the parts: what `choose` picks of each is described and merged.
template <class Choose>
Result<ModuleDescription> describe_chosen(const ImageExtent& extent, bool& any, Choose choose) {
  Merger module;
  for (const Bytes part : extent.parts) {
    const auto entries = fatbin_entries(part);
    if (!entries.ok()) {
      return entries.error();
    }
    for (const FatbinEntry* entry : choose(entries.value())) {
      auto one = describe_entry(*entry);
      if (!one.ok()) {
        return one.error();
      }
      any = true;
      module.add(std::move(one.value()));
    }
  }
  return module.take();
}

using Choice = std::vector<const FatbinEntry*>;

Choice just(const FatbinEntry* entry) { return entry == nullptr ? Choice{} : Choice{entry}; }

Result<ModuleDescription> describe_fatbins(const ImageExtent& extent, const Target& target) {
  bool any = false;
  if (target.accepts_cubins) {
    ImageExtent linked = extent;
    linked.parts.resize(1);  // relocatable cubins of the other parts are in it already
    auto module = describe_chosen(linked, any, [&](const std::vector<FatbinEntry>& entries) {
      return just(choose_cubin(entries, target.sm));
    });
    if (any || !module.ok()) {
      return module;
    }
  }
  auto module = describe_chosen(extent, any, [&](const std::vector<FatbinEntry>& entries) {
    return just(choose_ptx(entries, target));
  });
  if (any || !module.ok()) {
    return module;
  }
  // No code for this device: describe what there is, so that names and sizes are still known.
  return describe_chosen(extent, any, [](const std::vector<FatbinEntry>& entries) {
    Choice all;
    for (const FatbinEntry& entry : entries) {
      if (entry.kind == EntryKind::elf || entry.kind == EntryKind::ptx) {
        all.push_back(&entry);
      }
    }
    return all;
  });
}

Result<ModuleDescription> describe_extent(const ImageExtent& extent, const Target& target) {
  switch (extent.kind) {
    case ImageKind::ptx:
      return describe_ptx(as_text(extent.parts.front()));
    case ImageKind::elf:
      return describe_cubin(extent.parts.front());
    case ImageKind::wrapper:
    case ImageKind::fatbin:
      break;
  }
  return describe_fatbins(extent, target);
}

template <class T>
const T* find_named(const std::vector<T>& list, std::string_view name) noexcept {
  for (const T& one : list) {
    if (one.name == name) {
      return &one;
    }
  }
  return nullptr;
}

}  // namespace

const KernelDescription* ModuleDescription::kernel(std::string_view name) const noexcept {
  return find_named(kernels, name);
}

const VariableDescription* ModuleDescription::variable(std::string_view name) const noexcept {
  return find_named(variables, name);
}

Result<std::vector<std::string>> select_ptx(const void* image, const Target& target) {
  const auto extent = image_extent(image);
  return extent.ok() ? select_from(extent.value(), target) : extent.error();
}

Result<std::vector<std::string>> select_ptx_flat(Bytes flat, const Target& target) {
  const auto extent = split_image(flat);
  return extent.ok() ? select_from(extent.value(), target) : extent.error();
}

Result<ModuleDescription> describe_image(const void* image, const Target& target) {
  const auto extent = image_extent(image);
  return extent.ok() ? describe_extent(extent.value(), target) : extent.error();
}

Result<ModuleDescription> describe_flat(Bytes flat, const Target& target) {
  const auto extent = split_image(flat);
  return extent.ok() ? describe_extent(extent.value(), target) : extent.error();
}

}  // namespace phos::code_images
