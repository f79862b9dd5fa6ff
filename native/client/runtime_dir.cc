// SPDX-License-Identifier: Apache-2.0
#include "client/runtime_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

namespace phos::client {

namespace {

const char* non_empty(const char* name) noexcept {
  const char* value = getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

}  // namespace

bool runtime_dir(char* path, size_t capacity) noexcept {
  int length = 0;
  const uid_t uid = geteuid();
  if (const char* set = non_empty("PHOS_RUNTIME_DIR")) {
    length = snprintf(path, capacity, "%s", set);
  } else if (uid == 0) {
    length = snprintf(path, capacity, "/run/phos");
  } else if (const char* xdg = non_empty("XDG_RUNTIME_DIR")) {
    length = snprintf(path, capacity, "%s/phos", xdg);
  } else {
    const char* temporary = non_empty("TMPDIR");
    length = snprintf(path, capacity, "%s/phos-%u", temporary != nullptr ? temporary : "/tmp",
                      static_cast<unsigned>(uid));
  }
  return length > 0 && static_cast<size_t>(length) < capacity;
}

}  // namespace phos::client
