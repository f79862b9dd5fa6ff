// SPDX-License-Identifier: Apache-2.0
#include "client/init.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>

#include "client/agent.h"
#include "client/call.h"
#include "client/call_counts.h"
#include "client/fork.h"
#include "client/log.h"
#include "client/staging.h"
#include "gen/client_impl.h"

namespace phos::client {

namespace {

constinit CUresult g_last_failure = CUDA_SUCCESS;

CUresult fetch_facts(int ordinal) noexcept {
  DeviceFacts& facts = g_process.devices[ordinal];
  codec::Req_phos_device_facts request{};
  codec::Rep_phos_device_facts reply{};
  request.ordinal = ordinal;
  request.attribute_count = kAttributeCount;
  std::fill_n(facts.attributes, kAttributeCount, INT_MIN);
  OutBlob out[] = {{facts.attributes, sizeof(facts.attributes), 0}};
  const CUresult status =
      call_sync(CallId::phos_device_facts, request, {}, &reply, std::span<OutBlob>(out));
  if (status != CUDA_SUCCESS) return status;
  facts.total_bytes = reply.total_bytes;
  facts.luid_mask = reply.luid_mask;
  facts.least_priority = reply.least_priority;
  facts.greatest_priority = reply.greatest_priority;
  memcpy(facts.uuid.bytes, reply.uuid, sizeof(reply.uuid));
  memcpy(facts.luid, reply.luid, sizeof(facts.luid));
  memcpy(facts.name, reply.device_name, sizeof(facts.name));
  facts.name[sizeof(facts.name) - 1] = '\0';
  if (ordinal == 0) {
    g_process.device_count = std::clamp(reply.device_count, 0, kMaxDevices);
    if (reply.driver_version < g_process.driver_version) {
      log("the executor's driver is CUDA %d; calls that came with 13.0 may fail",
          reply.driver_version);
    }
  }
  return CUDA_SUCCESS;
}

CUresult attach_and_learn(AttachFailure* failure) noexcept {
  begin_counting();
  CUresult status = start_agent(failure);
  if (status != CUDA_SUCCESS) return status;
  watch_forks();
  g_process.phase.store(Phase::attaching, std::memory_order_release);
  status = open_staging();
  const char* what = "the executor cannot map the staging arena";
  if (status == CUDA_SUCCESS) {
    what = "the executor does not tell the facts of its device";
    status = fetch_facts(0);
    for (int i = 1; status == CUDA_SUCCESS && i < g_process.device_count; ++i) {
      status = fetch_facts(i);
    }
  }
  if (status != CUDA_SUCCESS) {
    failure->status = status;
    snprintf(failure->message, sizeof(failure->message), "%s (CUDA error %d); see the log of phosd",
             what, static_cast<int>(status));
  }
  return status;
}

}  // namespace

CUresult init() noexcept {
  if (is_ready()) return CUDA_SUCCESS;
  if (g_process.phase.load() == Phase::forked) return CUDA_ERROR_NOT_INITIALIZED;
  g_process.init_lock.lock();
  CUresult status = CUDA_SUCCESS;
  if (g_process.phase.load() == Phase::attaching) {
    // An earlier call attached and then failed; the executor will not start over.
    status = g_last_failure;
  } else if (g_process.phase.load() == Phase::fresh) {
    AttachFailure failure;
    status = attach_and_learn(&failure);
    if (status == CUDA_SUCCESS) {
      g_process.phase.store(Phase::ready, std::memory_order_release);
      log("attached; the device is %s", g_process.devices[0].name);
    } else if (g_last_failure != status) {
      complain("CUDA is not available to process %d: %s", static_cast<int>(getpid()),
               failure.message);
      g_last_failure = status;
    }
  }
  g_process.init_lock.unlock();
  return status;
}

namespace impl {

CUresult cuInit(unsigned int Flags) {
  if (Flags != 0) return CUDA_ERROR_INVALID_VALUE;
  return init();
}

// The version of the API that this library stands for, whatever the executor's driver is: cudart
// asks before cuInit, and the answer must stay the same.
CUresult cuDriverGetVersion(int* driverVersion) {
  if (driverVersion == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *driverVersion = g_process.driver_version;
  return CUDA_SUCCESS;
}

}  // namespace impl
}  // namespace phos::client
