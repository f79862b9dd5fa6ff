// SPDX-License-Identifier: Apache-2.0
// The engine's edges: what does not fit, pools that are full, saves that are given up or time out,
// and writes that nobody could foresee.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "drivers/sim/sim.h"
#include "executor/change_hasher.h"
#include "executor/failure.h"
#include "executor/fault.h"
#include "saving.h"

namespace phos::test {
namespace {

using executor::Failure;
using executor::SaveMode;
using executor::SaveOptions;
using executor::SaveReport;

std::string code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Failure& failure) {
    return error_code_name(failure.code());
  }
  return "";
}

// A program at rest with `chunks` chunks in one allocation.
std::unique_ptr<SimClient> with_chunks(std::uint64_t chunks) {
  auto client = std::make_unique<SimClient>();
  client->load_module(0, kKernels);
  client->find_function(change, 0, "change");
  client->make_stream(1);
  client->make_stream(2);
  client->allocate(0, chunks << 21);
  client->set(0, 0, chunks << 21, 0x17, 1);
  client->synchronise();
  return client;
}

void expect_child(const std::function<void()>& body, std::uint64_t seed = 0) {
  EXPECT_EQ(in_child(seed, body), "") << "seed " << seed;
}

TEST(Save, KernelAndProcessorHashAlike) {
  expect_child([] {
    // Interpreted, so that it is the PTX that is compared.
    ::setenv("PHOS_SIM_INTERPRET", "1", 1);
    auto client = with_chunks(2);
    std::vector<std::uint64_t> words(1500);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = i * 0x9E3779B97F4A7C15;
    client->write(0, 4096, words, 1);
    client->synchronise();
    executor::Session& session = client->executor().session();
    const DriverTable& driver = session.driver();
    driver.cuCtxSetCurrent(session.context());
    executor::ChangeHasher hasher(driver);
    require(hasher.load() == CUDA_SUCCESS, "loading the kernel");
    CUdeviceptr scratch = 0;
    const std::uint64_t table[] = {client->at(0), client->at(0) + kChunkBytes};
    driver.cuMemAlloc(&scratch, executor::ChangeHasher::scratch_bytes(2));
    driver.cuMemcpyHtoD(scratch, table, sizeof(table));
    const ChangeKey key = change_key_of(99);
    require(hasher.launch(scratch, 2, key, nullptr) == CUDA_SUCCESS, "launching the kernel");
    ChangeHash hashes[2];
    require(driver.cuMemcpyDtoH(hashes, executor::ChangeHasher::hashes_at(scratch, 2),
                                sizeof(hashes)) == CUDA_SUCCESS,
            "reading the hashes");
    std::vector<std::uint8_t> bytes(kChunkBytes);
    for (int i = 0; i < 2; ++i) {
      driver.cuMemcpyDtoH(bytes.data(), table[i], bytes.size());
      require(change_hash_of(bytes.data(), bytes.size(), key) == hashes[i],
              "chunk " + std::to_string(i) + " hashes otherwise on the device");
    }
    require(hashes[0] != hashes[1], "different chunks hash alike");
  });
}

TEST(ChangeHash, SeesEveryWordAndItsPlace) {
  const ChangeKey key = change_key_of(7);
  std::vector<std::uint64_t> words(4096, 0x0505'0505'0505'0505);
  words[9] = 6;
  const auto hash = [&] { return change_hash_of(words.data(), words.size() * 8, key); };
  const ChangeHash before = hash();
  for (std::size_t i = 0; i < words.size(); i += 61) {
    words[i] ^= std::uint64_t{1} << (i % 64);
    EXPECT_NE(hash(), before) << i;
    words[i] ^= std::uint64_t{1} << (i % 64);
  }
  std::swap(words[9], words[10]);
  EXPECT_NE(hash(), before) << "words that changed places";
  std::swap(words[9], words[10]);
  // Two numbers that change sign: sums of badly mixed words would cancel.
  words[100] ^= std::uint64_t{1} << 63;
  words[3000] ^= std::uint64_t{1} << 63;
  EXPECT_NE(hash(), before);
  EXPECT_NE(change_hash_of(words.data(), 100, key), change_hash_of(words.data(), 97, key));
  EXPECT_NE(change_hash_of(words.data(), 100, key),
            change_hash_of(words.data(), 100, change_key_of(8)));
}

// What the parent has stays on the device: in every mode, whoever wrote what in between.
TEST(Save, MovesOnlyWhatHasChangedSinceTheParent) {
  for (const SaveMode mode : {SaveMode::stop, SaveMode::snapshot, SaveMode::cow}) {
    const Folder folder;
    const Folder first;
    const std::string problem = in_child(0, [&] {
      auto client = with_chunks(8);
      client->cut(false);
      client->executor().save_begin(options_of(mode, first.path()));
      const SaveReport whole = client->executor().save_finish({});
      require(whole.image.moved_bytes > 8 * kChunkBytes, "the first image moves everything");
      client->open_gate();
      client->set(0, 3 * kChunkBytes + 100, 4, 0x99, 1);
      client->set(0, 6 * kChunkBytes, kChunkBytes, 0, 2);
      client->synchronise();
      client->cut(false);
      keep_cut(*client, folder);
      SaveOptions options = options_of(mode, image_in(folder));
      options.image.parent = first.path();
      client->executor().save_begin(options);
      const SaveReport second = client->executor().save_finish({});
      require(second.image.parent_chunks >= 6, "six chunks are the parent's");
      require(second.image.moved_bytes < 3 * kChunkBytes, "two chunks have changed");
    });
    EXPECT_EQ(problem, "") << executor::name_of(mode);
    EXPECT_EQ(in_child(0, [&] {
      const auto restored = bring_back(folder);
      std::vector<std::uint8_t> wanted(8 * kChunkBytes, 0x17);
      std::fill_n(wanted.begin() + 3 * kChunkBytes + 100, 4, 0x99);
      std::fill_n(wanted.begin() + 6 * kChunkBytes, kChunkBytes, 0);
      std::vector<std::uint8_t> found(wanted.size());
      executor::Session& session = restored->executor().session();
      session.driver().cuCtxSetCurrent(session.context());
      session.driver().cuMemcpyDtoH(found.data(), restored->at(0), found.size());
      require(found == wanted, "the restored memory is not that of the second cut");
    }), "") << executor::name_of(mode);
  }
}

TEST(Save, SetsMemoryAsideBeforeTheCut) {
  expect_child([] {
    ::setenv("PHOS_SIM_MEMORY", "64M", 1);
    auto client = with_chunks(8);
    executor::Executor& engine = client->executor();
    require(engine.save_prepare(SaveMode::stop) == 0, "mode stop needs none");
    require(engine.save_prepare(SaveMode::automatic) >= 8 * kChunkBytes, "16 MiB fit");
    // The program gets what it needs; the save does without.
    client->allocate(1, 36U << 20);
    require(engine.session().spare() == nullptr, "the program needed it");
    client->free(1);
    client->synchronise();
    require(engine.save_prepare(SaveMode::snapshot) != 0, "the program gave memory back");
    client->cut(false);
    const Folder folder;
    require(engine.save_begin(options_of(SaveMode::snapshot, folder.path())).mode ==
                SaveMode::snapshot, "a snapshot");
    require(engine.session().spare() == nullptr, "the save has it");
    engine.save_finish({});
    require(engine.save_prepare(SaveMode::snapshot) != 0, "the save gave memory back");
    engine.open_gate();
    require(engine.session().spare() == nullptr, "no save came");
  });
}

TEST(Save, ManySmallCopiesGoInOneCall) {
  expect_child([] {
    auto client = with_chunks(1);
    std::string text = ".version 7.0\n.target sm_70\n.address_size 64\n";
    for (int i = 0; i < 400; ++i) {
      text += ".visible .global .align 4 .u32 v" + std::to_string(i) + " = " +
              std::to_string(i * 7) + ";\n";
    }
    client->load_module(1, text.c_str());
    client->synchronise();
    client->cut(false);
    const Folder folder;
    const executor::SaveBegun begun =
        client->executor().save_begin(options_of(SaveMode::snapshot, folder.path()));
    require(begun.hold.driver_calls < 200, "under 200 calls while the program is held");
    require(client->executor().save_finish({}).image.chunks > 400, "every variable is there");
  });
}

TEST(Save, AutoTakesWhatFits) {
  expect_child([] {
    ::setenv("PHOS_SIM_MEMORY", "64M", 1);
    auto client = with_chunks(8);
    const Folder small;
    client->cut(false);
    require(client->executor().save_begin(options_of(SaveMode::automatic, small.path())).mode ==
                SaveMode::snapshot, "16 MiB fit");
    client->executor().save_finish({});
    client->allocate(1, 28U << 20);
    client->cut(false);
    const Folder large;
    require(client->executor().save_begin(options_of(SaveMode::automatic, large.path())).mode ==
                SaveMode::cow, "44 MiB do not fit, but chunks do");
    client->executor().save_finish({});
    client->allocate(2, 18U << 20);
    client->cut(false);
    const Folder whole;
    const auto begun =
        client->executor().save_begin(options_of(SaveMode::automatic, whole.path()));
    require(begun.mode == SaveMode::stop && !begun.gate_may_open && !begun.gate_opened,
            "nothing fits");
    client->executor().save_finish({});
    client->open_gate();
    client->cut(false);
    const Folder none;
    const auto explicitly = [&] {
      client->executor().save_begin(options_of(SaveMode::snapshot, none.path()));
    };
    require(code_of(explicitly) == "DEVICE", "an explicit mode is not replaced");
    client->open_gate();
  });
}

TEST(Save, AFullPoolHoldsTheProgramBackAndNothingIsLost) {
  for (const std::uint64_t seed : {0, 1, 2}) {
    const Folder folder;
    expect_child([&] {
      auto client = with_chunks(16);
      SaveOptions options = options_of(SaveMode::cow, image_in(folder));
      options.pool_bytes = 4 * kChunkBytes;
      client->cut(false);
      keep_cut(*client, folder);
      client->executor().save_begin(options);
      for (std::uint8_t round = 1; round < 4; ++round) {
        client->set(0, 0, 16 * kChunkBytes, round, 2);
      }
      const SaveReport report = client->executor().save_finish({});
      require(report.aside.missed == 0, "a miss");
      client->synchronise();
      require(client->executor().status().deferred_errors == 0, "errors");
    }, seed);
    expect_child([&] {
      const auto restored = bring_back(folder);
      const std::string state = restored->state();
      restored->set(0, 0, 16 * kChunkBytes, 0x17, 1);
      restored->synchronise();
      require(restored->state() == state, "the image is not of the cut");
    }, seed);
  }
}

TEST(Save, GivenUpInEitherPhaseItLeavesNothingBehind) {
  for (const SaveMode mode : {SaveMode::stop, SaveMode::snapshot, SaveMode::cow}) {
    expect_child([mode] {
      auto client = with_chunks(4);
      executor::Executor& executor = client->executor();
      const std::uint64_t reserved = executor.status().device_bytes_reserved;
      std::size_t free_before = 0;
      std::size_t free_after = 0;
      std::size_t total = 0;
      const auto free_bytes = [&](std::size_t* out) {
        executor.session().driver().cuCtxSetCurrent(executor.session().context());
        executor.session().driver().cuMemGetInfo(out, &total);
      };
      free_bytes(&free_before);
      const Folder first;
      client->cut(false);
      executor.save_begin(options_of(mode, first.path()));
      const auto again = [&] { executor.save_begin(options_of(mode, first.path())); };
      require(code_of(again) == "CONFLICT", "two at a time");
      const auto suspend = [&] { executor.suspend({}); };
      require(code_of(suspend) == "CONFLICT", "suspend during a save");
      executor.save_abort();
      const auto finish = [&] { executor.save_finish({}); };
      require(code_of(finish) == "CONFLICT", "finish after the end");
      client->open_gate();
      client->set(0, 0, 100, 1, 1);
      client->synchronise();
      // Now in the second phase, from within it.
      const Folder second;
      client->cut(false);
      executor.save_begin(options_of(mode, second.path()));
      const auto giving_up = [&] {
        executor.save_finish([&](std::uint64_t, std::uint64_t) { executor.save_abort(); });
      };
      require(code_of(giving_up) == "CANCELLED", "given up under way");
      client->open_gate();
      client->synchronise();
      free_bytes(&free_after);
      require(free_after == free_before, "device memory is still borrowed");
      require(executor.status().device_bytes_reserved == reserved, "reserved memory");
      require(executor.status().deferred_errors == 0, "errors");
    });
  }
}

TEST(Save, FailuresOfTheDeviceLeaveTheProgramRunning) {
  expect_child([] {
    auto client = with_chunks(4);
    for (const char* fault : {"snapshot.copy:1", "snapshot.copy:2", "save.copy:1",
                              "image.write:2:enospc"}) {
      const Folder folder;
      client->cut(false);
      executor::set_faults(fault);
      const std::string code = code_of([&] {
        client->executor().save_begin(options_of(SaveMode::snapshot, folder.path()));
        client->executor().save_finish({});
      });
      executor::set_faults(nullptr);
      require(code == "DEVICE" || code == "STORAGE", std::string(fault) + " answered " + code);
      client->open_gate();
      client->set(0, 0, 100, 9, 1);
      client->synchronise();
    }
    require(client->executor().status().deferred_errors == 0, "errors");
  });
}

TEST(Save, WritesThroughDeviceMemoryAreNoticedByName) {
  const Program program = pointers_program();
  const std::string expected = undisturbed(program, 0);
  const auto look = [](const SaveReport& report) {
    require(report.aside.missed != 0, "nothing was missed: the lanes were too fast for the test");
    const auto named = [&](const char* name) {
      return std::find(report.suspects.begin(), report.suspects.end(), name) !=
             report.suspects.end();
    };
    require(named("through_table"), "the kernel that did it is not named");
  };
  EXPECT_EQ(save_at(program, 0, SaveMode::cow, 0, expected, look), "");
}

}  // namespace
}  // namespace phos::test
