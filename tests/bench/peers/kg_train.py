#!/usr/bin/python3
"""Peer: updates/s of training a small decoder on triplets (one a row, 64 rows) in PyTorch on the CPU.

    kg_train.py --size S|M [--threads 1] [--steps 60] [--json]

Pre-LN decoder without biases, rotary positions, 4 heads, 4d GELU(tanh) MLP, untied head, V = 140, rows of 10 inputs whose
targets have weights 0 or 1; gradient clipping 1, AdamW (0.9, 0.98) with decoupled decay and warm-up. Rows are drawn from a
table by index. One fused qkv product; scale and causal mask are folded into one baddbmm. Eager and traced models,
single-tensor and foreach AdamW are tried: the fastest is reported. The median over --steps timed updates, after five
untimed ones. cpu: process CPU time.
"""
import argparse, json, os, sys, time

_t = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv[:-1] else "1"
for _v in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_v, _t)
if os.path.exists("/proc/cpuinfo") and "avx512vl" in open("/proc/cpuinfo").read():
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx512")
import warnings

import torch, torch.nn as nn, torch.nn.functional as F

warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
SIZES = {"S": (2, 64), "M": (3, 128)}
V, T, B, H = 140, 10, 64, 4


class Norm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return F.layer_norm(x, self.gain.shape, self.gain, None, 1e-6)


def linear(i, o):
    layer = nn.Linear(i, o, bias=False)
    nn.init.trunc_normal_(layer.weight, std=i ** -0.5, a=-2 * i ** -0.5, b=2 * i ** -0.5)
    return layer


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.e = d // H  # tracing makes tensors of shapes
        self.n1, self.n2 = Norm(d), Norm(d)
        self.qkv, self.o, self.w1, self.w2 = linear(d, 3 * d), linear(d, d), linear(d, 4 * d), linear(4 * d, d)
        self.register_buffer("mask", torch.full((T, T), -1e9).triu(1))
        angle = torch.arange(T)[:, None] * (1e4 ** (-torch.arange(0, d // H, 2) / (d // H)))[None]
        self.register_buffer("cos", torch.cat([angle.cos(), angle.cos()], 1))
        self.register_buffer("sin", torch.cat([-angle.sin(), angle.sin()], 1))

    def forward(self, x):
        e, d = self.e, self.e * H
        qkv = self.qkv(self.n1(x)).view(B, T, 3, H, e).permute(2, 0, 3, 1, 4).reshape(3, B * H, T, e)
        qk = qkv[:2]
        qk = qk * self.cos + qk.roll(e // 2, -1) * self.sin  # both at once
        s = torch.baddbmm(self.mask, qk[0], qk[1].transpose(1, 2), alpha=e ** -0.5)
        y = torch.bmm(F.softmax(s, -1), qkv[2]).view(B, H, T, e).transpose(1, 2).reshape(B, T, d)
        x = x + self.o(y)
        return x + self.w2(F.gelu(self.w1(self.n2(x)), approximate="tanh"))


class Decoder(nn.Module):
    def __init__(self, depth, d):
        super().__init__()
        self.tokens = nn.Embedding(V, d)
        nn.init.normal_(self.tokens.weight, std=d ** -0.5)
        self.blocks = nn.Sequential(*[Block(d) for _ in range(depth)])
        self.norm, self.head = Norm(d), linear(d, V)

    def forward(self, ids, targets, weights):
        y = self.head(self.norm(self.blocks(self.tokens(ids)))).view(B * T, V)
        return (F.cross_entropy(y, targets.reshape(-1), reduction="none") * weights.reshape(-1)).sum() / weights.sum()


def measure(size, steps, traced, foreach):
    torch.manual_seed(1)
    model = Decoder(*SIZES[size])
    data = torch.randint(V, (2048, T + 1))
    weights = (torch.arange(T) < torch.randint(T - 2, T + 1, (2048, 1))).float()
    params = list(model.parameters())
    lr = 2e-3
    opt = torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01, foreach=foreach)
    f = torch.jit.trace(model, (data[:B, :-1], data[:B, 1:], weights[:B])) if traced else model
    wall, cpu = [], []
    for i in range(steps + 5):
        if i * B % 2048 == 0:
            order = torch.randperm(2048)
        a, b = time.perf_counter(), time.process_time()
        which = order[(i * B) % 2048:(i * B) % 2048 + B]
        rows = data[which]
        for group in opt.param_groups:
            group["lr"] = lr * min(1.0, (i + 1) / 20)
        opt.zero_grad(set_to_none=False)
        f(rows[:, :-1], rows[:, 1:], weights[which]).backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        wall.append(time.perf_counter() - a), cpu.append(time.process_time() - b)
    return sorted(wall[5:])[steps // 2], sorted(cpu[5:])[steps // 2]


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--size", default="S", choices=list(SIZES))
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--steps", type=int, default=60)
    p.add_argument("--json", action="store_true")
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    torch.set_flush_denormal(True)
    best = None
    for traced in (False, True):
        for foreach in (False, True):
            wall, cpu = measure(o.size, o.steps, traced, foreach)
            if not best or wall < best[0]:
                best = (wall, cpu, "traced" if traced else "eager", "foreach" if foreach else "single-tensor")
    out = {"size": o.size, "updates_per_s": 1 / best[0], "updates_per_cpu_s": 1 / best[1], "threads": o.threads,
           "peer": f"PyTorch {torch.__version__}, {best[2]}, AdamW {best[3]}"}
    print(json.dumps(out) if o.json else out)
