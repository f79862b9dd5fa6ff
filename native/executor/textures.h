// SPDX-License-Identifier: Apache-2.0
// What the session and the checkpoint need to know about texture and surface objects.
#pragma once

#include <string>

#include "executor/session.h"

namespace phos::executor {

// `real` is what Object::real of a texture or surface holds.
CUresult destroy_texture(const DriverTable& driver, HandleType type, void* real);

// Why it could not be made again; empty when it can.
std::string why_texture_is_lost(Session& session, const Object& object);

}  // namespace phos::executor
