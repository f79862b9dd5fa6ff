# SPDX-License-Identifier: Apache-2.0
"""One small workload of a framework: `workload.py NAME`. Its last line is its result as JSON
(report.py). Each is run with and without phos, and the results are compared."""

import sys

import models
from report import deterministic, digest, need, reserved, tell


def train(build, steps, **options):
    torch = deterministic()
    model, step = build(torch, **options)
    losses = [step().item() for _ in range(steps)]
    weights = digest(*model.parameters())
    norms = [parameter.double().norm().item() for parameter in model.parameters()]
    exact = {"losses": [loss.hex() for loss in losses], "weights": weights}
    tell(exact, losses + [sum(norms)], reserved())


def mlp():
    train(models.mlp, 20)


def gpt2():
    train(models.gpt2, 6, layers=4, batch=4, length=256)


def gpt2_fused():
    train(models.gpt2, 6, layers=4, batch=4, length=256, fused=True)


def gpt2_sgd():
    train(models.gpt2, 6, layers=4, batch=4, length=256, optimizer="sgd")


def resnet():
    train(models.resnet50, 3, batch=16)


def resnet_channels_last():
    train(models.resnet50, 3, batch=16, channels_last=True)


def llama():
    torch = deterministic()
    model, step = models.llama(torch, layers=4, hidden=1024, heads=8)
    tokens = step(prompt=32, new=16)
    tell({"tokens": tokens.flatten().tolist()}, [], reserved())


def graph():
    torch = deterministic()
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
        out.relu_()
    sums = []
    for turn in range(20):
        a.add_(turn * 0.01)
        captured.replay()
        sums.append(out.sum().item())
    tell({"out": digest(out), "sums": [one.hex() for one in sums]}, sums)


def compiled(mode, steps=4):
    torch = deterministic()
    nn = torch.nn
    layers = (nn.Linear(256, 512), nn.GELU(), nn.LayerNorm(512), nn.Linear(512, 64))
    model = nn.Sequential(*layers).cuda()
    fast = torch.compile(model, mode=mode)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        x = torch.randn(128, 256, device="cuda")
        torch.compiler.cudagraph_mark_step_begin()
        loss = fast(x).softmax(-1).pow(2).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    exact = {"losses": [one.hex() for one in losses], "weights": digest(*model.parameters())}
    tell(exact, losses)


def compile_default():
    compiled("default")


def compile_reduce_overhead():
    compiled("reduce-overhead")


def attention(backend):
    torch = deterministic()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def random():
        return torch.randn(2, 8, 256, 64, device="cuda", dtype=torch.float16, requires_grad=True)

    q, k, v = random(), random(), random()
    with sdpa_kernel(getattr(SDPBackend, backend)):
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        out.float().pow(2).sum().backward()
    numbers = [one.float().sum().item() for one in (out, q.grad, k.grad, v.grad)]
    tell({"all": digest(out, q.grad, k.grad, v.grad)}, numbers)


def attention_flash():
    attention("FLASH_ATTENTION")


def attention_cudnn():
    attention("CUDNN_ATTENTION")


class Rows:
    """A data set that the workers of a DataLoader can carry with them."""

    def __len__(self):
        return 256

    def __getitem__(self, index):
        import torch

        made = torch.Generator().manual_seed(index)
        return torch.randn(3, 64, 64, generator=made), index % 10


def loader():
    torch = deterministic()
    data = torch.utils.data.DataLoader(Rows(), batch_size=32, num_workers=2, pin_memory=True)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 10)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = []
    pinned = True
    for x, y in data:
        pinned = pinned and x.is_pinned()
        x, y = x.cuda(non_blocking=True), y.cuda(non_blocking=True)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    tell({"pinned": pinned, "losses": [one.hex() for one in losses]}, losses)


def cupy():
    cp = need("cupy")
    generator = cp.random.RandomState(7)
    a = generator.rand(512, 512).astype(cp.float32)
    double = cp.ElementwiseKernel("float32 x", "float32 y", "y = 2 * x + 1", "double_and_one")
    total = cp.ReductionKernel("float32 x", "float32 y", "x * x", "a + b", "y = a", "0", "squares")
    stream = cp.cuda.Stream(non_blocking=True)
    cp.cuda.get_current_stream().synchronize()
    with stream:
        b = double(a) @ a.T
        c = cp.sort(b, axis=1)[:, :8]
    stream.synchronize()
    numbers = [float(total(a)), float(b.sum()), float(c.sum())]
    tell({"bytes": cp.asnumpy(c).tobytes().hex()[:4096]}, numbers)


def jax():
    import os

    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ["XLA_FLAGS"] = "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0"
    j = need("jax")
    jnp = need("jax.numpy").numpy
    keys = j.random.split(j.random.PRNGKey(0), 4)
    shapes = ((128, 256), (256, 16))
    weights = [j.random.normal(key, shape) * 0.1 for key, shape in zip(keys, shapes)]
    x = j.random.normal(keys[2], (64, 128))
    y = j.random.randint(keys[3], (64,), 0, 16)

    def loss_of(w):
        scores = jnp.tanh(x @ w[0]) @ w[1]
        return -jnp.take_along_axis(j.nn.log_softmax(scores), y[:, None], 1).mean()

    @j.jit
    def step(w):
        loss, slope = j.value_and_grad(loss_of)(w)
        return [a - 0.1 * b for a, b in zip(w, slope)], loss

    losses = []
    for _ in range(10):
        weights, loss = step(weights)
        losses.append(float(loss))
    platform = j.devices()[0].platform
    tell({"platform": platform, "losses": [one.hex() for one in losses]}, losses)


def nccl():
    import os

    torch = deterministic()
    for name, value in {"MASTER_ADDR": "127.0.0.1", "RANK": "0", "WORLD_SIZE": "1"}.items():
        os.environ.setdefault(name, value)
    store = torch.distributed.HashStore()
    torch.cuda.set_device(0)
    torch.distributed.init_process_group("nccl", store=store, rank=0, world_size=1)
    x = torch.arange(1 << 16, device="cuda", dtype=torch.float32)
    torch.distributed.all_reduce(x)
    parts = [torch.empty_like(x)]
    torch.distributed.all_gather(parts, x)
    torch.distributed.barrier()
    result = digest(x, parts[0])
    torch.distributed.destroy_process_group()
    tell({"sum": result})


def profiler():
    """Tracing on the device may be refused; it must not end the program, nor change its result."""
    torch = deterministic()
    from torch.profiler import ProfilerActivity, profile

    a = torch.randn(256, 256, device="cuda")
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        b = (a @ a).relu().sum()
        torch.cuda.synchronize()
    rows = seen.key_averages()
    on_device = sum(getattr(row, "device_time_total", 0) for row in rows)
    tell({"sum": b.item().hex()}, [b.item()], {"rows": len(rows), "device_us": on_device})


def queries():
    """What torch and monitors ask of the management library (NVML)."""
    torch = deterministic()
    torch.zeros(1 << 20, device="cuda")
    facts = reserved()
    try:
        facts["utilization"] = torch.cuda.utilization()
        facts["device_memory_used"] = torch.cuda.device_memory_used()
        facts["temperature"] = torch.cuda.temperature()
        facts["power_mw"] = torch.cuda.power_draw()
    except ModuleNotFoundError:
        facts["utilization"] = 0  # torch asks through nvidia-ml-py, which is not installed here
    properties = torch.cuda.get_device_properties(0)
    exact = {
        "count": torch.cuda.device_count(),
        "nvml_count": torch.cuda._device_count_nvml(),
        "name": properties.name,
        "uuid": str(properties.uuid),
        "total": properties.total_memory,
        "range": 0 <= facts["utilization"] <= 100,
    }
    tell(exact, [], facts)


WORKLOADS = {
    one.__name__.replace("_", "-"): one
    for one in (
        mlp, gpt2, gpt2_fused, gpt2_sgd, resnet, resnet_channels_last, llama, graph,
        compile_default, compile_reduce_overhead, attention_flash, attention_cudnn, loader, cupy,
        jax, nccl, profiler, queries,
    )
}  # fmt: skip

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in WORKLOADS:
        sys.exit(f"usage: workload.py {'|'.join(WORKLOADS)}")
    WORKLOADS[sys.argv[1]]()
