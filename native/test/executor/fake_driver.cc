// SPDX-License-Identifier: Apache-2.0
#include "fake_driver.h"

#include <sys/mman.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <map>

namespace phos::test {

namespace {

struct Stream {
  std::uint64_t number = 0;
  std::uint64_t submitted = 0;
  std::uint64_t finished = 0;
  bool held = false;
  std::vector<std::uint64_t> waits_for;  // events, by number, of held streams
};
struct Event {
  std::uint64_t stream = 0;
  std::uint64_t position = 0;  // commands of the stream before it
  bool recorded = false;
};

struct Device {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::uint64_t, Stream> streams{{0, Stream{}}};
  std::map<std::uint64_t, Event> events;
  std::map<std::uint64_t, std::uint64_t> handles;   // allocation handle -> bytes
  std::map<std::uint64_t, std::uint64_t> mappings;  // address -> bytes
  std::uint64_t next = 1;
  std::vector<std::string> log;
  std::map<std::string, CUresult> failures;
};

Device* g_device = nullptr;

std::uint64_t number_of(const void* handle) noexcept {
  return reinterpret_cast<std::uint64_t>(handle);
}

bool finished(const Event& event) {
  const auto stream = g_device->streams.find(event.stream);
  return !event.recorded || stream == g_device->streams.end() ||
         stream->second.finished >= event.position;
}

// With the mutex held. Names a stream by its number.
CUresult submit(const char* name, CUstream handle) {
  const auto failure = g_device->failures.find(name);
  if (failure != g_device->failures.end()) {
    const CUresult result = failure->second;
    g_device->failures.erase(failure);
    return result;
  }
  Stream& stream = g_device->streams[number_of(handle)];
  ++stream.submitted;
  if (!stream.held) stream.finished = stream.submitted;
  g_device->log.push_back(std::string(name) + "@" + std::to_string(number_of(handle)));
  return CUDA_SUCCESS;
}

CUresult stream_create(CUstream* stream, unsigned int) {
  const std::lock_guard lock(g_device->mutex);
  const std::uint64_t number = 16 + g_device->next++;
  g_device->streams[number].number = number;
  *stream = reinterpret_cast<CUstream>(number);
  return CUDA_SUCCESS;
}

CUresult stream_destroy(CUstream stream) {
  const std::lock_guard lock(g_device->mutex);
  g_device->log.push_back("destroy@" + std::to_string(number_of(stream)));
  return CUDA_SUCCESS;
}

CUresult stream_query(CUstream stream) {
  const std::lock_guard lock(g_device->mutex);
  const Stream& found = g_device->streams[number_of(stream)];
  return found.finished >= found.submitted ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult is_capturing(CUstream, CUstreamCaptureStatus* status) {
  *status = CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}

CUresult stream_wait_event(CUstream stream, CUevent event, unsigned int) {
  const std::lock_guard lock(g_device->mutex);
  const Event& found = g_device->events[number_of(event)];
  const bool ready = finished(found);
  const CUresult result = submit("wait", stream);
  // Waiting for something held makes the waiter unfinished too.
  if (!ready && result == CUDA_SUCCESS) {
    Stream& waiter = g_device->streams[number_of(stream)];
    waiter.held = true;
    waiter.finished = std::min(waiter.finished, waiter.submitted - 1);
    waiter.waits_for.push_back(number_of(event));
  }
  return result;
}

CUresult event_create(CUevent* event, unsigned int) {
  const std::lock_guard lock(g_device->mutex);
  const std::uint64_t number = g_device->next++;
  g_device->events[number];
  *event = reinterpret_cast<CUevent>(number);
  return CUDA_SUCCESS;
}

CUresult event_destroy(CUevent event) {
  const std::lock_guard lock(g_device->mutex);
  g_device->events.erase(number_of(event));
  return CUDA_SUCCESS;
}

CUresult event_record(CUevent event, CUstream stream) {
  const std::lock_guard lock(g_device->mutex);
  Event& found = g_device->events[number_of(event)];
  found.stream = number_of(stream);
  found.position = g_device->streams[number_of(stream)].submitted;
  found.recorded = true;
  return CUDA_SUCCESS;
}

CUresult event_query(CUevent event) {
  const std::lock_guard lock(g_device->mutex);
  return finished(g_device->events[number_of(event)]) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult event_synchronize(CUevent event) {
  std::unique_lock lock(g_device->mutex);
  g_device->changed.wait(lock, [&] { return finished(g_device->events[number_of(event)]); });
  return CUDA_SUCCESS;
}

CUresult address_reserve(CUdeviceptr* given, std::size_t bytes, std::size_t, CUdeviceptr wanted,
                         unsigned long long) {
  // SAFETY: the window is free in the test process, or NOREPLACE says so.
  void* place = ::mmap(reinterpret_cast<void*>(wanted), bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (place == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  *given = number_of(place);
  return CUDA_SUCCESS;
}

CUresult address_free(CUdeviceptr address, std::size_t bytes) {
  ::munmap(reinterpret_cast<void*>(address), bytes);
  return CUDA_SUCCESS;
}

CUresult mem_create(CUmemGenericAllocationHandle* handle, std::size_t bytes,
                    const CUmemAllocationProp*, unsigned long long) {
  const std::lock_guard lock(g_device->mutex);
  const auto failure = g_device->failures.find("create");
  if (failure != g_device->failures.end()) {
    const CUresult result = failure->second;
    g_device->failures.erase(failure);
    return result;
  }
  *handle = g_device->next++;
  g_device->handles[*handle] = bytes;
  return CUDA_SUCCESS;
}

CUresult mem_release(CUmemGenericAllocationHandle handle) {
  const std::lock_guard lock(g_device->mutex);
  g_device->handles.erase(handle);
  return CUDA_SUCCESS;
}

CUresult mem_map(CUdeviceptr address, std::size_t bytes, std::size_t,
                 CUmemGenericAllocationHandle, unsigned long long) {
  const std::lock_guard lock(g_device->mutex);
  ::mmap(reinterpret_cast<void*>(address), bytes, PROT_READ | PROT_WRITE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  g_device->mappings[address] = bytes;
  return CUDA_SUCCESS;
}

CUresult mem_unmap(CUdeviceptr address, std::size_t bytes) {
  const std::lock_guard lock(g_device->mutex);
  if (g_device->mappings.erase(address) == 0) return CUDA_ERROR_INVALID_VALUE;
  ::mmap(reinterpret_cast<void*>(address), bytes, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return CUDA_SUCCESS;
}

CUresult set_access(CUdeviceptr, std::size_t, const CUmemAccessDesc*, std::size_t) {
  return CUDA_SUCCESS;
}

CUresult copy_in(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  const std::lock_guard lock(g_device->mutex);
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return submit("in", stream);
}

CUresult copy_out(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  const std::lock_guard lock(g_device->mutex);
  std::memcpy(to, reinterpret_cast<void*>(from), bytes);
  return submit("out", stream);
}

CUresult set_d8(CUdeviceptr to, unsigned char value, std::size_t bytes, CUstream stream) {
  const std::lock_guard lock(g_device->mutex);
  std::memset(reinterpret_cast<void*>(to), value, bytes);
  return submit("set", stream);
}

CUresult host_alloc(void** memory, std::size_t bytes, unsigned int) {
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return CUDA_SUCCESS;
}

CUresult host_free(void* memory) {
  std::free(memory);
  return CUDA_SUCCESS;
}

CUresult device_name(char* name, int bytes, CUdevice) {
  std::strncpy(name, "fake", static_cast<std::size_t>(bytes) - 1);
  return CUDA_SUCCESS;
}

void fill_plain(DriverTable& table) {
  table.cuInit = [](unsigned int) { return CUDA_SUCCESS; };
  table.cuDeviceGet = [](CUdevice* device, int ordinal) {
    *device = ordinal;
    return CUDA_SUCCESS;
  };
  table.cuDevicePrimaryCtxRetain = [](CUcontext* context, CUdevice) {
    *context = reinterpret_cast<CUcontext>(0x10);
    return CUDA_SUCCESS;
  };
  table.cuCtxSetCurrent = [](CUcontext) { return CUDA_SUCCESS; };
  table.cuCtxSynchronize = [](CUcontext) { return CUDA_SUCCESS; };
  table.cuDeviceGetName = device_name;
  table.cuDeviceGetUuid = [](CUuuid* uuid, CUdevice) {
    std::memset(uuid, 7, sizeof(*uuid));
    return CUDA_SUCCESS;
  };
  table.cuDeviceTotalMem = [](std::size_t* bytes, CUdevice) {
    *bytes = 1U << 30;
    return CUDA_SUCCESS;
  };
  table.cuDriverGetVersion = [](int* version) {
    *version = 13000;
    return CUDA_SUCCESS;
  };
  table.cuDeviceGetAttribute = [](int* value, CUdevice_attribute, CUdevice) {
    *value = 8;
    return CUDA_SUCCESS;
  };
  table.cuPointerGetAttribute = [](void*, CUpointer_attribute, CUdeviceptr) {
    return CUDA_ERROR_INVALID_VALUE;
  };
  table.cuMemHostRegister = [](void*, std::size_t, unsigned int) { return CUDA_SUCCESS; };
  table.cuMemHostUnregister = [](void*) { return CUDA_SUCCESS; };
}

}  // namespace

FakeDriver::FakeDriver() {
  g_device = new Device;
  fill_unsupported(table_);
  fill_plain(table_);
  table_.cuStreamCreate = stream_create;
  table_.cuStreamDestroy = stream_destroy;
  table_.cuStreamQuery = stream_query;
  table_.cuStreamIsCapturing = is_capturing;
  table_.cuStreamWaitEvent = stream_wait_event;
  table_.cuStreamSynchronize = [](CUstream) { return CUDA_SUCCESS; };
  table_.cuEventCreate = event_create;
  table_.cuEventDestroy = event_destroy;
  table_.cuEventRecord = event_record;
  table_.cuEventQuery = event_query;
  table_.cuEventSynchronize = event_synchronize;
  table_.cuMemAddressReserve = address_reserve;
  table_.cuMemAddressFree = address_free;
  table_.cuMemCreate = mem_create;
  table_.cuMemRelease = mem_release;
  table_.cuMemMap = mem_map;
  table_.cuMemUnmap = mem_unmap;
  table_.cuMemSetAccess = set_access;
  table_.cuMemcpyHtoDAsync = copy_in;
  table_.cuMemcpyDtoHAsync = copy_out;
  table_.cuMemsetD8Async = set_d8;
  table_.cuMemHostAlloc = host_alloc;
  table_.cuMemFreeHost = host_free;
}

FakeDriver::~FakeDriver() {
  delete g_device;
  g_device = nullptr;
}

void FakeDriver::hold(CUstream stream) {
  const std::lock_guard lock(g_device->mutex);
  g_device->streams[number_of(stream)].held = true;
}

void FakeDriver::release(CUstream stream) {
  const std::lock_guard lock(g_device->mutex);
  Stream& found = g_device->streams[number_of(stream)];
  found.held = false;
  found.finished = found.submitted;
  // Whoever waited for an event of it goes on, one after the other.
  for (bool again = true; again;) {
    again = false;
    for (auto& [number, other] : g_device->streams) {
      if (other.waits_for.empty()) continue;
      std::erase_if(other.waits_for, [](std::uint64_t event) {
        return finished(g_device->events[event]);
      });
      if (!other.waits_for.empty()) continue;
      other.held = false;
      other.finished = other.submitted;
      again = true;
    }
  }
  g_device->changed.notify_all();
}

std::vector<std::string> FakeDriver::log() {
  const std::lock_guard lock(g_device->mutex);
  return g_device->log;
}

std::size_t FakeDriver::count(const std::string& entry) {
  const std::lock_guard lock(g_device->mutex);
  return static_cast<std::size_t>(
      std::count(g_device->log.begin(), g_device->log.end(), entry));
}

std::uint64_t FakeDriver::mapped_bytes() {
  const std::lock_guard lock(g_device->mutex);
  std::uint64_t sum = 0;
  for (const auto& [address, bytes] : g_device->mappings) sum += bytes;
  return sum;
}

void FakeDriver::fail_next(const std::string& name, CUresult result) {
  const std::lock_guard lock(g_device->mutex);
  g_device->failures[name] = result;
}

}  // namespace phos::test
