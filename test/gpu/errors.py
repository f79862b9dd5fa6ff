# SPDX-License-Identifier: Apache-2.0
"""Programs that do something wrong: `errors.py NAME PTX`. Each prints what the driver answered as
its last line (report.py); the same program without phos tells what is right."""

import ctypes
import sys
import time

from driver import Driver, pointer, size_t, u32, u64
from report import tell


def limits(ptx):
    """Errors that CUDA returns at the call, and that do not stay."""
    cuda = Driver(ptx)
    fill = cuda.function("fill")
    _, data = cuda.allocate(1 << 20)
    arguments = [u64(data), u64(1024), u32(7)]

    def launch(grid=(1, 1, 1), block=(32, 1, 1), shared=0):
        return cuda.launch(fill, grid, block, shared, arguments)

    answers = {
        "good": launch(),
        "block too large": launch(block=(2048, 1, 1)),
        "block too deep": launch(block=(1, 1, 128)),
        "grid of nothing": launch(grid=(0, 1, 1)),
        "grid too high": launch(grid=(1, 1 << 17, 1)),
        "too much shared memory": launch(shared=1 << 20),
        "more shared than allowed": launch(shared=64 << 10),
        "allow too much": cuda.call("cuFuncSetAttribute", fill, 8, 1 << 20),
        "free of nothing there": cuda.call("cuMemFree_v2", u64(data + 512)),
        "free": cuda.call("cuMemFree_v2", u64(data)),
        "free again": cuda.call("cuMemFree_v2", u64(data)),
        "copy from freed memory": cuda.call(
            "cuMemcpyDtoH_v2", ctypes.create_string_buffer(64), u64(data), size_t(64)
        ),
        "no such function": cuda.call(
            "cuModuleGetFunction", ctypes.byref(pointer()), cuda.module, b"nobody"
        ),
        "broken image": cuda.call("cuModuleLoadData", ctypes.byref(pointer()), b".version 9 x\0"),
        "nothing of it stays": cuda.call("cuCtxSynchronize"),
        "no memory": cuda.allocate(1 << 50)[0],
        "memory after that": cuda.allocate(1 << 20)[0],
    }
    tell(answers)


def illegal(ptx):
    """A kernel that writes where nothing is."""
    cuda = Driver(ptx)
    cuda.launch(cuda.function("fill"), (1, 1, 1), (32, 1, 1), 0, [u64(0x10), u64(64), u32(1)])
    first = cuda.call("cuCtxSynchronize")
    then = cuda.call("cuCtxSynchronize")
    after = cuda.allocate(1 << 20)[0]
    tell({"synchronize": first, "again": then, "allocate": after})


def steady(ptx):
    """A second client: works for SECONDS, and fails on any error."""
    cuda = Driver(ptx)
    fill = cuda.function("fill")
    answer, data = cuda.allocate(1 << 20)
    end = time.monotonic() + float(sys.argv[3])
    rounds = 0
    while time.monotonic() < end and answer == 0:
        arguments = [u64(data), u64(1 << 17), u32(rounds)]
        answer = cuda.launch(fill, (16, 1, 1), (256, 1, 1), 0, arguments)
        answer = answer or cuda.call("cuCtxSynchronize")
        rounds += 1
    tell({"answer": answer}, [], {"rounds": rounds})


def holder(ptx):
    """Holds SIZE MiB of the device and as many of its own, and stands until it is ended."""
    cuda = Driver(ptx)
    count = int(sys.argv[3]) << 20
    answer, _ = cuda.allocate(count)
    own = bytearray(count)
    own[::4096] = b"\1" * len(own[::4096])
    print(f"holding {answer}", file=sys.stderr, flush=True)
    while cuda.call("cuCtxSynchronize") == 0:
        time.sleep(0.02)
    tell({"error": cuda.call("cuCtxSynchronize")})


def out_of_memory(_ptx):
    """torch catches it, and goes on."""
    from report import need

    torch = need("torch")
    kept = torch.ones(1 << 20, device="cuda")
    caught = 0
    for _ in range(3):
        try:
            torch.empty(1 << 42, device="cuda", dtype=torch.uint8)
        except torch.cuda.OutOfMemoryError:
            caught += 1
    held = []
    try:
        while True:
            held.append(torch.empty(4 << 30, device="cuda", dtype=torch.uint8))
    except torch.cuda.OutOfMemoryError:
        caught += 1
    held.clear()
    torch.cuda.empty_cache()
    again = torch.ones(1 << 28, device="cuda")
    tell({"caught": caught, "sum": (kept.sum() + again.sum()).item()})


if __name__ == "__main__":
    NAMES = {
        one.__name__.replace("_", "-"): one
        for one in (limits, illegal, steady, holder, out_of_memory)
    }
    NAMES[sys.argv[1]](sys.argv[2])
