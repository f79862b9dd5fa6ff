// SPDX-License-Identifier: Apache-2.0
// Restore on a driver that loads lazily: it gives variables and code their addresses at the first
// use, in a space that it hands out again. Random programs are saved and built again on a driver
// that starts empty; every address must come out the same.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <set>

#include "executor/blob_store.h"
#include "executor/checkpoint.h"
#include "executor/failure.h"
#include "fake_driver.h"
#include "gen/codec.h"
#include "lazy_driver.h"

namespace phos::executor {
namespace {

using test::g_placer;
using test::kUnit;
using test::lazy_table;
using test::Placer;

// One executor's session with a driver of its own that has placed nothing yet.
class Machine {
 public:
  Machine()
      : session_(lazy_table(fake().table()), 0, nullptr, 0x500000000000, 0, SessionEvents{}),
        drain_(session_) {
    enter();
  }
  ~Machine() { enter(); }  // what is left behind is unloaded
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  // The driver's functions know no other way to the state that is theirs.
  void enter() { g_placer = &placer_; }
  Session& session() { return session_; }
  Drain& drain() { return drain_; }
  Placer& placer() { return placer_; }

  // As if the command had come from the ring.
  template <class Request>
  CUresult call(Request request, const std::string& name = {}) {
    enter();
    const SessionLock lock(session_);
    SavedCommand command;
    command.op = static_cast<std::uint16_t>(Request::kCall);
    if constexpr (Request::kBlobs == 0) {
      command.payload.resize(sizeof(request));
      std::memcpy(command.payload.data(), &request, sizeof(request));
    } else {
      struct Text {
        const void* data;
        std::size_t size;
      };
      Text blobs[Request::kBlobs] = {};
      if (!name.empty()) blobs[0] = {name.c_str(), name.size() + 1};
      const std::span<const Text> all(blobs);
      command.payload.resize(codec::payload_bytes(sizeof(request), all));
      codec::write_payload(command.payload.data(), &request, sizeof(request), all);
    }
    return drain_.replay(command).status;
  }

 private:
  static test::FakeDriver& fake() {
    static test::FakeDriver driver;
    return driver;
  }

  Placer placer_;
  Session session_;
  Drain drain_;
};

constexpr char kImage[] =
    ".version 7.0\n.target sm_80\n.address_size 64\n"
    ".visible .global .u32 a;\n.visible .global .u32 b;\n"
    ".visible .entry f()\n{\n\tret;\n}\n.visible .entry g()\n{\n\tret;\n}\n";

std::uint64_t wire(HandleType type, std::uint32_t index) {
  return make_handle(static_cast<std::uint8_t>(type), 1, index);
}

// A program that loads, looks up, launches and unloads as its seed says.
class Program {
 public:
  Program(Machine& machine, std::uint32_t seed) : machine_(machine), random_(seed) {}

  void run(int steps) {
    for (int i = 0; i < steps; ++i) step();
  }

 private:
  struct Code {
    bool is_module = false;
    std::uint32_t index = 0;
    std::vector<std::uint64_t> functions;
  };

  std::uint32_t pick(std::size_t below) {
    return static_cast<std::uint32_t>(random_() % static_cast<std::uint32_t>(below));
  }
  HandleType type_of(const Code& code) const {
    return code.is_module ? HandleType::module : HandleType::library;
  }
  // The lowest number that nothing of the type has: handles are used again.
  std::uint32_t free_index(std::set<std::uint32_t>& used) {
    std::uint32_t index = 1;
    while (used.contains(index)) ++index;
    used.insert(index);
    return index;
  }

  void load() {
    Code code;
    code.is_module = pick(2) == 0;
    code.index = free_index(owners_);
    const std::vector<std::uint8_t> image(kImage, kImage + sizeof(kImage));
    {
      const SessionLock lock(machine_.session());
      machine_.session().blobs().piece(++images_, image.size(), 0, image.data(), image.size());
    }
    CUresult result = CUDA_SUCCESS;
    if (code.is_module) {
      codec::Req_phos_module_load request{};
      request.module = wire(HandleType::module, code.index);
      request.image = images_;
      result = machine_.call(request);
    } else {
      codec::Req_phos_library_load request{};
      request.library = wire(HandleType::library, code.index);
      request.image = images_;
      result = machine_.call(request);
    }
    ASSERT_EQ(result, CUDA_SUCCESS);
    code_.push_back(code);
  }

  void find_function(Code& code) {
    const std::string name = pick(2) == 0 ? "f" : "g";
    CUresult result = CUDA_SUCCESS;
    if (code.is_module) {
      codec::Req_phos_module_function request{};
      request.function = wire(HandleType::function, free_index(functions_));
      request.module = wire(HandleType::module, code.index);
      code.functions.push_back(request.function);
      result = machine_.call(request, name);
    } else {
      codec::Req_phos_library_kernel request{};
      request.kernel = wire(HandleType::kernel, free_index(functions_));
      request.library = wire(HandleType::library, code.index);
      code.functions.push_back(request.kernel);
      result = machine_.call(request, name);
    }
    ASSERT_EQ(result, CUDA_SUCCESS);
  }

  void launch(const Code& code) {
    if (code.functions.empty()) return;
    codec::Req_phos_launch request{};
    request.function = code.functions[pick(code.functions.size())];
    ASSERT_EQ(machine_.call(request), CUDA_SUCCESS);
  }

  void look_up(const Code& code) {
    const std::string name = pick(2) == 0 ? "a" : "b";
    codec::Req_cuModuleGetGlobal of_module{};
    codec::Req_cuLibraryGetGlobal of_library{};
    of_module.hmod = wire(HandleType::module, code.index);
    of_library.library = wire(HandleType::library, code.index);
    ASSERT_EQ(code.is_module ? machine_.call(of_module, name) : machine_.call(of_library, name),
              CUDA_SUCCESS);
  }

  void unload(std::size_t at) {
    const Code code = code_[at];
    code_.erase(code_.begin() + static_cast<std::ptrdiff_t>(at));
    for (const std::uint64_t function : code.functions) functions_.erase(handle_index(function));
    owners_.erase(code.index);
    codec::Req_cuModuleUnload of_module{};
    codec::Req_cuLibraryUnload of_library{};
    of_module.hmod = wire(HandleType::module, code.index);
    of_library.library = wire(HandleType::library, code.index);
    ASSERT_EQ(code.is_module ? machine_.call(of_module) : machine_.call(of_library), CUDA_SUCCESS);
  }

  void step() {
    if (code_.empty()) return load();
    const std::size_t at = pick(code_.size());
    switch (pick(6)) {
      case 0: return load();
      case 1: return look_up(code_[at]);
      case 2: return unload(at);
      case 3: return find_function(code_[at]);
      default: return launch(code_[at]);
    }
  }

  Machine& machine_;
  std::mt19937 random_;
  std::vector<Code> code_;
  std::set<std::uint32_t> owners_;
  std::set<std::uint32_t> functions_;
  std::uint64_t images_ = 0;
};

Snapshot save(Machine& machine) {
  machine.enter();
  const SessionLock lock(machine.session());
  return take_snapshot(machine.session(), SnapshotFacts{}, false);
}

// Through the bytes of an image, as a restore would get it.
Snapshot travel(const Snapshot& snapshot) {
  const auto bytes = encode_objects(snapshot);
  ByteReader reader(bytes, "objects", 0);
  Snapshot read = decode_objects(reader);
  read.blobs = snapshot.blobs;
  return read;
}

TEST(Placement, RandomProgramsComeBackToTheSameAddresses) {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Machine first;
    Program program(first, seed);
    program.run(40);
    const Snapshot saved = save(first);
    Machine second;
    ASSERT_NO_THROW(rebuild(second.session(), second.drain(), travel(saved)));
    EXPECT_EQ(second.placer().taken, first.placer().taken);
    // What came back can be saved and brought back again.
    const Snapshot again = save(second);
    EXPECT_EQ(again.objects.size(), saved.objects.size());
    EXPECT_EQ(again.placements.size(), saved.placements.size());
    Machine third;
    ASSERT_NO_THROW(rebuild(third.session(), third.drain(), travel(again)));
    EXPECT_EQ(third.placer().taken, first.placer().taken);
  }
}

TEST(Placement, LooksUpNothingInLibrariesThatNobodyTouched) {
  Machine machine;
  const std::vector<std::uint8_t> image(kImage, kImage + sizeof(kImage));
  {
    const SessionLock lock(machine.session());
    machine.session().blobs().piece(1, image.size(), 0, image.data(), image.size());
  }
  codec::Req_phos_library_load request{};
  request.library = wire(HandleType::library, 1);
  request.image = 1;
  ASSERT_EQ(machine.call(request), CUDA_SUCCESS);
  EXPECT_TRUE(save(machine).variables.empty());
  EXPECT_TRUE(machine.placer().taken.empty());
}

TEST(Placement, RemembersALimitedNumberOfModulesThatWent) {
  Machine machine;
  const std::vector<std::uint8_t> image(kImage, kImage + sizeof(kImage));
  for (std::uint64_t round = 1; round <= kMaxPlaceholders + 10; ++round) {
    {
      const SessionLock lock(machine.session());
      machine.session().blobs().piece(round, image.size(), 0, image.data(), image.size());
    }
    codec::Req_phos_module_load request{};
    request.module = wire(HandleType::module, 1);
    request.image = round;
    ASSERT_EQ(machine.call(request), CUDA_SUCCESS);
    codec::Req_cuModuleUnload unload{};
    unload.hmod = request.module;
    ASSERT_EQ(machine.call(unload), CUDA_SUCCESS);
  }
  EXPECT_EQ(machine.session().placements().gone().size(), kMaxPlaceholders);
  EXPECT_EQ(machine.session().placements().entries().size(), kMaxPlaceholders);
}

TEST(Placement, RestoresLimitsOfTheContextOnce) {
  Machine first;
  codec::Req_cuCtxSetLimit request{};
  request.limit = CU_LIMIT_STACK_SIZE;
  request.value = 4096;
  ASSERT_EQ(first.call(request), CUDA_SUCCESS);
  request.value = 8192;
  ASSERT_EQ(first.call(request), CUDA_SUCCESS);
  const Snapshot saved = save(first);
  EXPECT_EQ(saved.placements.size(), 1U);
  Machine second;
  rebuild(second.session(), second.drain(), travel(saved));
  EXPECT_EQ(second.placer().stack_limit, 8192U);
}

TEST(Placement, RefusesWhatLiesElsewhere) {
  Machine first;
  Program program(first, 7);
  program.run(40);
  const Snapshot saved = save(first);
  ASSERT_FALSE(saved.variables.empty());
  Machine second;
  second.placer().taken.insert(kUnit);
  EXPECT_THROW(rebuild(second.session(), second.drain(), travel(saved)), Failure);
}

}  // namespace
}  // namespace phos::executor
