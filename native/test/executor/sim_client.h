// SPDX-License-Identifier: Apache-2.0
// A program's end of a ring and the executor that serves it over the sim device, in one process:
// what a test needs to stop a program at any command, save it, and bring it back elsewhere.
//
// The sim device reads its settings once a process, so every run with a seed of its own is a child
// process (in_child).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "executor/executor.h"
#include "executor/handler_tools.h"
#include "gen/codec.h"
#include "ring/producer.h"
#include "ring/reply.h"

namespace phos::test {

// Thrown by everything here that does not go as it must; in_child() prints it.
struct Wrong {
  std::string what;
};
[[noreturn]] void wrong(const std::string& what);
void require(bool condition, const std::string& what);

// Runs `body` in a child process with that seed of sim's scheduler (0: the fast setting). Returns
// what went wrong, empty when nothing did. The calling process must not have started the driver.
std::string in_child(std::uint64_t seed, const std::function<void()>& body);

std::uint64_t wire(HandleType type, std::uint32_t index);

struct Place {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  bool compared = true;  // false: holds addresses, which differ from run to run
};

struct LaunchShape {
  std::uint32_t blocks = 1;
  std::uint32_t threads = 32;
};

class SimClient {
 public:
  // A fresh program with its executor.
  SimClient();
  // A program that comes back: loads the image; the ring and the places are those at the cut.
  SimClient(const std::vector<std::uint8_t>& ring_at_cut, std::vector<Place> places,
            const std::string& directory);
  ~SimClient();
  SimClient(const SimClient&) = delete;
  SimClient& operator=(const SimClient&) = delete;

  // --- commands; `stream` is an index, 0 for the legacy stream --------------------------------
  void load_module(std::uint32_t index, const std::string& ptx);
  void unload_module(std::uint32_t index);
  void find_function(std::uint32_t index, std::uint32_t module, const std::string& name);
  void make_stream(std::uint32_t index, bool blocking = false);
  void make_event(std::uint32_t index);
  void allocate(std::uint32_t place, std::uint64_t bytes, bool compared = true);
  void free(std::uint32_t place);
  void set(std::uint32_t place, std::uint64_t offset, std::uint64_t bytes, std::uint8_t value,
           std::uint32_t stream);
  void write(std::uint32_t place, std::uint64_t offset, std::span<const std::uint64_t> words,
             std::uint32_t stream);
  void copy(std::uint32_t to, std::uint64_t to_offset, std::uint32_t from,
            std::uint64_t from_offset, std::uint64_t bytes, std::uint32_t stream);
  void launch(std::uint32_t function, std::span<const std::uint64_t> parameters,
              LaunchShape shape, std::uint32_t stream);
  void record(std::uint32_t event, std::uint32_t stream);
  float elapsed_ms(std::uint32_t start, std::uint32_t end);
  // Work that `to` gets later waits for what `from` has now.
  void order(std::uint32_t event, std::uint32_t from, std::uint32_t to);
  // The stream waits until the word of 32 bits there is 1.
  void await_word(std::uint32_t place, std::uint64_t offset, std::uint32_t stream);
  void begin_capture(std::uint32_t graph, std::uint32_t stream);
  void end_capture(std::uint32_t stream);
  void instantiate(std::uint32_t exec, std::uint32_t graph);
  void launch_graph(std::uint32_t exec, std::uint32_t stream);
  void synchronise();

  const std::vector<Place>& places() const { return places_; }
  std::uint64_t at(std::uint32_t place) const { return places_.at(place).address; }

  // --- checkpoints ------------------------------------------------------------------------
  // Closes the gate; everything before it is with the driver. `finished`: on the device too.
  std::uint64_t cut(bool finished);
  std::vector<std::uint8_t> ring_copy() const;
  void open_gate() { executor_->open_gate(); }
  executor::Executor& executor() { return *executor_; }

  // Everything that a program could find out of its memory: the bytes of compared places, and of
  // the variables of every module. After synchronise().
  std::string state();

 private:
  void start();
  template <class Request>
  void post(const Request& request, std::span<const executor::OutBlob> blobs = {});
  template <class Request>
  void call(const Request& request, std::span<const executor::OutBlob> blobs = {});
  void send(std::uint16_t op, std::uint16_t flags, std::uint32_t sequence, const void* fixed,
            std::size_t bytes, std::span<const executor::OutBlob> blobs);
  std::string bytes_at(std::uint64_t address, std::uint64_t bytes);

  std::size_t ring_bytes_ = 0;
  RingHeader* header_ = nullptr;
  ring::Geometry geometry_{};
  ring::Producer producer_;
  ring::ReplyTable replies_;
  std::unique_ptr<executor::Executor> executor_;
  std::thread drain_;
  std::vector<Place> places_;
};

// The kernels that programs of the tests launch.
extern const char* const kKernels;

}  // namespace phos::test
