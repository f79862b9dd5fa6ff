// SPDX-License-Identifier: Apache-2.0
#include "executor/drain.h"

#include <cstring>

#include "executor/call_facts.h"
#include "executor/helpers.h"
#include "executor/save_job.h"
#include "executor/waits.h"
#include "gen/executor_handlers.h"
#include "ring/futex.h"
#include "ring/reply.h"

namespace phos::executor {

namespace {

constexpr std::uint32_t kBatch = 64;
constexpr std::uint64_t kSpinForWaitsNs = 20'000;
constexpr std::uint64_t kRestNs = 200'000;  // between looks at what only the drain can finish
// Looks at the ring before the lock is given back: about 2 us, in which a program that makes one
// synchronous call after another has made the next.
constexpr std::uint32_t kLingerLooks = 128;
// A call that follows a reply comes before this look; until then the tail, which shares a cache
// line with words that the client reads, is left alone.
constexpr std::uint32_t kPublishLook = 32;

// Copies a payload, which is whole units of kRecordAlign: mostly one or two, for which a call of
// memcpy costs more than the copy.
void copy_payload(OwnedCommand::Word* to, const std::uint8_t* from, std::size_t bytes) noexcept {
  if (bytes > 8 * kRecordAlign) {
    std::memcpy(to, from, bytes);
    return;
  }
  for (std::size_t at = 0; at < bytes; at += kRecordAlign) {
    std::memcpy(to++, from + at, kRecordAlign);
  }
}

}  // namespace

Drain::Drain(Session& session)
    : session_(session),
      parking_(session.streams(), [this](const Command& command, const OrderPlace& place) {
        return admits(command, place);
      }) {}

ring::Fault Drain::attach(void* base, std::size_t bytes) {
  ring::Consumer probe;
  const ring::Fault fault = probe.open(base, bytes);
  if (fault != ring::Fault::none) return fault;
  const SessionLock lock(session_);
  incoming_base_ = base;
  incoming_bytes_ = bytes;
  header_.store(probe.header(), std::memory_order_release);
  session_.attach_ring(probe.header(), probe.geometry());
  has_incoming_.store(true, std::memory_order_release);
  wake();
  return fault;
}

void Drain::detach(bool drop) {
  const SessionLock lock(session_);
  open_ = false;
  has_incoming_.store(false);
  if (drop) parking_.clear();
}

bool Drain::adopt_ring() {
  has_incoming_.store(false, std::memory_order_relaxed);
  RingHeader* header = header_.load();
  header->stop.store(0, std::memory_order_relaxed);
  header->owner_epoch.fetch_add(1, std::memory_order_seq_cst);
  open_ = consumer_.open(incoming_base_, incoming_bytes_) == ring::Fault::none;
  return open_;
}

void Drain::wake() noexcept {
  wake_.fetch_add(1, std::memory_order_seq_cst);
  ring::futex_wake(wake_, 1 << 30, ring::Scope::process);
  RingHeader* header = header_.load(std::memory_order_acquire);
  if (header != nullptr) {
    // Looks like a stop to a consumer that sleeps; run() looks again and goes on.
    header->stop.store(1, std::memory_order_seq_cst);
    ring::futex_wake(ring::low_half(header->head), 1 << 30, ring::Scope::shared);
  }
}

void Drain::stop() noexcept {
  stop_.store(true, std::memory_order_seq_cst);
  wake();
}

void Drain::finish() noexcept {
  finished_.store(true, std::memory_order_seq_cst);
  stop();
}

void Drain::lift_limit() noexcept {
  limit_ = ring::kNoLimit;
  wake();
}

DrainResult Drain::run(std::uint32_t slice_ms) {
  DrainResult result;
  const std::uint32_t epoch = run_epoch_.fetch_add(1) + 1;
  const std::uint64_t before = commands_.load();
  const std::uint64_t start = ring::monotonic_ns();
  const std::uint64_t slice_ns = std::uint64_t{slice_ms} * 1'000'000;
  std::uint64_t quiet_since = 0;
  for (;;) {
    // A stop that came before this run counts as well: the thread may have been slow to start.
    if (stop_.exchange(false) || finished_.load()) break;
    if (run_epoch_.load(std::memory_order_acquire) != epoch) {
      result.end = DrainEnd::superseded;
      break;
    }
    if (batch(epoch)) {
      quiet_since = 0;
      continue;
    }
    const std::uint64_t now = ring::monotonic_ns();
    if (slice_ms != 0 && now - start >= slice_ns) {
      result.end = DrainEnd::slice;
      break;
    }
    if (quiet_since == 0) quiet_since = now;
    // Waits are polled for a moment, then a thread that blocks in the driver takes them.
    if (session_.waits().open() != 0 && now - quiet_since < kSpinForWaitsNs) {
      ring::cpu_relax();
      continue;
    }
    idle(slice_ms == 0 ? ring::kSliceNs : std::min(ring::kSliceNs, slice_ns - (now - start)));
    quiet_since = 0;
  }
  result.commands = commands_.load() - before;
  return result;
}

void Drain::idle(std::uint64_t timeout_ns) {
  bool must_look = false;
  bool can_wait_on_ring = false;
  {
    const DrainLock lock(session_);
    session_.waits().hand_over();
    must_look = session_.waits().polled() != 0 || !parking_.empty();
    can_wait_on_ring = open_ && consumer_.position() < limit_;
    RingHeader* header = header_.load(std::memory_order_relaxed);
    if (header != nullptr) {
      // Only changes are written: the client reads these lines at every call.
      const std::uint32_t busy = session_.waits().open() != 0 ? 1 : 0;
      if (header->busy.load(std::memory_order_relaxed) != busy) {
        header->busy.store(busy, std::memory_order_relaxed);
      }
      if (open_) consumer_.publish_tail();
      if (header->stop.load(std::memory_order_seq_cst) != 0) {
        header->stop.store(0, std::memory_order_seq_cst);
      }
    }
  }
  if (must_look) timeout_ns = std::min(timeout_ns, kRestNs);
  if (has_incoming_.load() || stop_.load() || finished_.load()) return;
  if (can_wait_on_ring) {
    consumer_.wait(timeout_ns);
  } else {
    rest(timeout_ns);
  }
}

void Drain::rest(std::uint64_t timeout_ns) {
  const std::uint32_t seen = wake_.load(std::memory_order_seq_cst);
  if (stop_.load() || has_incoming_.load()) return;
  ring::futex_wait(wake_, seen, timeout_ns, ring::Scope::process);
}

// Something besides the ring wants the drain thread, or its lock.
bool Drain::is_called_off(std::uint32_t epoch) const noexcept {
  return session_.is_wanted() || stop_.load(std::memory_order_relaxed) ||
         finished_.load(std::memory_order_relaxed) ||
         has_incoming_.load(std::memory_order_relaxed) ||
         run_epoch_.load(std::memory_order_relaxed) != epoch;
}

// Runs what the ring holds, with one taking of the lock for as long as commands keep coming and
// nobody else wants it. False when there was nothing to do.
bool Drain::batch(std::uint32_t epoch) {
  const DrainLock lock(session_);
  if (has_incoming_.load(std::memory_order_acquire)) adopt_ring();
  entered_ = session_.enter_context();
  bool worked = false;
  for (;;) {
    if (session_.waits().open() != 0) session_.waits().poll();
    if (!parking_.empty()) {
      parking_.release([this](const Command& command, const OrderPlace& place) {
        execute(command, place);
      });
    }
    if (!open_) return false;
    const std::uint32_t taken = consume();
    if (!open_) return false;
    worked = worked || taken != 0;
    if (consumer_.unpublished() >= 256) consumer_.publish_tail();
    // With waits or parked commands there is more to look at than the ring: run() goes on.
    if (is_called_off(epoch) || session_.waits().open() != 0 || !parking_.empty()) break;
    if (taken < kBatch && !linger(epoch)) break;
  }
  consumer_.publish_tail();
  return worked;
}

// True when the ring has more.
bool Drain::linger(std::uint32_t epoch) {
  if (consumer_.position() >= limit_) return false;
  for (std::uint32_t look = 0; look < kLingerLooks; ++look) {
    if (consumer_.has_more()) return true;
    if (is_called_off(epoch)) return false;
    if (look == kPublishLook) consumer_.publish_tail();
    ring::cpu_relax();
  }
  return false;
}

// Takes up to kBatch commands. The ring is closed where the client broke the protocol.
std::uint32_t Drain::consume() {
  std::uint32_t taken = 0;
  while (taken < kBatch && !parking_.full()) {
    ring::Record record;
    const ring::Next next = consumer_.next(&record, limit_);
    if (next == ring::Next::corrupt) {
      corrupt(ring::describe(consumer_.fault()));
      return taken;
    }
    if (next != ring::Next::record) break;
    ++taken;
    take(record);
    if (session_.broken()) {
      open_ = false;
      return taken;
    }
  }
  if (taken == 0) return 0;
  // This thread alone writes the counters.
  commands_.store(commands_.load(std::memory_order_relaxed) + taken, std::memory_order_relaxed);
  std::atomic<std::uint64_t>& shown = header_.load(std::memory_order_relaxed)->commands;
  shown.store(shown.load(std::memory_order_relaxed) + taken, std::memory_order_relaxed);
  return taken;
}

void Drain::corrupt(const char* what) {
  open_ = false;
  session_.protocol_error(CallId::none, what);
}

void Drain::take(const ring::Record& record) {
  const std::size_t bytes = record.payload.size();
  const std::size_t words = (bytes + kRecordAlign - 1) / kRecordAlign;
  if (scratch_.size() < words) scratch_.resize(words);
  // One copy: the client may write into the ring at any time.
  copy_payload(scratch_.data(), record.payload.data(), bytes);
  const Command command(record.header,
                        {reinterpret_cast<const std::uint8_t*>(scratch_.data()), bytes});
  const OrderPlace place = order_of(command);
  const bool held = session_.save_job() == nullptr ? parking_.must_wait(place)
                                                   : parking_.must_park(command, place);
  if (!held) {
    execute(command, place);
  } else if (!answer_query(command, place)) {
    park(command, place);
  }
}

// A save under way may need that a command waits: one that takes away memory which is still read.
bool Drain::admits(const Command& command, const OrderPlace& place) {
  SaveJob* job = session_.save_job();
  return job == nullptr || job->admits(command, place);
}

// A save under way orders what comes after its cut behind what it does on the device. What is
// captured does not run yet, and nothing of ours may get into the program's graph.
void Drain::show_to_save(const Command& command, const OrderPlace& place) {
  SaveJob* job = session_.save_job();
  const bool may_capture = session_.streams().captures() != 0;
  if (!place.counts || (job == nullptr && !may_capture)) return;
  void* real = nullptr;
  if (session_.resolve(HandleType::stream, *place.stream, true, &real) != CUDA_SUCCESS) return;
  const auto stream = static_cast<CUstream>(real);
  if (may_capture && session_.streams().is_capturing(stream)) {
    session_.graph_writes().captured(session_, command);
  } else if (job != nullptr) {
    job->before_command(command, *place.stream, stream);
  }
}

// A query about something parked is answered at once: it has not happened yet.
bool Drain::answer_query(const Command& command, const OrderPlace& place) {
  if (!place.asks) return false;
  Reply reply(&session_, command.header());
  reply.finish(CUDA_ERROR_NOT_READY);
  return true;
}

void Drain::park(const Command& command, const OrderPlace& place) {
  if (!place.after_everything || !command.is_sync() ||
      !facts_of(command.call()).destroys) {
    parking_.park(command, place);
    return;
  }
  // Nobody may name the object any more, so the program need not wait for what lies before it;
  // it may be the very thread that lets it go on.
  Reply(&session_, command.header()).finish(CUDA_SUCCESS);
  RecordHeader header = command.header();
  header.flags = static_cast<std::uint16_t>(header.flags & ~kRecordSync);
  parking_.park(Command(header, command.payload()), place);
}

void Drain::execute(const Command& command, const OrderPlace& place) {
  const CallFacts& facts = facts_of(command.call());
  if (facts.handler == nullptr) {
    session_.protocol_error(command.call(), "the executor has no such command");
    return;
  }
  if (facts.may_block) {
    run_on_helper(command, facts.handler);
    return;
  }
  Reply reply(&session_, command.header());
  if (entered_ != CUDA_SUCCESS) {
    reply.finish(entered_);
    return;
  }
  show_to_save(command, place);
  if (!session_.captures().empty()) session_.note_captured(command, place);
  facts.handler(session_, command, reply);
  if (place.records != 0) {
    Object* event = session_.find(HandleType::event, place.records);
    if (event != nullptr) event->state = kEventRecorded;
  }
  if (!place.counts || session_.streams().submitted_again(*place.stream, place.function)) return;
  void* real = nullptr;
  if (session_.resolve(HandleType::stream, *place.stream, true, &real) == CUDA_SUCCESS) {
    session_.streams().submitted(*place.stream, static_cast<CUstream>(real), place.function);
  }
}

void Drain::run_on_helper(const Command& command, Handler handler) {
  auto owned = std::make_shared<OwnedCommand>(command);
  session_.helpers().run([this, owned, handler] {
    const Command view = owned->view();
    Reply reply(&session_, view.header());
    const CUresult entered = session_.enter_context();
    if (entered != CUDA_SUCCESS) {
      reply.finish(entered);
      return;
    }
    handler(session_, view, reply);
  });
}

CapturedReply Drain::replay(const SavedCommand& saved, Waiting waiting) {
  RecordHeader header{};
  header.op = saved.op;
  header.flags = waiting == Waiting::somebody ? kRecordSync : std::uint16_t{0};
  header.context = saved.context;
  const OwnedCommand owned(Command(header, saved.payload));
  const Command command = owned.view();
  CapturedReply captured;
  captured.status = CUDA_ERROR_UNKNOWN;
  const Handler handler = handler_for(command.call());
  if (handler == nullptr) return captured;
  session_.capture_replies(&captured);
  Reply reply(&session_, command.header());
  const CUresult entered = session_.enter_context();
  if (entered != CUDA_SUCCESS) {
    captured.status = entered;
  } else {
    // Where nobody waits, a handler that succeeds says so to nobody.
    const bool silent = waiting != Waiting::somebody;
    if (silent) captured.status = CUDA_SUCCESS;
    handler(session_, command, reply);
    if (silent && !reply.settled()) captured.status = CUDA_ERROR_UNKNOWN;
  }
  session_.capture_replies(nullptr);
  return captured;
}

DrainState Drain::state() {
  const SessionLock lock(session_);
  DrainState state;
  RingHeader* header = header_.load();
  state.attached = header != nullptr;
  if (header != nullptr) {
    state.head = header->head.load(std::memory_order_acquire);
    state.position = open_ ? consumer_.position() : header->tail.load(std::memory_order_acquire);
  }
  state.parked = parking_.size();
  state.waits = session_.waits().open();
  return state;
}

}  // namespace phos::executor
