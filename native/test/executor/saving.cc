// SPDX-License-Identifier: Apache-2.0
#include "saving.h"

#include <stdlib.h>

#include <filesystem>

namespace phos::test {

using executor::SaveBegun;
using executor::SaveMode;
using executor::SaveOptions;
using executor::SaveReport;

Folder::Folder() {
  char name[] = "/tmp/phos-save-XXXXXX";
  require(::mkdtemp(name) != nullptr, "a folder");
  path_ = name;
}

Folder::~Folder() { std::filesystem::remove_all(path_); }

SaveOptions options_of(SaveMode mode, const std::string& directory) {
  SaveOptions options;
  options.directory = directory;
  options.image.lanes = 2;
  options.mode = mode;
  options.open_gate = mode != SaveMode::stop;
  return options;
}

std::string undisturbed(const Program& program) {
  SimClient client;
  for (const Step& step : program.setup) step(client);
  run_steps(client, program, 0, program.steps.size());
  client.synchronise();
  return client.state();
}

SaveReport save_at(const Program& program, std::size_t at, SaveMode mode,
                   const std::string& expected) {
  const std::string where = program.name + " at step " + std::to_string(at) + " in mode " +
                            executor::name_of(mode);
  const Folder folder;
  auto client = std::make_unique<SimClient>();
  for (const Step& step : program.setup) step(*client);
  run_steps(*client, program, 0, at);
  const std::uint64_t cut = client->cut(mode == SaveMode::stop);
  const std::vector<std::uint8_t> ring = client->ring_copy();
  const SaveBegun begun = client->executor().save_begin(options_of(mode, folder.path()));
  require(begun.cut == cut && begun.mode == mode, where + ": another cut or mode");
  require(begun.gate_opened == (mode != SaveMode::stop), where + ": the gate");
  require(begun.hold.driver_calls <= 200, where + ": too many calls under the hold");
  // What the restored program knows are the places at the cut.
  const std::vector<Place> places = client->places();
  SaveReport report;
  if (mode == SaveMode::stop) {
    report = client->executor().save_finish({});
    client->open_gate();
    run_steps(*client, program, at, program.steps.size());
  } else {
    run_steps(*client, program, at, program.steps.size());
    report = client->executor().save_finish({});
  }
  require(report.aside.missed == 0 || mode == SaveMode::cow, where + ": a miss");
  client->synchronise();
  require(client->state() == expected, where + ": the program that went on ended otherwise");
  require(client->executor().status().deferred_errors == 0, where + ": errors");
  client.reset();
  // What wrote through addresses in device memory was not foreseen, but noticed.
  if (report.aside.missed != 0) {
    require(program.writes_unseen, where + ": " + std::to_string(report.aside.missed) + " misses");
    require(!report.suspects.empty(), where + ": a miss without a suspect");
    return report;
  }
  SimClient restored(ring, places, folder.path());
  run_steps(restored, program, at, program.steps.size());
  restored.synchronise();
  require(restored.state() == expected, where + ": the restored program ended otherwise");
  return report;
}

}  // namespace phos::test
