// SPDX-License-Identifier: Apache-2.0
// The socket on which one client hands over its ring and its arenas. A thread of its own polls it,
// watches the client's sign of life in the ring, and confirms its end by pidfd.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "executor/host_arenas.h"
#include "executor/seqpacket.h"
#include "phos/ring_layout.h"
#include "phos/wire.h"

namespace phos::executor {

struct ExpectedClient {
  std::uint8_t client_id[16]{};
  std::uint8_t token[16]{};
  std::uint32_t pid = 0;  // 0: any process of the user
  std::uint32_t uid = 0;
};

enum class LostReason : std::uint8_t { hang_up, protocol, disconnected, exit };
const char* name_of(LostReason reason) noexcept;

// Called on the server's thread.
struct RingServerHooks {
  // The ring is mapped and sound: consume it. `fd` stays open for ring_memory().
  std::function<bool(void* base, std::size_t bytes, const Peer& peer, bool reattached)> attached;
  std::function<CUresult(const ArenaFacts&, int fd)> add_arena;
  std::function<CUresult(std::uint64_t address)> remove_arena;
  // The agent has closed its socket because it was asked to.
  std::function<void()> disconnected;
  std::function<void(LostReason, const std::string& detail)> lost;
};

class RingServer {
 public:
  RingServer(std::string path, RingServerHooks hooks);
  ~RingServer();

  void start();
  void expect(const ExpectedClient& client);
  // Asks the agent to close its socket, and waits for it. TIMEOUT when it does not.
  void disconnect(std::uint32_t deadline_ms);
  // Cuts the client off: it broke the protocol.
  void cut_off(const std::string& why);
  void close();

  // Descriptor and size of the ring that was mapped last; -1 while there is none.
  int ring_fd() const noexcept { return ring_fd_.load(); }
  std::size_t ring_bytes() const noexcept { return ring_bytes_.load(); }
  std::uint32_t client_pid() const noexcept { return pid_.load(); }

 private:
  struct Mapping {
    void* base = nullptr;
    std::size_t bytes = 0;
    std::uint64_t inode = 0;
    std::uint64_t device = 0;
    Descriptor fd;
  };

  void serve();
  void watch();
  void wake() noexcept;
  void take_connection();
  void take_messages();
  void handle(const Message& message, Message& owned);
  void hand_over(Message& message);
  void take_arena(Message& message);
  void finish_hand_over();
  bool map_ring(Message& message, std::uint64_t bytes);
  void refuse(std::uint32_t serial, std::uint32_t status, const std::string& why);
  void acknowledge(std::uint32_t serial, CUresult status);
  void hang_up();
  void lose(LostReason reason, const std::string& detail);

  const std::string path_;
  const RingServerHooks hooks_;
  Descriptor listener_;
  Descriptor wake_;
  Descriptor connection_;
  Descriptor pidfd_;
  Peer peer_;
  std::thread thread_;
  std::thread watcher_;
  std::atomic<bool> stopping_{false};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<ExpectedClient> expected_;
  bool handed_over_ = false;      // on the current connection
  bool asked_to_leave_ = false;   // Disconnect was sent
  bool has_left_ = false;         // and the agent closed its socket
  bool want_disconnect_ = false;
  std::string cut_off_why_;
  bool lost_ = false;

  Mapping ring_;
  std::uint32_t arenas_to_come_ = 0;
  std::uint32_t handover_serial_ = 0;
  bool reattached_ = false;
  std::atomic<int> ring_fd_{-1};
  std::atomic<std::size_t> ring_bytes_{0};
  std::atomic<std::uint32_t> pid_{0};
  std::atomic<RingHeader*> watched_{nullptr};
  std::atomic<bool> saw_death_{false};
};

}  // namespace phos::executor
