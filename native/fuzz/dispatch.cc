// SPDX-License-Identifier: Apache-2.0
// A client that writes what it likes into its ring: records through the drain, the generated
// dispatch and the handlers, over the simulated device. An input is a list of records; a choice of
// it lets another thread change the ring and the staging arena while they are read.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <new>
#include <thread>

#include "drivers/sim/sim.h"
#include "executor/callbacks.h"
#include "executor/drain.h"
#include "executor/host_arenas.h"
#include "executor/session.h"
#include "executor/window.h"
#include "target.h"

namespace {

using namespace phos;
using namespace phos::executor;

constexpr std::uint32_t kDataBytes = 256U << 10;
constexpr int kSlices = 40;  // of 1 ms, for one input

const DriverTable& driver() {
  static const DriverTable table = [] {
    ::setenv("PHOS_SIM_MEMORY", "64M", 1);
    DriverTable filled{};
    fuzz::require(sim::fill_driver_table(filled) && filled.cuInit(0) == CUDA_SUCCESS, "sim");
    return filled;
  }();
  return table;
}

RingHeader* new_ring() {
  static void* base = ::mmap(nullptr, ring_bytes(kDataBytes), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  fuzz::require(base != MAP_FAILED, "memory for the ring");
  return new (base) RingHeader{};
}

// Each record: u16 call, u8 choices (1 sync, 2 the header's size is in the input as well), u8 reply
// slot, u16 bytes, the payload.
std::uint64_t write_records(fuzz::Input& input, std::uint8_t* ring) {
  std::uint32_t at = 0;
  while (!input.empty()) {
    const auto call = input.get<std::uint16_t>();
    const auto choices = input.get<std::uint8_t>();
    const auto slot = input.get<std::uint8_t>();
    const auto payload = input.bytes(input.get<std::uint16_t>());
    RecordHeader header{};
    header.bytes = static_cast<std::uint32_t>(sizeof(header) + payload.size() + kRecordAlign - 1) &
                   ~(kRecordAlign - 1);
    if (at + header.bytes > kDataBytes) break;
    const std::uint32_t next = at + header.bytes;
    if ((choices & 2U) != 0) header.bytes = input.get<std::uint32_t>();
    header.op = call;
    header.flags = choices & 1U;
    header.reply_slot = slot == 0xFF ? kNoReply : slot * ((choices & 4U) != 0 ? 0x01010101U : 1U);
    header.sequence = at + 1;
    std::memset(ring + at, 0, next - at);
    std::memcpy(ring + at, &header, sizeof(header));
    if (!payload.empty()) std::memcpy(ring + at + sizeof(header), payload.data(), payload.size());
    at = next;
  }
  return at;
}

void add_staging(HostArenas& arenas) {
  const int fd = ::memfd_create("fuzz-staging", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  fuzz::require(fd >= 0 && ::ftruncate(fd, kStagingBytes) == 0, "memory for staging");
  StagingHeader header{};
  header.magic = kStagingMagic;
  header.slots = kStagingSlots;
  header.slot_bytes = kStagingSlotBytes;
  header.callback_slots = kCallbackSlots;
  fuzz::require(::pwrite(fd, &header, 16, 0) == 16 && ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0,
                "a staging arena");
  const ArenaFacts facts{arena_window_base(), kStagingBytes, wire::ArenaKind::staging};
  fuzz::require(arenas.add(facts, fd) == CUDA_SUCCESS, "the arena is taken");
}

// Changes shared memory for as long as it lives.
class Racer {
 public:
  Racer(std::uint8_t* ring, std::uint32_t seed) : thread_([this, ring, seed] {
      std::uint32_t state = seed | 1U;
      // SAFETY: add_staging() has mapped it there.
      auto* staging = reinterpret_cast<std::uint8_t*>(arena_window_base());
      while (!done_.load(std::memory_order_relaxed)) {
        state = state * 1664525U + 1013904223U;
        std::uint8_t* place = (state & 1U) != 0 ? ring + (state >> 8U) % 4096U
                                                : staging + (state >> 8U) % (72U << 10);
        __atomic_store_n(place, static_cast<std::uint8_t>(state >> 16U), __ATOMIC_RELAXED);
      }
    }) {}
  ~Racer() {
    done_.store(true);
    thread_.join();
  }

 private:
  std::atomic<bool> done_{false};
  std::thread thread_;
};

void serve(fuzz::Input& input, CUdevice device, CUcontext context) {
  RingHeader* header = new_ring();
  const std::uint8_t id[16] = {1};
  const ring::Geometry geometry = ring::format(header, kDataBytes, id, 1);
  std::uint8_t* records = ring::data_of(header, geometry);
  const auto choices = input.get<std::uint8_t>();
  header->head.store(write_records(input, records));

  std::atomic<bool> broken{false};
  SessionEvents events;
  events.context_error = [&](CUresult, const char*) { broken.store(true); };
  events.unsupported = [](CallId) {};
  events.protocol_error = [&](CallId, const char*) { broken.store(true); };
  Session session(driver(), device, context, device_window_base(), 0, events);
  fuzz::require(session.memory().reserve() == CUDA_SUCCESS, "a window for device memory");
  add_staging(session.arenas());
  Drain drain(session);
  fuzz::require(drain.attach(header, ring_bytes(kDataBytes)) == ring::Fault::none, "a good ring");
  {
    const std::unique_ptr<Racer> racer =
        (choices & 1U) != 0 ? std::make_unique<Racer>(records, choices) : nullptr;
    for (int slice = 0; slice < kSlices && !broken.load(); ++slice) {
      drain.run(1);
      const DrainState state = drain.state();
      if (state.position == header->head.load() && state.parked == 0 && state.waits == 0) break;
    }
  }
  drain.finish();
  drain.detach(true);
  session.callbacks().abandon();
  // What a stream still waits for, or a kernel that never ends, is the program's own affair.
  driver().cuDevicePrimaryCtxReset(device);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  CUdevice device = 0;
  CUcontext context = nullptr;
  fuzz::require(driver().cuDeviceGet(&device, 0) == CUDA_SUCCESS &&
                    driver().cuDevicePrimaryCtxRetain(&context, device) == CUDA_SUCCESS &&
                    driver().cuCtxSetCurrent(context) == CUDA_SUCCESS,
                "a context");
  fuzz::Input input(data, size);
  serve(input, device, context);
  driver().cuDevicePrimaryCtxRelease(device);
  return 0;
}
