# SPDX-License-Identifier: Apache-2.0
"""Small models and a step of training for each: for the workloads, the checkpoints and the
benchmark alike."""

from report import deterministic, need


def mlp(torch, width=1024):
    layers = torch.nn
    model = layers.Sequential(
        layers.Linear(width, 2 * width),
        layers.GELU(),
        layers.Dropout(0.1),
        layers.Linear(2 * width, width),
    ).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step():
        x = torch.randn(256, width, device="cuda")
        loss = (model(x) - x.roll(1, 1)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return model, step


def gpt2(torch, layers=12, optimizer="adamw", fused=None, batch=8, length=512, attention="eager"):
    """GPT-2 (124M with 12 layers), bf16 autocast, random tokens from a seeded generator."""
    transformers = need("transformers")
    config = transformers.GPT2Config(n_layer=layers, attn_implementation=attention)
    model = transformers.GPT2LMHeadModel(config).cuda()
    parameters = model.parameters()
    if optimizer == "sgd":
        update = torch.optim.SGD(parameters, lr=1e-2)
    else:
        update = torch.optim.AdamW(parameters, lr=1e-4, fused=fused)
    tokens = torch.Generator().manual_seed(1)

    def step(forward=model):
        x = torch.randint(0, 50257, (batch, length), generator=tokens).cuda()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = forward(input_ids=x, labels=x).loss
        loss.backward()
        update.step()
        update.zero_grad()
        return loss

    return model, step


def resnet50(torch, batch=64, channels_last=False):
    vision = need("torchvision")
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = vision.models.resnet50().cuda().to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_of = torch.nn.CrossEntropyLoss()
    images = torch.Generator().manual_seed(1)

    def step():
        x = torch.randn(batch, 3, 224, 224, generator=images).cuda().to(memory_format=layout)
        y = torch.randint(0, 1000, (batch,), generator=images).cuda()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return model, step


def llama(torch, layers=16, hidden=2048, heads=16):
    """A Llama-style decoder with random weights, 1.1B parameters with 16 layers, bf16."""
    transformers = need("transformers")
    config = transformers.LlamaConfig(
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
    )
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16).cuda().eval()
    prompts = torch.Generator().manual_seed(1)

    def step(prompt=64, new=32):
        x = torch.randint(0, 32000, (1, prompt), generator=prompts).cuda()
        with torch.no_grad():
            return model.generate(
                x,
                attention_mask=torch.ones_like(x),
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=False,
                pad_token_id=0,
            )

    return model, step


__all__ = ["deterministic", "gpt2", "llama", "mlp", "resnet50"]
