// SPDX-License-Identifier: Apache-2.0
// Everything about a client's device state but the bytes of its memory, as it is stored.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "executor/blob_store.h"
#include "executor/bytes.h"
#include "executor/device_memory.h"
#include "executor/object_table.h"
#include "executor/placement.h"

namespace phos::executor {

struct SnapshotFacts {
  std::uint8_t client_id[16]{};
  std::uint64_t cut = 0;
  std::uint64_t window_base = 0;
  std::string driver;
  std::string device_name;
  int driver_version = 0;
  int compute_major = 0;
  int compute_minor = 0;
  std::uint64_t device_total_bytes = 0;
};

struct SavedObject {
  HandleType type = HandleType::none;
  std::uint64_t wire = 0;
  std::uint64_t creation = 0;
  bool live = true;  // false: it was destroyed, and only its place counts
  std::uint64_t value = 0;
  std::uint64_t state = 0;
  Digest image;  // in the blobs: code of modules and libraries, elements of arrays
  std::vector<std::uint64_t> parents;
  SavedCommand create;
  std::vector<SavedCommand> mutations;
  std::vector<SavedCommand> recipe;  // captured graphs
};

// Memory to copy. Variables lie where the driver put them: restore compares the addresses.
struct Region {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::uint64_t module = 0;  // wire handle; 0 for memory of the window
  std::string name;          // of the variable
};

struct Snapshot {
  SnapshotFacts facts;
  std::vector<Allocation> allocations;
  std::vector<SavedObject> objects;  // by creation
  std::vector<Placement> placements;  // by order, among creations and changes
  std::vector<Region> variables;
  std::vector<MemoryRange> ranges;  // granules of live allocations; not stored, they follow
  std::map<Digest, Blob> blobs;
};

std::vector<std::uint8_t> encode_objects(const Snapshot& snapshot);
// Fills everything but ranges and blobs. `reader` names the file in messages.
Snapshot decode_objects(ByteReader& reader);

}  // namespace phos::executor
