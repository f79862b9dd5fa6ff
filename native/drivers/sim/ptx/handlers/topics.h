// SPDX-License-Identifier: Apache-2.0
// Topics that only find.cc needs to know of.
#pragma once

#include "lanes.h"

namespace phos::sim::ptx::PHOS_PTX_ISA {

Handler find_video(const Key& key);
Handler find_mbarrier(const Key& key);

}  // namespace phos::sim::ptx::PHOS_PTX_ISA
