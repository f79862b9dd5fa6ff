# SPDX-License-Identifier: Apache-2.0
"""Uses the device, then looks at itself: exit code 1 when this process holds a file of the GPU or
has the vendor's driver in its memory."""

import ctypes
import json
import os
import sys

cuda = ctypes.CDLL("libcuda.so.1")
context = ctypes.c_void_p()
memory = ctypes.c_uint64()
for result in (
    cuda.cuInit(0),
    cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
    cuda.cuCtxSetCurrent(context),
    cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(1 << 20)),
):
    if result != 0:
        sys.exit(f"the driver answered {result}")
try:
    if ctypes.CDLL("libnvidia-ml.so.1").nvmlInit_v2() != 0:
        sys.exit("nvmlInit_v2 failed")
except OSError as error:
    print(error, file=sys.stderr)


def target(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


open_files = sorted({target(name) for name in os.listdir("/proc/self/fd")})
with open("/proc/self/maps", encoding="utf8") as maps:
    mapped = sorted({line.split(maxsplit=5)[5].strip() for line in maps if line.count("/") > 0})
devices = [path for path in open_files + mapped if path.startswith("/dev/nvidia")]
libraries = [path for path in mapped if "libcuda.so" in path or "libnvidia-ml" in path]
print(json.dumps({"devices": devices, "libraries": libraries}))
vendor = [path for path in libraries if ".so.5" in path or "/nvidia/" in path]
sys.exit(1 if devices or vendor else 0)
