// SPDX-License-Identifier: Apache-2.0
#include "drivers/cuda/reservations.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "phos/placing.h"

namespace phos::cuda {
namespace {

constexpr std::uint64_t kStep = std::uint64_t{2} << 20;
constexpr int kTries = 64;

std::atomic<std::uint64_t> g_next[kReservationLanes];
bool g_log = false;

void* next_of(std::uint32_t lane, std::size_t length) {
  const std::uint64_t room = (length + kStep - 1) / kStep * kStep;
  const std::uint64_t at = g_next[lane].fetch_add(room);
  if (room < length || at > kReservationLaneBytes - room) return nullptr;
  return reinterpret_cast<void*>(kReservationsBase + lane * kReservationLaneBytes + at);
}

void log_call(const char* how, void* result, std::size_t length, int prot, int flags, int fd) {
  std::fprintf(stderr, "phos: driver mmap %s %p bytes 0x%zx prot %d flags 0x%x fd %d%s\n", how,
               result, length, prot, static_cast<unsigned int>(flags), fd,
               t_placing != 0 ? " placing" : "");
}

void* own_mmap(void* hint, std::size_t length, int prot, int flags, int fd, off_t offset) {
  const bool anonymous = (flags & MAP_ANONYMOUS) != 0;
  const bool fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT)) != 0;
  if (hint == nullptr && anonymous && !fixed && length != 0) {
    const std::uint32_t lane = (t_placing != 0 ? 0U : 2U) + (prot == PROT_NONE ? 0U : 1U);
    for (int i = 0; i < kTries; ++i) {
      void* const at = next_of(lane, length);
      if (at == nullptr) break;
      void* const got = ::mmap(at, length, prot, flags | MAP_FIXED_NOREPLACE, fd, offset);
      if (got == at) {
        if (g_log) log_call("own", got, length, prot, flags, fd);
        return got;
      }
      // A kernel before 4.17 takes the flag for a hint.
      if (got != MAP_FAILED) ::munmap(got, length);
      if (got == MAP_FAILED && errno != EEXIST) break;
    }
  }
  void* const got = ::mmap(hint, length, prot, flags, fd, offset);
  const int error = errno;
  if (g_log) log_call(hint == nullptr ? "kernel" : "hint", got, length, prot, flags, fd);
  errno = error;
  return got;
}

// What the dynamic section of a loaded library says; addresses are of this process.
struct Dynamic {
  const ElfW(Sym)* symbols = nullptr;
  const char* names = nullptr;
  const ElfW(Rela)* tables[2] = {nullptr, nullptr};
  std::size_t bytes[2] = {0, 0};
};

Dynamic dynamic_of(const link_map& map) {
  Dynamic found;
  for (const ElfW(Dyn)* entry = map.l_ld; entry->d_tag != DT_NULL; ++entry) {
    // SAFETY: the loader has relocated these addresses (glibc does on x86-64 and AArch64).
    const auto at = entry->d_un.d_ptr;
    switch (entry->d_tag) {
      case DT_SYMTAB: found.symbols = reinterpret_cast<const ElfW(Sym)*>(at); break;
      case DT_STRTAB: found.names = reinterpret_cast<const char*>(at); break;
      case DT_JMPREL: found.tables[0] = reinterpret_cast<const ElfW(Rela)*>(at); break;
      case DT_PLTRELSZ: found.bytes[0] = entry->d_un.d_val; break;
      case DT_RELA: found.tables[1] = reinterpret_cast<const ElfW(Rela)*>(at); break;
      case DT_RELASZ: found.bytes[1] = entry->d_un.d_val; break;
      default: break;
    }
  }
  return found;
}

bool names_function(std::uint64_t info) {
#if defined(__x86_64__)
  const auto type = ELF64_R_TYPE(info);
  return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT || type == R_X86_64_64;
#elif defined(__aarch64__)
  const auto type = ELF64_R_TYPE(info);
  return type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT || type == R_AARCH64_ABS64;
#else
  return info != info;
#endif
}

// The pages that the loader made read-only when it had relocated them.
struct Sealed {
  std::uint64_t base = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

int find_sealed(dl_phdr_info* info, std::size_t, void* user) {
  auto& sealed = *static_cast<Sealed*>(user);
  if (info->dlpi_addr != sealed.base) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type != PT_GNU_RELRO) continue;
    sealed.begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    sealed.end = sealed.begin + info->dlpi_phdr[i].p_memsz;
  }
  return 1;
}

bool write_slot(std::uint64_t slot, const Sealed& sealed) {
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  void* const start = reinterpret_cast<void*>(slot / page * page);
  if (mprotect(start, page, PROT_READ | PROT_WRITE) != 0) return false;
  // SAFETY: a relocation of the library says that it calls mmap through this word.
  *reinterpret_cast<void**>(slot) = reinterpret_cast<void*>(&own_mmap);
  if (slot >= sealed.begin && slot < sealed.end) mprotect(start, page, PROT_READ);
  return true;
}

}  // namespace

Redirection redirect_reservations(void* handle) {
  const char* const setting = std::getenv("PHOS_CUDA_RESERVATIONS");
  const std::string_view asked = setting == nullptr ? "" : setting;
  if (asked == "kernel") return {0, "the driver's reservations lie where the kernel puts them"};
  g_log = asked == "log";
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map == nullptr) {
    return {0, "the loader does not say where the driver lies"};
  }
  Sealed sealed;
  sealed.base = map->l_addr;
  dl_iterate_phdr(find_sealed, &sealed);
  const Dynamic dynamic = dynamic_of(*map);
  if (dynamic.symbols == nullptr || dynamic.names == nullptr) return {0, "it has no symbols"};
  Redirection done;
  for (std::size_t table = 0; table < 2; ++table) {
    if (dynamic.tables[table] == nullptr) continue;
    const std::size_t count = dynamic.bytes[table] / sizeof(ElfW(Rela));
    for (std::size_t i = 0; i < count; ++i) {
      const ElfW(Rela)& relocation = dynamic.tables[table][i];
      if (!names_function(relocation.r_info)) continue;
      const ElfW(Sym)& symbol = dynamic.symbols[ELF64_R_SYM(relocation.r_info)];
      const std::string_view name = dynamic.names + symbol.st_name;
      if (symbol.st_shndx != SHN_UNDEF || (name != "mmap" && name != "mmap64")) continue;
      if (write_slot(map->l_addr + relocation.r_offset, sealed)) ++done.slots;
    }
  }
  done.message = "mmap of the driver redirected at " + std::to_string(done.slots) + " places";
  return done;
}

}  // namespace phos::cuda
