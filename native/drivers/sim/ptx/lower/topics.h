// SPDX-License-Identifier: Apache-2.0
// Topics beside those in lowering.h that only the walk over a function knows of.
#pragma once

#include "lowering.h"

namespace phos::sim::ptx {

bool lower_video(Lowering& l);
bool lower_mbarrier(Lowering& l);

}  // namespace phos::sim::ptx
