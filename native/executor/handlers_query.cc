// SPDX-License-Identifier: Apache-2.0
// Commands that ask about the executor and its device.
#include <climits>
#include <cstring>

#include "executor/device_live.h"
#include "executor/handler_tools.h"
#include "gen/executor_handlers.h"
#include "phos/device_page.h"

namespace phos::executor {

void handle_phos_ping(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_ping>(session, command, reply);
  if (request == nullptr) return;
  const codec::Rep_phos_ping answer{request->value};
  reply.finish(CUDA_SUCCESS, &answer, sizeof(answer));
}

void handle_phos_device_facts(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_device_facts>(session, command, reply);
  if (request == nullptr) return;
  if (request->ordinal == kLiveFacts) {
    answer_device_live(session, request->attribute_count, reply);
    return;
  }
  // The client sees one device: the executor's own, by whatever ordinal the driver knows it.
  if (request->ordinal != 0) {
    reply.finish(CUDA_ERROR_INVALID_DEVICE);
    return;
  }
  if (request->attribute_count > 512) {
    session.protocol_error(command.call(), "more attributes than there are");
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  const DriverTable& driver = session.driver();
  const CUdevice device = session.device();
  codec::Rep_phos_device_facts answer{};
  answer.device_count = 1;
  std::size_t total = 0;
  CUuuid uuid{};
  CUresult result = driver.cuDriverGetVersion(&answer.driver_version);
  if (result == CUDA_SUCCESS) result = driver.cuDeviceTotalMem(&total, device);
  if (result == CUDA_SUCCESS) {
    result = driver.cuDeviceGetName(reinterpret_cast<char*>(answer.device_name),
                                    sizeof(answer.device_name), device);
  }
  if (result == CUDA_SUCCESS) result = driver.cuDeviceGetUuid(&uuid, device);
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  answer.total_bytes = total;
  std::memcpy(answer.uuid, &uuid, sizeof(answer.uuid));
  // Neither a LUID (Windows) nor priorities are there on every driver: zeros then.
  driver.cuCtxGetStreamPriorityRange(&answer.least_priority, &answer.greatest_priority);
  driver.cuDeviceGetLuid(reinterpret_cast<char*>(answer.luid), &answer.luid_mask, device);
  std::vector<std::int32_t> attributes(request->attribute_count, INT_MIN);
  for (std::uint32_t i = 1; i < request->attribute_count; ++i) {
    int value = 0;
    if (driver.cuDeviceGetAttribute(&value, static_cast<CUdevice_attribute>(i), device) ==
        CUDA_SUCCESS) {
      attributes[i] = value;
    }
  }
  const OutBlob blobs[] = {{attributes.data(), attributes.size() * sizeof(std::int32_t)}};
  finish_with_blobs(session, reply, answer, blobs);
}

void handle_phos_report_unsupported(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_report_unsupported>(session, command, reply);
  if (request == nullptr) return;
  if (request->call_id <= 0xFFFF && is_call(static_cast<std::uint16_t>(request->call_id))) {
    session.note_unsupported(static_cast<CallId>(request->call_id));
  }
  reply.finish(CUDA_SUCCESS);
}

}  // namespace phos::executor
