# SPDX-License-Identifier: Apache-2.0
"""The driver API through ctypes: what the error tests need, without a framework."""

import ctypes
import sys

u32, u64, size_t, pointer = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p


class Driver:
    def __init__(self, ptx=None):
        self.api = ctypes.CDLL("libcuda.so.1")
        self.must("cuInit", 0)
        self.context = pointer()
        self.must("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), 0)
        self.must("cuCtxSetCurrent", self.context)
        self.module = pointer()
        if ptx is not None:
            with open(ptx, "rb") as file:
                text = file.read() + b"\0"
            self.must("cuModuleLoadData", ctypes.byref(self.module), text)

    def call(self, name, *args):
        """The driver's answer."""
        return getattr(self.api, name)(*args)

    def must(self, name, *args):
        answer = self.call(name, *args)
        if answer != 0:
            sys.exit(f"{name} answered {answer}")

    def function(self, name):
        found = pointer()
        self.must("cuModuleGetFunction", ctypes.byref(found), self.module, name.encode())
        return found

    def allocate(self, count):
        """(answer, address)"""
        found = u64()
        answer = self.call("cuMemAlloc_v2", ctypes.byref(found), size_t(count))
        return answer, found.value

    def launch(self, function, grid, block, shared, arguments, stream=None):
        """Launches with ctypes values as arguments."""
        places = (pointer * max(1, len(arguments)))(
            *[ctypes.cast(ctypes.pointer(one), pointer) for one in arguments]
        )
        sizes = [u32(one) for one in (*grid, *block)]
        return self.call(
            "cuLaunchKernel", function, *sizes, u32(shared), stream, places, None
        )
