// SPDX-License-Identifier: Apache-2.0
#include "executor/save_job.h"

#include <sys/random.h>

#include <algorithm>
#include <thread>

#include "executor/device_port.h"
#include "executor/failure.h"
#include "executor/fault.h"
#include "executor/planted.h"
#include "gen/codec.h"

namespace phos::executor {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kCopyAlign = 512;
// The first driver with the batched copies that are used here.
constexpr int kBatchSince = 13000;
// Fewer chunks than these aside, and the program would wait for every one.
constexpr std::uint64_t kLeastSlots = 4;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return (value + unit - 1) / unit * unit;
}

std::uint64_t seed_of(const WriteOptions& image) {
  if (!image.parent.empty()) {
    if (const auto seed = seed_of_image(image.parent)) return *seed;
  }
  if (image.seed) return *image.seed;
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof(seed), 0) != sizeof(seed)) {
    throw Failure(Code::unavailable, "The kernel gave no random bytes for the hashes' key.");
  }
  return seed;
}

}  // namespace

const char* name_of(SaveMode mode) noexcept {
  switch (mode) {
    case SaveMode::stop: return "stop";
    case SaveMode::snapshot: return "snapshot";
    case SaveMode::cow: return "cow";
    case SaveMode::automatic: break;
  }
  return "auto";
}

// What a mode copies at the cut, and the device memory that it needs.
struct SaveJob::Plan {
  std::vector<Copy> copies;
  std::uint64_t copied_bytes = 0;
  std::uint64_t scratch = 0;  // offset of the hasher's memory
  std::uint64_t pool = 0;     // offset of the slots
  std::uint32_t slots = 0;
  std::uint64_t bytes = 0;  // in all
};

SaveJob::SaveJob(Session& session, ChangeHasher& hasher, Snapshot snapshot, SaveOptions options,
                 std::unique_ptr<ShadowMemory> spare)
    : session_(session),
      snapshot_(std::move(snapshot)),
      options_(std::move(options)),
      seed_(seed_of(options_.image)),
      mode_(options_.mode),
      shadow_(spare != nullptr
                  ? std::move(spare)
                  : std::make_unique<ShadowMemory>(session.driver(), session.device())),
      hold_(session),
      hasher_(hasher) {
  for (const MemoryRange& range : snapshot_.ranges) device_bytes_ += range.bytes;
  for (const Region& variable : snapshot_.variables) device_bytes_ += variable.bytes;
}

SaveJob::~SaveJob() = default;

SaveJob::Plan SaveJob::plan_of(SaveMode mode) const {
  Plan plan;
  std::uint64_t chunks = 0;
  const auto add = [&plan](std::uint64_t address, std::uint64_t bytes) {
    plan.copies.push_back({address, bytes, plan.bytes});
    plan.copied_bytes += bytes;
    plan.bytes += round_up(bytes, kCopyAlign);
  };
  for (const MemoryRange& range : snapshot_.ranges) {
    chunks += range.bytes / kChunkBytes;
    if (mode == SaveMode::snapshot) add(range.address, range.bytes);
  }
  for (const Region& variable : snapshot_.variables) add(variable.address, variable.bytes);
  std::sort(plan.copies.begin(), plan.copies.end(),
            [](const Copy& a, const Copy& b) { return a.address < b.address; });
  if (mode == SaveMode::snapshot) return plan;
  plan.scratch = plan.bytes;
  plan.pool = round_up(plan.scratch + CopyOnWrite::scratch_bytes(chunks), kChunkBytes);
  // Half of what is free: the program may allocate while it runs on.
  const std::uint64_t wanted =
      options_.pool_bytes != 0 ? options_.pool_bytes : available_bytes() / 2;
  plan.slots = static_cast<std::uint32_t>(std::min(wanted / kChunkBytes, chunks));
  plan.bytes = plan.pool + std::uint64_t{plan.slots} * kChunkBytes;
  return plan;
}

// What is free, and what was set aside before the cut.
std::uint64_t SaveJob::available_bytes() const {
  return borrowable_bytes(session_.driver()) + shadow_->bytes();
}

bool SaveJob::may_copy(const Plan& plan) const {
  const auto large = std::count_if(plan.copies.begin(), plan.copies.end(), [](const Copy& copy) {
    return copy.bytes > kBatchedBytes;
  });
  if (plan.copies.size() <= kMaxCopies) return true;
  int version = 0;
  session_.driver().cuDriverGetVersion(&version);
  return version >= kBatchSince && static_cast<std::size_t>(large) < kMaxCopies &&
         plan.copies.size() <= kMaxBatchedCopies;
}

bool SaveJob::try_mode(SaveMode mode) {
  const Plan plan = plan_of(mode);
  if (!may_copy(plan) || plan.bytes > available_bytes()) return false;
  const bool cow = mode == SaveMode::cow;
  if (cow && (!hasher_.available() ||
              plan.slots < std::min(kLeastSlots, device_bytes_ / kChunkBytes))) {
    return false;
  }
  if (shadow_->bytes() < plan.bytes) {
    const CUresult taken = shadow_->take(plan.bytes);
    if (taken == CUDA_ERROR_OUT_OF_MEMORY) return false;
    check_driver(session_.driver(), taken, "Taking device memory for the save");
  }
  copies_ = plan.copies;
  copied_bytes_ = plan.copied_bytes;
  mode_ = mode;
  hold_.prepare();
  if (cow) {
    cow_ = std::make_unique<CopyOnWrite>(session_, hasher_, change_key_of(seed_),
                                         options_.image.lanes);
    cow_->prepare(snapshot_.ranges, shadow_->address() + plan.scratch,
                  shadow_->address() + plan.pool, plan.slots);
  }
  return true;
}

void SaveJob::refuse(SaveMode mode) const {
  const Plan plan = plan_of(mode);
  const std::string name = name_of(mode);
  if (mode == SaveMode::cow && !hasher_.available()) {
    throw Failure(Code::unsupported,
                  "Saving in mode cow needs a kernel that this driver did not load; save in mode "
                  "snapshot or stop.");
  }
  if (!may_copy(plan)) {
    throw Failure(Code::unsupported,
                  "Saving in mode " + name + " would hold the program for " +
                      std::to_string(plan.copies.size()) + " copies; save in mode stop.",
                  {{"copies", std::to_string(plan.copies.size())}});
  }
  throw Failure(Code::device,
                "Saving in mode " + name + " needs " + std::to_string(plan.bytes) +
                    " bytes of free device memory, and there is less; save in mode stop.",
                {{"bytes", std::to_string(plan.bytes)}}, true);
}

void SaveJob::prepare() {
  const SaveMode wanted = options_.mode;
  if (wanted == SaveMode::stop) return;
  for (const SaveMode mode : {SaveMode::snapshot, SaveMode::cow}) {
    if ((wanted == mode || wanted == SaveMode::automatic) && try_mode(mode)) return;
  }
  if (wanted != SaveMode::automatic) refuse(wanted);
  mode_ = SaveMode::stop;
}

CUresult SaveJob::submit_batch(const std::vector<const Copy*>& batch) {
  std::vector<CUdeviceptr> to;
  std::vector<CUdeviceptr> from;
  std::vector<std::size_t> sizes;
  for (const Copy* copy : batch) {
    to.push_back(shadow_->address() + copy->shadow);
    from.push_back(copy->address);
    sizes.push_back(copy->bytes);
  }
  CUmemcpyAttributes attributes{};
  attributes.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
  std::size_t first = 0;
  hold_.count_call();
  return session_.driver().cuMemcpyBatchAsync(to.data(), from.data(), sizes.data(), batch.size(),
                                              &attributes, &first, 1, hold_.stream());
}

void SaveJob::submit_copies() {
  const DriverTable& driver = session_.driver();
  std::vector<const Copy*> single;
  std::vector<const Copy*> batch;
  for (const Copy& copy : copies_) {
    if (fault_point("snapshot.copy") != 0) {
      throw Failure(Code::device, "Copying at the cut failed (injected fault).");
    }
    const bool alone = copies_.size() <= kMaxCopies || copy.bytes > kBatchedBytes;
    (alone ? single : batch).push_back(&copy);
  }
  if (!batch.empty()) check_driver(driver, submit_batch(batch), "Copying at the cut");
  for (const Copy* copy : single) {
    hold_.count_call();
    check_driver(driver,
                 driver.cuMemcpyDtoDAsync(shadow_->address() + copy->shadow, copy->address,
                                          copy->bytes, hold_.stream()),
                 "Copying at the cut");
  }
}

void SaveJob::submit() {
  if (mode_ == SaveMode::stop) return;
  const bool hash_early = planted(Planted::hash_before_drain);
  if (cow_ && hash_early) cow_->submit_hash(hold_);
  hold_.begin();
  submit_copies();
  if (cow_ && !hash_early) cow_->submit_hash(hold_);
  hold_.end();
  if (cow_) cow_->submit_order(hold_);
}

void SaveJob::throw_if_aborted() const {
  if (!aborted()) return;
  if (failure_.load() != CUDA_SUCCESS) {
    check_driver(session_.driver(), failure_.load(), "Holding the program's streams at the cut");
  }
  throw Failure(Code::cancelled, "The save was given up before it had finished.");
}

bool SaveJob::has_passed(Clock::time_point deadline) {
  throw_if_aborted();
  const SessionLock lock(session_);
  session_.enter_context();
  // In mode stop memory is read where it lies: nothing may be under way.
  const bool stop = mode_ == SaveMode::stop;
  if (stop ? session_.streams().idle() : hold_.passed()) return true;
  if (Clock::now() < deadline) return false;
  const std::string busy = session_.busy_with();
  throw Failure(Code::timeout,
                "The device did not come to the cut in time" +
                    (busy.empty() ? std::string() : ": it is still at " + busy) +
                    ". The program runs on; try again with a longer deadline.",
                {{"step", "snapshot"}}, true);
}

SaveBegun SaveJob::begun(Clock::time_point deadline) {
  SaveBegun result;
  result.cut = snapshot_.facts.cut;
  result.mode = mode_;
  result.objects = snapshot_.objects.size();
  result.device_bytes = device_bytes_;
  auto pause = std::chrono::microseconds(20);
  while (!has_passed(deadline)) {
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(500));
  }
  copied_.store(true);
  if (mode_ == SaveMode::stop) return result;
  result.gate_may_open = true;
  result.copied_bytes = copied_bytes_;
  result.hashed_bytes = cow_ ? device_bytes_ - copied_bytes_ : 0;
  const SessionLock lock(session_);
  result.hold = hold_.figures();
  return result;
}

void SaveJob::abort() noexcept {
  aborted_.store(true);
  hold_.release();
}

bool SaveJob::try_release() {
  hold_.release();
  if (!hold_.quiet() || (cow_ && !cow_->quiet())) return false;
  shadow_->free();
  std::vector<std::function<void()>> waiting;
  waiting.swap(released_);
  for (const auto& then : waiting) then();
  return true;
}

bool SaveJob::is_captured(const OrderPlace& place) {
  void* real = nullptr;
  return session_.streams().captures() != 0 &&
         session_.resolve(HandleType::stream, *place.stream, true, &real) == CUDA_SUCCESS &&
         session_.streams().is_capturing(static_cast<CUstream>(real));
}

bool SaveJob::admits(const Command& command, const OrderPlace& place) {
  const CallId call = command.call();
  // A module takes its variables along.
  if (call == CallId::cuModuleUnload || call == CallId::cuLibraryUnload) return has_let_go();
  if (!cow_ || aborted() || !place.counts || cow_->all_saved() || is_captured(place)) return true;
  return cow_->admit(writes_of(session_, command));
}

void SaveJob::note_kernel(const Command& command) {
  const auto* request = command.as<codec::Req_phos_launch>();
  if (command.call() != CallId::phos_launch || request == nullptr) return;
  const auto [found, added] = kernels_.try_emplace(request->function);
  if (!added) return;
  found->second = session_.name_of_kernel(request->function);
  if (found->second.empty()) found->second = "a kernel without a name";
}

void SaveJob::before_command(const Command& command, std::uint64_t wire, CUstream real) {
  if (mode_ == SaveMode::stop || aborted()) return;
  CUresult result = CUDA_SUCCESS;
  if (!copied_.load()) result = hold_.before_command(wire, real);
  if (cow_ && !cow_->all_saved()) {
    note_kernel(command);
    if (result == CUDA_SUCCESS) result = cow_->before_command(real);
  }
  if (result == CUDA_SUCCESS) return;
  // The program goes on, and the copy is worth nothing.
  failure_.store(result);
  abort();
}

// The copy at the cut has been made; an aborted one still reads until it has passed.
bool SaveJob::has_let_go() {
  return mode_ == SaveMode::stop || copied_.load() || hold_.quiet();
}

bool SaveJob::may_reuse(const MemoryRange& range) {
  if (planted(Planted::unmap_early)) return true;
  if (!has_let_go()) return false;
  if (!cow_) return true;
  // A save that was given up reads nothing more; what is under way must pass.
  return aborted() ? cow_->quiet() : cow_->may_reuse(range);
}

}  // namespace phos::executor
