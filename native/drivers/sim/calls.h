// SPDX-License-Identifier: Apache-2.0
// Each file of calls fills its part of the driver table.
#pragma once

#include "gen/driver_table.h"

namespace phos::sim {

void fill_error_calls(DriverTable& table);
void fill_device_calls(DriverTable& table);
void fill_primary_context_calls(DriverTable& table);
void fill_context_calls(DriverTable& table);
void fill_memory_calls(DriverTable& table);
void fill_pointer_calls(DriverTable& table);
void fill_vmm_calls(DriverTable& table);
void fill_pool_calls(DriverTable& table);
void fill_array_calls(DriverTable& table);
void fill_copy_calls(DriverTable& table);
void fill_memset_calls(DriverTable& table);
void fill_stream_calls(DriverTable& table);
void fill_event_calls(DriverTable& table);
void fill_module_calls(DriverTable& table);
void fill_library_calls(DriverTable& table);
void fill_function_calls(DriverTable& table);
void fill_launch_calls(DriverTable& table);
void fill_occupancy_calls(DriverTable& table);
void fill_capture_calls(DriverTable& table);
void fill_graph_calls(DriverTable& table);
void fill_graph_node_calls(DriverTable& table);
void fill_graph_exec_calls(DriverTable& table);

}  // namespace phos::sim
