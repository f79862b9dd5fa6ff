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
// Fewer chunks than these aside, and the program would wait for every one.
constexpr std::uint64_t kLeastSlots = 4;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return (value + unit - 1) / unit * unit;
}

std::uint64_t random_seed() {
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

SaveJob::SaveJob(Session& session, ChangeHasher& hasher, Snapshot snapshot, SaveOptions options)
    : session_(session),
      snapshot_(std::move(snapshot)),
      options_(std::move(options)),
      mode_(options_.mode),
      shadow_(session.driver(), session.device()),
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
      options_.pool_bytes != 0 ? options_.pool_bytes : borrowable_bytes(session_.driver()) / 2;
  plan.slots = static_cast<std::uint32_t>(std::min(wanted / kChunkBytes, chunks));
  plan.bytes = plan.pool + std::uint64_t{plan.slots} * kChunkBytes;
  return plan;
}

bool SaveJob::try_mode(SaveMode mode) {
  const Plan plan = plan_of(mode);
  if (plan.copies.size() > kMaxCopies || plan.bytes > borrowable_bytes(session_.driver())) {
    return false;
  }
  const bool cow = mode == SaveMode::cow;
  if (cow && (!hasher_.available() ||
              plan.slots < std::min(kLeastSlots, device_bytes_ / kChunkBytes))) {
    return false;
  }
  const CUresult taken = shadow_.take(plan.bytes);
  if (taken == CUDA_ERROR_OUT_OF_MEMORY) return false;
  check_driver(session_.driver(), taken, "Taking device memory for the save");
  copies_ = plan.copies;
  copied_bytes_ = plan.copied_bytes;
  mode_ = mode;
  hold_.prepare();
  if (cow) {
    cow_ = std::make_unique<CopyOnWrite>(session_, hasher_, change_key_of(random_seed()),
                                         options_.image.lanes);
    cow_->prepare(snapshot_.ranges, shadow_.address() + plan.scratch,
                  shadow_.address() + plan.pool, plan.slots);
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
  if (plan.copies.size() > kMaxCopies) {
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

void SaveJob::submit() {
  if (mode_ == SaveMode::stop) return;
  const DriverTable& driver = session_.driver();
  const bool hash_early = planted(Planted::hash_before_drain);
  if (cow_ && hash_early) cow_->submit_hash(hold_);
  hold_.begin();
  for (const Copy& copy : copies_) {
    if (fault_point("snapshot.copy") != 0) {
      throw Failure(Code::device, "Copying at the cut failed (injected fault).");
    }
    hold_.count_call();
    check_driver(driver,
                 driver.cuMemcpyDtoDAsync(shadow_.address() + copy.shadow, copy.address,
                                          copy.bytes, hold_.stream()),
                 "Copying at the cut");
  }
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

// Reads the cut's bytes where they are: in the copy, or in place.
class SaveJob::Port : public DevicePort {
 public:
  Port(SaveJob& job)
      : DevicePort(job.session_.driver(), job.session_.context(), job.options_.image.lanes),
        job_(job) {}
  void read(std::uint32_t lane, std::uint64_t address, void* to, std::size_t bytes) override {
    job_.throw_if_aborted();
    if (job_.mode_ == SaveMode::stop) {
      DevicePort::read(lane, address, to, bytes);
    } else if (const std::uint64_t shadow = job_.shadow_of(address); shadow != 0) {
      DevicePort::read(lane, shadow, to, bytes);
    } else {
      job_.cow_->read(lane, address, to, bytes);
    }
  }

 private:
  SaveJob& job_;
};

std::uint64_t SaveJob::shadow_of(std::uint64_t address) const {
  auto it = std::upper_bound(copies_.begin(), copies_.end(), address,
                             [](std::uint64_t at, const Copy& copy) { return at < copy.address; });
  if (it == copies_.begin()) return 0;
  --it;
  if (address - it->address >= it->bytes) return 0;
  return shadow_.address() + it->shadow + (address - it->address);
}

SaveReport SaveJob::finish(const Progress& progress) {
  throw_if_aborted();
  SaveReport report;
  report.mode = mode_;
  if (cow_) {
    check_driver(session_.driver(), session_.driver().cuCtxSetCurrent(session_.context()),
                 "Entering the context");
    cow_->await_hashes();
  }
  Port port(*this);
  report.image =
      write_image(options_.directory, snapshot_, port, options_.image, progress);
  throw_if_aborted();
  if (mode_ == SaveMode::stop) return report;
  report.copied_bytes = copied_bytes_;
  report.hashed_bytes = cow_ ? device_bytes_ - copied_bytes_ : 0;
  const SessionLock lock(session_);
  session_.enter_context();
  report.hold = hold_.figures();
  if (cow_) report.aside = cow_->figures();
  if (report.aside.missed != 0) {
    for (const auto& [wire, name] : kernels_) report.suspects.push_back(name);
  }
  return report;
}

void SaveJob::abort() noexcept {
  aborted_.store(true);
  hold_.release();
}

bool SaveJob::try_release() {
  hold_.release();
  if (!hold_.quiet() || (cow_ && !cow_->quiet())) return false;
  shadow_.free();
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
