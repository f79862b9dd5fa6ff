# SPDX-License-Identifier: Apache-2.0
"""What the workloads share: how a result is told, and what is missing here."""

import hashlib
import json
import os
import sys

MISSING = 77  # exit code: something that the workload needs is not installed

# cuBLAS is deterministic only with a workspace of its own; it reads this when it starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def tell(exact, values=(), facts=None):
    """Prints the result as the last line: `exact` is compared bit for bit, `values` (numbers) are
    what is compared when runs of the workload differ from each other, `facts` are kept."""
    sys.stdout.flush()
    print(json.dumps({"exact": exact, "values": list(values), "facts": facts or {}}), flush=True)


def need(module):
    """The module, or the end of the program where it is not installed."""
    try:
        return __import__(module)
    except ImportError as error:
        print(f"{module} cannot be imported: {error}", file=sys.stderr)
        sys.exit(MISSING)


def digest(*tensors):
    """SHA-256 over the bytes of tensors of any type."""
    import torch

    total = hashlib.sha256()
    for tensor in tensors:
        plain = tensor.detach().contiguous().cpu()
        total.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def deterministic(seed=0):
    """torch, told to compute the same every time."""
    torch = need("torch")
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return torch


def reserved():
    """Memory as the frameworks' own queries give it; they go through NVML and the driver."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return {
        "reserved": torch.cuda.memory_reserved(),
        "allocated": torch.cuda.memory_allocated(),
        "free": free,
        "total": total,
    }
