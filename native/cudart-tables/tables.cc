// SPDX-License-Identifier: Apache-2.0
#include "cudart-tables/tables.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <utility>

#include "cudart-tables/handshake.h"
#include "cudart-tables/storage.h"
#include "ring/futex.h"

namespace phos::cudart_tables {

namespace {

constinit Host g_host{};

// A table: entry 0 is its size in bytes (but for context storage), functions follow.
struct Table {
  std::uint8_t id[16];
  std::uint32_t id_bytes;  // 4 where only the start of the UUID is published
  const char* name;
  std::uint32_t entries;
  bool opens_with_size;
};

enum TableIndex : std::uint32_t {
  kInterface,
  kHooks,
  kTls,
  kStorage,
  kChecks,
  kIntegrity,
  kBlas,
  kExtra17,
  kExtra7,
  kExtra34,
  kTables,
};
constexpr std::uint32_t kMaxEntries = 93;

constexpr Table kTable[kTables] = {
    {{0x6B, 0xD5, 0xFB, 0x6C, 0x5B, 0xF4, 0xE7, 0x4A, 0x89, 0x87, 0xD9, 0x39, 0x12, 0xFD, 0x9D,
      0xF9}, 16, "CUDART_INTERFACE", 13, true},
    {{0xA0, 0x94, 0x79, 0x8C, 0x2E, 0x74, 0x2E, 0x74, 0x93, 0xF2, 0x08, 0x00, 0x20, 0x0C, 0x0A,
      0x66}, 16, "TOOLS_RUNTIME_CALLBACK_HOOKS", 7, true},
    {{0x42, 0xD8, 0x5A, 0x81, 0x23, 0xF6, 0xCB, 0x47, 0x82, 0x98, 0xF6, 0xE7, 0x8A, 0x3A, 0xEC,
      0xDC}, 16, "TOOLS_TLS", 4, true},
    {{0xC6, 0x93, 0x33, 0x6E, 0x11, 0x21, 0xDF, 0x11, 0xA8, 0xC3, 0x68, 0xF3, 0x55, 0xD8, 0x95,
      0x93}, 16, "CONTEXT_LOCAL_STORAGE_INTERFACE_V0301", 4, false},
    {{0x26, 0x3E, 0x88, 0x60, 0x7C, 0xD2, 0x61, 0x43, 0x92, 0xF6, 0xBB, 0xD5, 0x00, 0x6D, 0xFA,
      0x7E}, 16, "CONTEXT_CHECKS", 4, true},
    {{0xD4, 0x08, 0x20, 0x55, 0xBD, 0xE6, 0x70, 0x4B, 0x8D, 0x34, 0xBA, 0x12, 0x3C, 0x66, 0xE1,
      0xF2}, 16, "INTEGRITY_CHECK", 3, true},
    {{0x21, 0x31, 0x8C, 0x60, 0x97, 0x14, 0x32, 0x48, 0x8C, 0xA6, 0x41, 0xFF, 0x73, 0x24, 0xC8,
      0xF2}, 16, "21318C60 (cuBLAS)", 93, true},
    {{0x17, 0x34, 0xDC, 0x26}, 4, "1734DC26", 17, true},
    {{0xDA, 0x91, 0x51, 0xD3}, 4, "DA9151D3", 7, true},
    {{0x69, 0xA2, 0x8E, 0x9F}, 4, "69A28E9F", 34, true},
};

// SAFETY: filled once under the lock, then read by anyone; never destroyed.
constinit const void* g_slots[kTables][kMaxEntries] = {};
constinit bool g_built = false;
constinit ring::FutexLock g_lock;

// Says something once for each bit.
bool first_time(std::atomic<std::uint64_t>& told, std::uint32_t bit) noexcept {
  const std::uint64_t mask = std::uint64_t{1} << bit;
  return (told.fetch_or(mask, std::memory_order_relaxed) & mask) == 0;
}

template <std::uint32_t TableNumber, std::uint32_t Slot>
CUresult unknown_entry() noexcept {
  static std::atomic<std::uint64_t> told{0};
  if (first_time(told, 0)) {
    char line[128];
    std::snprintf(line, sizeof(line), "private table %s: entry %u is not known; it answers 801",
                  kTable[TableNumber].name, Slot);
    g_host.log(line);
  }
  return CUDA_ERROR_NOT_SUPPORTED;
}

template <class Function>
const void* address(Function* function) noexcept {
  return reinterpret_cast<const void*>(function);
}

template <std::uint32_t TableNumber, std::size_t... Slots>
void fill_unknown(std::index_sequence<Slots...>) noexcept {
  ((g_slots[TableNumber][Slots] = address(&unknown_entry<TableNumber, Slots>)), ...);
}

template <std::size_t... Numbers>
void fill_all(std::index_sequence<Numbers...>) noexcept {
  (fill_unknown<Numbers>(std::make_index_sequence<kTable[Numbers].entries>()), ...);
}

// --- CUDART_INTERFACE ---
CUresult primary_context(CUcontext* context, CUdevice device) noexcept {
  return context == nullptr ? CUDA_ERROR_INVALID_VALUE : g_host.primary_context(context, device);
}
CUresult interface_nothing(std::size_t) noexcept { return CUDA_SUCCESS; }
CUresult load_compilers() noexcept { return CUDA_SUCCESS; }

// --- TOOLS_RUNTIME_CALLBACK_HOOKS: zeroed buffers for tools that are not there ---
constinit std::uint64_t g_hook_buffer[1024] = {};
constinit std::uint64_t g_hook_flags[64] = {};
void hook_buffer(void** buffer, std::size_t* size) noexcept {
  *buffer = g_hook_buffer;
  *size = 1024;
}
void hook_flags(void** buffer, std::size_t* size) noexcept {
  *buffer = g_hook_flags;
  *size = 14;
}

// --- TOOLS_TLS ---
CUresult tls_context(CUcontext* context) noexcept {
  return context == nullptr ? CUDA_ERROR_INVALID_VALUE : g_host.current_context(context);
}

// --- CONTEXT_LOCAL_STORAGE ---
CUresult named_or_current(CUcontext* context) noexcept {
  if (*context != nullptr) return CUDA_SUCCESS;
  const CUresult status = g_host.current_context(context);
  if (status != CUDA_SUCCESS) return status;
  return *context == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}
CUresult storage_put(CUcontext context, void* key, void* value, Destructor destructor) noexcept {
  const CUresult status = named_or_current(&context);
  return status != CUDA_SUCCESS ? status : put_value(context, key, value, destructor);
}
CUresult storage_delete(CUcontext context, void* key) noexcept {
  const CUresult status = named_or_current(&context);
  return status != CUDA_SUCCESS ? status : delete_value(context, key);
}
CUresult storage_get(void** value, CUcontext context, void* key) noexcept {
  const CUresult status = named_or_current(&context);
  return status != CUDA_SUCCESS ? status : get_value(context, key, value);
}

// --- CONTEXT_CHECKS ---
CUresult check_context(CUcontext, std::uint32_t* result, const void**) noexcept {
  *result = 0;
  return CUDA_SUCCESS;
}
std::uint32_t check_nothing() noexcept { return 0; }

// --- INTEGRITY_CHECK ---
CUresult integrity(std::uint32_t version, std::uint64_t unix_seconds,
                   std::uint64_t (*answer)[2]) noexcept {
  const HandshakeQuestion question{version, unix_seconds, g_slots[kInterface],
                                   g_slots[kIntegrity], address(&integrity)};
  answer_handshake(g_host, question, *answer);
  return CUDA_SUCCESS;
}

// --- 21318C60, asked for by cuBLAS and cuBLASLt ---
CUresult blas_has_context(CUcontext context, std::uint32_t* result) noexcept {
  *result = context != nullptr ? 1 : 0;
  return CUDA_SUCCESS;
}
CUresult blas_zero(const void*, const void*, std::uint64_t* result) noexcept {
  *result = 0;
  return CUDA_SUCCESS;
}

void build() noexcept {
  fill_all(std::make_index_sequence<kTables>());
  for (std::uint32_t i = 0; i < kTables; ++i) {
    if (!kTable[i].opens_with_size) continue;
    // SAFETY: entry 0 is a number in the place of a pointer.
    g_slots[i][0] = reinterpret_cast<const void*>(std::uintptr_t{kTable[i].entries} * 8);
  }
  g_slots[kInterface][2] = address(&primary_context);
  g_slots[kInterface][7] = address(&interface_nothing);
  g_slots[kInterface][12] = address(&load_compilers);
  g_slots[kHooks][2] = address(&hook_buffer);
  g_slots[kHooks][6] = address(&hook_flags);
  g_slots[kTls][2] = address(&tls_context);
  g_slots[kStorage][0] = address(&storage_put);
  g_slots[kStorage][1] = address(&storage_delete);
  g_slots[kStorage][2] = address(&storage_get);
  g_slots[kStorage][3] = nullptr;
  g_slots[kChecks][2] = address(&check_context);
  g_slots[kChecks][3] = address(&check_nothing);
  g_slots[kIntegrity][1] = address(&integrity);
  g_slots[kBlas][4] = address(&blas_has_context);
  g_slots[kBlas][39] = address(&blas_zero);
  g_built = true;
}

void log_unknown(const CUuuid* id) noexcept {
  // A few UUIDs are asked for again and again: each is told once, as long as the list is not full.
  static constinit std::array<CUuuid, 32> told{};
  static constinit std::uint32_t count = 0;
  g_lock.lock();
  bool known = count == told.size();
  for (std::uint32_t i = 0; i < count; ++i) known |= std::memcmp(&told[i], id, sizeof(*id)) == 0;
  if (!known) told[count++] = *id;
  g_lock.unlock();
  if (known) return;
  char line[128] = "private table ";
  std::size_t end = std::strlen(line);
  for (const char byte : id->bytes) {
    end += static_cast<std::size_t>(std::snprintf(line + end, sizeof(line) - end, "%02X",
                                                  static_cast<unsigned char>(byte)));
  }
  std::snprintf(line + end, sizeof(line) - end, " is not known; cuGetExportTable refuses it");
  g_host.log(line);
}

}  // namespace

void set_host(const Host& host) noexcept { g_host = host; }

CUresult find_table(const CUuuid* id, const void** table) noexcept {
  if (id == nullptr || table == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *table = nullptr;
  g_lock.lock();
  if (!g_built) build();
  g_lock.unlock();
  for (std::uint32_t i = 0; i < kTables; ++i) {
    if (std::memcmp(kTable[i].id, id->bytes, kTable[i].id_bytes) != 0) continue;
    if (i == kIntegrity && !handshake_is_built_in()) {
      static std::atomic<std::uint64_t> told{0};
      if (first_time(told, 0)) {
        g_host.complain("this build leaves out the handshake of the CUDA runtime "
                        "(PHOS_CUDART_HANDSHAKE=OFF), so the runtime will answer error 103; "
                        "programs over the driver API work");
      }
      // The table is given out all the same: its answer is no answer, and that is what makes 103.
    }
    *table = g_slots[i];
    return CUDA_SUCCESS;
  }
  log_unknown(id);
  return CUDA_ERROR_INVALID_VALUE;
}

}  // namespace phos::cudart_tables
