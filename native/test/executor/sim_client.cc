// SPDX-License-Identifier: Apache-2.0
#include "sim_client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "drivers/sim/sim.h"
#include "executor/digest.h"
#include "executor/failure.h"
#include "executor/handler_tools.h"
#include "phos/handle.h"

namespace phos::test {

namespace {

using namespace std::chrono_literals;
constexpr auto kPatience = 60s;
constexpr std::uint32_t kTestRingBytes = 1U << 20;

DriverTable& sim_table() {
  static DriverTable table = [] {
    DriverTable filled{};
    require(sim::fill_driver_table(filled), "sim's settings");
    return filled;
  }();
  return table;
}

}  // namespace

void wrong(const std::string& what) { throw Wrong{what}; }

void require(bool condition, const std::string& what) {
  if (!condition) wrong(what);
}

std::string in_child(std::uint64_t seed, const std::function<void()>& body) {
  int pipes[2];
  if (::pipe2(pipes, O_CLOEXEC) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(pipes[0]);
    if (seed != 0) ::setenv("PHOS_SIM_SEED", std::to_string(seed).c_str(), 1);
    std::string text;
    try {
      body();
    } catch (const Wrong& thrown) {
      text = thrown.what;
    } catch (const executor::Failure& failure) {
      text = std::string("failure: ") + failure.what();
    }
    if (!text.empty() && ::write(pipes[1], text.data(), text.size()) < 0) ::_exit(2);
    ::_exit(text.empty() ? 0 : 1);
  }
  ::close(pipes[1]);
  std::string text;
  char buffer[512];
  for (ssize_t got = 0; (got = ::read(pipes[0], buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(pipes[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status)) return "the child died of signal " + std::to_string(WTERMSIG(status));
  if (WEXITSTATUS(status) != 0 && text.empty()) return "the child ended without a word";
  return text;
}

std::uint64_t wire(HandleType type, std::uint32_t index) {
  return make_handle(static_cast<std::uint8_t>(type), 1, index);
}

namespace {

std::uint64_t stream_wire(std::uint32_t index) {
  return index == 0 ? 0 : wire(HandleType::stream, index);
}

}  // namespace

void SimClient::start() {
  executor::ExecutorOptions options;
  options.driver = sim_table();
  options.driver_name = "sim";
  executor_ = std::make_unique<executor::Executor>(options, [](const auto&) {});
  executor_->start();
}

SimClient::SimClient() {
  ring_bytes_ = phos::ring_bytes(kTestRingBytes);
  void* base =
      ::mmap(nullptr, ring_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  require(base != MAP_FAILED, "memory for the ring");
  header_ = new (base) RingHeader{};
  const std::uint8_t id[16] = {1};
  geometry_ = ring::format(header_, kTestRingBytes, id, 1);
  producer_.open(header_, geometry_);
  replies_.open(header_, geometry_);
  start();
  require(executor_->attach_ring(header_, ring_bytes_), "attaching the ring");
  drain_ = std::thread([this] { executor_->run(0); });
}

SimClient::SimClient(const std::vector<std::uint8_t>& ring_at_cut, std::vector<Place> places,
                     const std::string& directory)
    : places_(std::move(places)) {
  ring_bytes_ = ring_at_cut.size();
  void* base =
      ::mmap(nullptr, ring_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  require(base != MAP_FAILED, "memory for the ring");
  std::memcpy(base, ring_at_cut.data(), ring_bytes_);
  header_ = static_cast<RingHeader*>(base);
  geometry_ = {header_->reply_slots, header_->data_offset, header_->data_bytes};
  producer_.open(header_, geometry_);
  replies_.open(header_, geometry_);
  start();
  executor::ReadOptions reading;
  reading.lanes = 2;
  executor_->load(directory, reading, {});
  require(executor_->attach_ring(header_, ring_bytes_), "attaching the restored ring");
  drain_ = std::thread([this] { executor_->run(0); });
  executor_->open_gate();
}

SimClient::~SimClient() {
  executor_->stop();
  drain_.join();
  executor_.reset();
  ::munmap(header_, ring_bytes_);
}

void SimClient::send(std::uint16_t op, std::uint16_t flags, std::uint32_t sequence,
                     const void* fixed, std::size_t bytes,
                     std::span<const executor::OutBlob> blobs) {
  ring::RecordFields fields;
  fields.op = op;
  fields.flags = flags;
  if ((flags & kRecordSync) != 0) {
    fields.reply_slot = 0;
    fields.sequence = sequence;
  }
  std::uint8_t* payload = nullptr;
  require(producer_.begin(fields, codec::payload_bytes(bytes, blobs), &payload) == 0,
          "writing to the ring");
  codec::write_payload(payload, fixed, bytes, blobs);
  producer_.commit();
}

template <class Request>
void SimClient::post(const Request& request, std::span<const executor::OutBlob> blobs) {
  send(static_cast<std::uint16_t>(Request::kCall), 0, 0, &request, sizeof(request), blobs);
}

template <class Request>
void SimClient::call(const Request& request, std::span<const executor::OutBlob> blobs) {
  const std::uint32_t sequence = replies_.next_sequence(0);
  send(static_cast<std::uint16_t>(Request::kCall), kRecordSync, sequence, &request,
       sizeof(request), blobs);
  ReplySlot& slot = ring::reply_slots_of(header_)[0];
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (slot.sequence.load(std::memory_order_acquire) != sequence) {
    require(std::chrono::steady_clock::now() < deadline,
            std::string("no answer to ") + call_name(Request::kCall));
    std::this_thread::sleep_for(20us);
  }
  require(slot.status == 0, std::string(call_name(Request::kCall)) + " answered " +
                                std::to_string(slot.status));
}

void SimClient::load_module(std::uint32_t index, const std::string& ptx) {
  codec::Req_phos_image_inline image{};
  image.image = index + 1;
  const executor::OutBlob text[] = {{ptx.data(), ptx.size()}};
  post(image, text);
  codec::Req_phos_module_load load{};
  load.module = wire(HandleType::module, index);
  load.image = index + 1;
  const executor::OutBlob none[2] = {};
  call(load, none);
}

void SimClient::unload_module(std::uint32_t index) {
  call(codec::Req_cuModuleUnload{wire(HandleType::module, index)});
}

void SimClient::find_function(std::uint32_t index, std::uint32_t module,
                              const std::string& name) {
  codec::Req_phos_module_function request{};
  request.function = wire(HandleType::function, index);
  request.module = wire(HandleType::module, module);
  const executor::OutBlob text[] = {{name.c_str(), name.size() + 1}};
  call(request, text);
}

void SimClient::make_stream(std::uint32_t index, bool blocking) {
  codec::Req_cuStreamCreate request{};
  request.phStream = wire(HandleType::stream, index);
  request.Flags = blocking ? CU_STREAM_DEFAULT : CU_STREAM_NON_BLOCKING;
  call(request);
}

void SimClient::make_event(std::uint32_t index) {
  codec::Req_cuEventCreate request{};
  request.phEvent = wire(HandleType::event, index);
  call(request);
}

void SimClient::allocate(std::uint32_t place, std::uint64_t bytes, bool compared) {
  call(codec::Req_cuMemAlloc{bytes});
  codec::Rep_cuMemAlloc answer{};
  std::memcpy(&answer, ring::reply_slots_of(header_)[0].data, sizeof(answer));
  if (places_.size() <= place) places_.resize(place + 1);
  places_[place] = {answer.dptr, bytes, compared};
}

void SimClient::free(std::uint32_t place) {
  post(codec::Req_cuMemFree{places_[place].address});
  places_[place] = {};
}

void SimClient::set(std::uint32_t place, std::uint64_t offset, std::uint64_t bytes,
                    std::uint8_t value, std::uint32_t stream) {
  codec::Req_phos_memset request{};
  request.dst = at(place) + offset;
  request.element_bytes = 1;
  request.value = value;
  request.width = bytes;
  request.height = 1;
  request.stream = stream_wire(stream);
  post(request);
}

void SimClient::write(std::uint32_t place, std::uint64_t offset,
                      std::span<const std::uint64_t> words, std::uint32_t stream) {
  codec::Req_phos_copy_inline request{};
  request.dst = at(place) + offset;
  request.stream = stream_wire(stream);
  const executor::OutBlob data[] = {{words.data(), words.size_bytes()}};
  post(request, data);
}

void SimClient::copy(std::uint32_t to, std::uint64_t to_offset, std::uint32_t from,
                     std::uint64_t from_offset, std::uint64_t bytes, std::uint32_t stream) {
  codec::Req_phos_copy request{};
  request.dst = at(to) + to_offset;
  request.src = at(from) + from_offset;
  request.bytes = bytes;
  request.stream = stream_wire(stream);
  post(request);
}

void SimClient::launch(std::uint32_t function, std::span<const std::uint64_t> parameters,
                       LaunchShape shape, std::uint32_t stream) {
  codec::Req_phos_launch request{};
  request.function = wire(HandleType::function, function);
  request.stream = stream_wire(stream);
  for (int i = 0; i < 3; ++i) {
    request.grid[i] = i == 0 ? shape.blocks : 1;
    request.block[i] = i == 0 ? shape.threads : 1;
  }
  const executor::OutBlob blobs[2] = {{parameters.data(), parameters.size_bytes()}, {}};
  post(request, blobs);
}

void SimClient::record(std::uint32_t event, std::uint32_t stream) {
  codec::Req_cuEventRecord request{};
  request.hEvent = wire(HandleType::event, event);
  request.hStream = stream_wire(stream);
  post(request);
}

float SimClient::elapsed_ms(std::uint32_t start, std::uint32_t end) {
  codec::Req_cuEventElapsedTime request{};
  request.hStart = wire(HandleType::event, start);
  request.hEnd = wire(HandleType::event, end);
  call(request);
  codec::Rep_cuEventElapsedTime answer{};
  std::memcpy(&answer, ring::reply_slots_of(header_)[0].data, sizeof(answer));
  return answer.pMilliseconds;
}

void SimClient::order(std::uint32_t event, std::uint32_t from, std::uint32_t to) {
  record(event, from);
  codec::Req_cuStreamWaitEvent wait{};
  wait.hStream = stream_wire(to);
  wait.hEvent = wire(HandleType::event, event);
  post(wait);
}

void SimClient::await_word(std::uint32_t place, std::uint64_t offset, std::uint32_t stream) {
  codec::Req_cuStreamWaitValue32 request{};
  request.stream = stream_wire(stream);
  request.addr = at(place) + offset;
  request.value = 1;
  request.flags = CU_STREAM_WAIT_VALUE_EQ;
  post(request);
}

void SimClient::begin_capture(std::uint32_t graph, std::uint32_t stream) {
  codec::Req_phos_begin_capture request{};
  request.graph = wire(HandleType::graph, graph);
  request.stream = stream_wire(stream);
  call(request);
}

void SimClient::end_capture(std::uint32_t stream) {
  codec::Req_phos_end_capture request{};
  request.stream = stream_wire(stream);
  call(request);
}

void SimClient::instantiate(std::uint32_t exec, std::uint32_t graph) {
  codec::Req_cuGraphInstantiateWithFlags request{};
  request.phGraphExec = wire(HandleType::graph_exec, exec);
  request.hGraph = wire(HandleType::graph, graph);
  call(request);
}

void SimClient::launch_graph(std::uint32_t exec, std::uint32_t stream) {
  post(codec::Req_cuGraphLaunch{wire(HandleType::graph_exec, exec), stream_wire(stream)});
}

void SimClient::synchronise() { call(codec::Req_cuCtxSynchronize{0}); }

std::uint64_t SimClient::cut(bool finished) {
  executor_->close_gate();
  const std::uint64_t head = executor_->read_head();
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const executor::DrainToResult result = executor_->drain_to(head, finished ? 5000 : 1);
    if (result.reached) return head;
    const executor::DrainState state = executor_->drain().state();
    const bool taken = state.position == head && state.parked == 0 && state.waits == 0 &&
                       header_->tail.load() == head;
    if (!finished && taken) return head;
    require(std::chrono::steady_clock::now() < deadline, "no cut: " + result.waiting_for);
  }
}

std::vector<std::uint8_t> SimClient::ring_copy() const {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(header_);
  return {bytes, bytes + ring_bytes_};
}

std::string SimClient::bytes_at(std::uint64_t address, std::uint64_t bytes) {
  std::vector<std::uint8_t> data(bytes);
  executor::Session& session = executor_->session();
  const executor::SessionLock lock(session);
  session.driver().cuCtxSetCurrent(session.context());
  require(session.driver().cuMemcpyDtoH(data.data(), address, bytes) == CUDA_SUCCESS,
          "reading device memory");
  return executor::hex_of(executor::digest_of(data.data(), data.size()));
}

std::string SimClient::state() {
  std::string text;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const Place& place = places_[i];
    if (place.bytes == 0 || !place.compared) continue;
    text += "place " + std::to_string(i) + " " + bytes_at(place.address, place.bytes) + "\n";
  }
  executor::Session& session = executor_->session();
  for (std::uint32_t index = 0; index < 4; ++index) {
    void* module = nullptr;
    const CUresult found =
        session.resolve(HandleType::module, wire(HandleType::module, index), false, &module);
    if (found != CUDA_SUCCESS) continue;
    CUdeviceptr address = 0;
    std::size_t bytes = 0;
    const CUresult result = session.driver().cuModuleGetGlobal(
        &address, &bytes, static_cast<CUmodule>(module), "counter");
    if (result == CUDA_SUCCESS) text += "counter " + bytes_at(address, bytes) + "\n";
  }
  return text;
}

}  // namespace phos::test
