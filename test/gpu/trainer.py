# SPDX-License-Identifier: Apache-2.0
"""A training that a checkpoint interrupts: `trainer.py KIND STEPS PAUSE_MS [TOKEN]`. One line
"step N LOSS" (LOSS as the bits of a double) to standard error for each step, and one with the
losses and weights at the end to standard output. TOKEN only tells processes apart."""

import sys
import time

import models
from report import deterministic, digest


def graphed(torch):
    """A graph, a side stream, an event and random numbers that live across the checkpoint."""
    a = torch.randn(512, 512, device="cuda")
    b = torch.randn(512, 512, device="cuda")
    out = torch.empty_like(a)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.mm(a, b, out=out)
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        torch.mm(a, b, out=out)
        out.tanh_()
    done = torch.cuda.Event()

    def step():
        a.add_(torch.randn_like(a), alpha=0.01)
        captured.replay()
        done.record()
        side.wait_event(done)
        with torch.cuda.stream(side):
            total = out.double().pow(2).sum()
        torch.cuda.current_stream().wait_stream(side)
        return total

    class Held:
        def parameters(self):
            return [a, b, out]

    return Held(), step


KINDS = {
    "mlp": models.mlp,
    "gpt2-adamw": lambda torch: models.gpt2(torch, batch=4, length=256),
    "gpt2-sgd": lambda torch: models.gpt2(torch, optimizer="sgd", batch=4, length=256),
    "graph": graphed,
}


def main(kind, steps, pause_ms):
    torch = deterministic()
    model, step = KINDS[kind](torch)
    loss = 0.0
    for count in range(steps):
        loss = step().item()
        print(f"step {count} {loss.hex()}", file=sys.stderr, flush=True)
        time.sleep(pause_ms / 1000)
    print("final", loss.hex(), digest(*model.parameters()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
