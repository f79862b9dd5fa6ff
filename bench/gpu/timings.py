# SPDX-License-Identifier: Apache-2.0
"""A workload that is measured turn by turn: `timings.py NAME` sets itself up, prints "ready", and
for each line "go N" on standard input runs N steps and prints the milliseconds of one as JSON. So
that a run with phos and one without can take turns, on a machine that neither has to itself."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../test/gpu"))

import models  # noqa: E402
from report import need  # noqa: E402

WARM_UP = 3


def gpt2(torch):
    return models.gpt2(torch, attention="sdpa")[1]


def gpt2_compiled(torch):
    model, step = models.gpt2(torch, attention="sdpa")
    compiled = torch.compile(model)
    return lambda: step(compiled)


def resnet50(torch):
    return models.resnet50(torch)[1]


def llama(torch):
    return models.llama(torch)[1]


def graph(torch):
    """A small captured graph, replayed, and a number read back: bound by calls."""
    a = torch.randn(1024, 1024, device="cuda")
    b = torch.randn(1024, 1024, device="cuda")
    out = torch.empty_like(a)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.mm(a, b, out=out)
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        torch.mm(a, b, out=out)
        out.relu_()

    def step():
        captured.replay()
        torch.cuda.synchronize()
        return out.sum()

    return step


WORKLOADS = {
    "gpt2": gpt2,
    "gpt2-compiled": gpt2_compiled,
    "resnet50": resnet50,
    "llama": llama,
    "graph": graph,
}


def finish(torch, result):
    """What ends a step: its result is read back, as programs that print their loss do."""
    value = result.sum().item()
    torch.cuda.synchronize()
    return value


def main(name):
    torch = need("torch")
    torch.manual_seed(0)
    step = WORKLOADS[name](torch)
    for _ in range(WARM_UP):
        finish(torch, step())
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line.split()[1])
        began = time.perf_counter()
        for _ in range(count):
            result = step()
            value = result.sum().item()
        torch.cuda.synchronize()
        took = (time.perf_counter() - began) / count * 1e3
        print(json.dumps({"ms": took, "result": value}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
