// SPDX-License-Identifier: Apache-2.0
#include "stubs.h"

Noted g_noted;
