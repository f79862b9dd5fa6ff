// SPDX-License-Identifier: Apache-2.0
#include "programs.h"

namespace phos::test {

namespace {

constexpr std::uint64_t kLarge = 5U << 20;  // two chunks and a half
constexpr std::uint32_t kWords = 3000;

Step launch_change(std::uint32_t place, std::uint64_t offset, std::uint32_t k,
                   std::uint32_t stream) {
  return [=](SimClient& client) {
    const std::uint64_t parameters[] = {client.at(place) + offset,
                                        kWords | std::uint64_t{k} << 32};
    client.launch(change, parameters, {(kWords + 255) / 256, 256}, stream);
  };
}

void common_setup(SimClient& client) {
  client.load_module(0, kKernels);
  const char* const names[] = {"change", "through_table", "through_list", "aim",
                               "through_global"};
  for (std::uint32_t i = 0; i < std::size(names); ++i) client.find_function(i, 0, names[i]);
  client.make_stream(1);
  client.make_stream(2);
  client.make_event(1);
  client.make_event(2);
}

}  // namespace

Program streams_program() {
  Program program{"streams", {common_setup}, {}, false};
  program.setup.push_back([](SimClient& client) {
    client.allocate(0, kLarge);
    client.allocate(1, kLarge);
    client.allocate(2, 5000);
    client.set(0, 0, kLarge, 0x11, 1);
    client.set(1, 0, kLarge, 0x22, 2);
    client.set(2, 0, 5000, 0x33, 1);
    client.synchronise();
  });
  program.steps = {
      launch_change(0, 0, 7, 1),
      [](SimClient& client) { client.set(1, kLarge / 2, kLarge / 2, 0x44, 2); },
      [](SimClient& client) { client.order(1, 1, 2); },
      [](SimClient& client) { client.copy(1, 100, 0, 0, 3U << 20, 2); },
      launch_change(0, 2U << 20, 9, 2),
      [](SimClient& client) { client.order(2, 2, 1); },
      launch_change(0, (2U << 20) - 4000, 11, 1),
      [](SimClient& client) { client.copy(2, 8, 1, 104, 4000, 1); },
      [](SimClient& client) { client.synchronise(); },
      [](SimClient& client) { client.set(2, 0, 16, 0x55, 0); },
      launch_change(1, 0, 13, 0),
  };
  return program;
}

Program memory_program() {
  Program program{"memory", {common_setup}, {}, false};
  program.setup.push_back([](SimClient& client) {
    client.allocate(0, kLarge);
    client.allocate(1, 3U << 20);
    client.allocate(2, 40'000);
    for (std::uint32_t place = 0; place < 3; ++place) {
      client.set(place, 0, place == 2 ? 40'000 : 3U << 20, 0x21, 1);
    }
    client.synchronise();
  });
  program.steps = {
      launch_change(1, 0, 3, 1),
      [](SimClient& client) { client.copy(0, 0, 1, 0, 3U << 20, 1); },
      [](SimClient& client) { client.free(1); },
      [](SimClient& client) { client.allocate(3, 3U << 20); },
      [](SimClient& client) { client.set(3, 0, 3U << 20, 0x66, 2); },
      launch_change(3, 0, 5, 2),
      launch_change(2, 0, 5, 1),
      [](SimClient& client) { client.free(2); },
      [](SimClient& client) { client.allocate(4, 40'000); },
      [](SimClient& client) { client.set(4, 0, 40'000, 0x77, 2); },
  };
  return program;
}

Program pointers_program() {
  Program program{"pointers", {common_setup}, {}, true};
  program.setup.push_back([](SimClient& client) {
    client.allocate(0, kLarge);
    client.allocate(1, 2048, false);  // the table
    client.allocate(2, 4U << 20);
    client.allocate(3, 2048, false);  // the list
    client.set(0, 0, kLarge, 0x12, 1);
    client.set(2, 0, 4U << 20, 0x13, 1);
    std::uint64_t table[16];
    for (std::uint64_t i = 0; i < 16; ++i) table[i] = client.at(i % 2 * 2) + i * 250'000;
    client.write(1, 0, table, 1);
    std::uint64_t list[8];
    for (std::uint64_t i = 0; i < 4; ++i) {
      list[2 * i] = i == 3 ? 0 : client.at(3) + (i + 1) * 16;
      list[2 * i + 1] = i;
    }
    client.write(3, 0, list, 1);
    client.synchronise();
  });
  const auto table = [](std::uint32_t k) {
    return [k](SimClient& client) {
      const std::uint64_t parameters[] = {client.at(1), 16 | std::uint64_t{k} << 32};
      client.launch(through_table, parameters, {1, 32}, 1);
    };
  };
  program.steps = {
      table(3),
      [](SimClient& client) {
        const std::uint64_t parameters[] = {client.at(3), 5};
        client.launch(through_list, parameters, {1, 32}, 1);
      },
      [](SimClient& client) {
        const std::uint64_t parameters[] = {client.at(0) + (4U << 20)};
        client.launch(aim, parameters, {1, 32}, 1);
      },
      [](SimClient& client) {
        const std::uint64_t parameters[] = {5};
        client.launch(through_global, parameters, {1, 32}, 1);
      },
      table(8),
      launch_change(2, 0, 4, 1),
  };
  return program;
}

std::vector<Program> all_programs() {
  return {streams_program(), memory_program(), pointers_program()};
}

void run_steps(SimClient& client, const Program& program, std::size_t first, std::size_t end) {
  for (std::size_t i = first; i < end; ++i) program.steps[i](client);
}

}  // namespace phos::test
