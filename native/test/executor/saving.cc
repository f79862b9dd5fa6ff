// SPDX-License-Identifier: Apache-2.0
#include "saving.h"

#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace phos::test {

namespace fs = std::filesystem;
using executor::SaveBegun;
using executor::SaveMode;
using executor::SaveOptions;
using executor::SaveReport;

Folder::Folder() {
  // Memory where there is some: what is tested is not the disk.
  std::string name = fs::exists("/dev/shm") ? "/dev/shm/phos-save-XXXXXX" : "/tmp/phos-save-XXXXXX";
  require(::mkdtemp(name.data()) != nullptr, "a folder");
  path_ = name;
  fs::create_directory(path_ + "/image");
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

SaveOptions options_of(SaveMode mode, const std::string& directory) {
  SaveOptions options;
  options.directory = directory;
  options.image.lanes = 2;
  options.mode = mode;
  options.open_gate = mode != SaveMode::stop;
  return options;
}

namespace {

void write_file(const std::string& path, const void* data, std::size_t bytes) {
  std::ofstream(path, std::ios::binary)
      .write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

std::string image_in(const Folder& folder) { return folder.path() + "/image"; }

void keep_cut(const SimClient& client, const Folder& folder) {
  keep_cut(client.ring_copy(), client.places(), folder);
}

void keep_cut(const std::vector<std::uint8_t>& ring, const std::vector<Place>& places,
              const Folder& folder) {
  write_file(folder.path() + "/ring", ring.data(), ring.size());
  write_file(folder.path() + "/places", places.data(), places.size() * sizeof(Place));
}

std::unique_ptr<SimClient> bring_back(const Folder& folder) {
  const std::string ring = read_file(folder.path() + "/ring");
  const std::string kept = read_file(folder.path() + "/places");
  std::vector<Place> places(kept.size() / sizeof(Place));
  std::memcpy(places.data(), kept.data(), kept.size());
  return std::make_unique<SimClient>(std::vector<std::uint8_t>(ring.begin(), ring.end()), places,
                                     image_in(folder));
}

std::string undisturbed(const Program& program, std::uint64_t seed) {
  const Folder folder;
  const std::string path = folder.path() + "/state";
  const std::string problem = in_child(seed, [&] {
    SimClient client;
    for (const Step& step : program.setup) step(client);
    run_steps(client, program, 0, program.steps.size());
    client.synchronise();
    const std::string state = client.state();
    write_file(path, state.data(), state.size());
  });
  return problem.empty() ? read_file(path) : problem;
}

namespace {

void save_and_go_on(const Program& program, std::size_t at, SaveMode mode, const Folder& folder,
                    const std::string& expected, const Look& look) {
  SimClient client;
  for (const Step& step : program.setup) step(client);
  run_steps(client, program, 0, at);
  const std::uint64_t cut = client.cut(mode == SaveMode::stop);
  // Files are written when the save has begun: the device should still be busy then.
  const std::vector<std::uint8_t> ring = client.ring_copy();
  const std::vector<Place> places = client.places();
  const SaveBegun begun = client.executor().save_begin(options_of(mode, image_in(folder)));
  keep_cut(ring, places, folder);
  require(begun.cut == cut && begun.mode == mode, "another cut or mode");
  require(begun.gate_opened == (mode != SaveMode::stop), "the gate");
  require(begun.hold.driver_calls <= 200, "too many calls under the hold");
  SaveReport report;
  if (mode == SaveMode::stop) {
    report = client.executor().save_finish({});
    client.open_gate();
    run_steps(client, program, at, program.steps.size());
  } else {
    run_steps(client, program, at, program.steps.size());
    // Whoever looks wants to know how it ends when the program was faster than the save.
    if (look) client.synchronise();
    report = client.executor().save_finish({});
  }
  client.synchronise();
  require(client.state() == expected, "the program that went on ended otherwise");
  require(client.executor().status().deferred_errors == 0, "errors");
  if (look) look(report);
  if (report.aside.missed == 0) return;
  // What wrote through addresses in device memory was not foreseen, but noticed.
  require(program.writes_unseen && mode == SaveMode::cow,
          std::to_string(report.aside.missed) + " chunks were missed");
  require(!report.suspects.empty(), "a miss without a suspect");
  write_file(folder.path() + "/missed", "", 0);
}

}  // namespace

std::string save_at(const Program& program, std::size_t at, SaveMode mode, std::uint64_t seed,
                    const std::string& expected, const Look& look) {
  const std::string where = program.name + " at step " + std::to_string(at) + " in mode " +
                            executor::name_of(mode) + ": ";
  const Folder folder;
  std::string problem = in_child(
      seed, [&] { save_and_go_on(program, at, mode, folder, expected, look); });
  if (!problem.empty()) return where + problem;
  if (fs::exists(folder.path() + "/missed")) return {};
  problem = in_child(seed, [&] {
    const auto restored = bring_back(folder);
    run_steps(*restored, program, at, program.steps.size());
    restored->synchronise();
    require(restored->state() == expected, "the restored program ended otherwise");
  });
  return problem.empty() ? problem : where + problem;
}

}  // namespace phos::test
