// SPDX-License-Identifier: Apache-2.0
#include "drivers/sim/sim.h"

#include "drivers/sim/calls.h"
#include "drivers/sim/runtime.h"
#include "drivers/sim/texture.h"

namespace phos::sim {

bool fill_driver_table(DriverTable& table) {
  if (!start_runtime()) {
    return false;
  }
  table.size = sizeof table;
  fill_unsupported(table);
  fill_error_calls(table);
  fill_device_calls(table);
  fill_primary_context_calls(table);
  fill_context_calls(table);
  fill_memory_calls(table);
  fill_pointer_calls(table);
  fill_vmm_calls(table);
  fill_pool_calls(table);
  fill_array_calls(table);
  fill_copy_calls(table);
  fill_memset_calls(table);
  fill_stream_calls(table);
  fill_event_calls(table);
  fill_module_calls(table);
  fill_library_calls(table);
  fill_function_calls(table);
  fill_launch_calls(table);
  fill_occupancy_calls(table);
  fill_capture_calls(table);
  fill_graph_calls(table);
  fill_graph_node_calls(table);
  fill_graph_exec_calls(table);
  fill_texture_calls(table);
  return true;
}

}  // namespace phos::sim
