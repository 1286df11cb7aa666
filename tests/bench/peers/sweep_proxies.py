#!/usr/bin/python3
"""Peer: steps/s of training a small proxy (Wortsman et al. 2023) in PyTorch on the CPU.

    sweep_proxies.py --size S1|S2 [--threads 1] [--steps 60] [--json]

Pre-LN decoder without biases, rotary positions, 4d GELU(tanh) MLP, untied head, V = 64, 8 rows of 32 tokens; loss with
z term 1e-4, gradient clipping 1, AdamW (0.9, 0.95) with independent decay and warm-up. One fused qkv product; scale and
causal mask are folded into one baddbmm. Eager and traced models, single-tensor and foreach AdamW are tried: the fastest
is reported. The median over --steps timed steps, after five untimed ones. cpu: process CPU time.
"""
import argparse, json, math, os, sys, time

_t = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv[:-1] else "1"
for _v in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_v, _t)
if os.path.exists("/proc/cpuinfo") and "avx512vl" in open("/proc/cpuinfo").read():
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx512")
import warnings

import torch, torch.nn as nn, torch.nn.functional as F

warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
SIZES = {"S0": (1, 16), "S1": (2, 32), "S2": (3, 64), "S3": (4, 128)}
V, T, B, DH = 64, 32, 8, 16


class Norm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return F.layer_norm(x, self.gain.shape, self.gain, None, 1e-6)


def linear(i, o):
    layer = nn.Linear(i, o, bias=False)
    nn.init.trunc_normal_(layer.weight, std=i ** -0.5 / 0.87962566, a=-2 * i ** -0.5, b=2 * i ** -0.5)
    return layer


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.h = d // DH
        self.n1, self.n2 = Norm(d), Norm(d)
        self.qkv, self.o, self.w1, self.w2 = linear(d, 3 * d), linear(d, d), linear(d, 4 * d), linear(4 * d, d)
        self.register_buffer("mask", torch.full((T, T), -1e9).triu(1))
        angle = torch.arange(T)[:, None] * (1e4 ** (-torch.arange(0, DH, 2) / DH))[None]
        self.register_buffer("cos", torch.cat([angle.cos(), angle.cos()], 1))
        self.register_buffer("sin", torch.cat([-angle.sin(), angle.sin()], 1))

    def forward(self, x):
        d = x.shape[2]
        qkv = self.qkv(self.n1(x)).view(B, T, 3, self.h, DH).permute(2, 0, 3, 1, 4).reshape(3, B * self.h, T, DH)
        qk = qkv[:2]
        qk = qk * self.cos + qk.roll(DH // 2, -1) * self.sin  # both at once
        s = torch.baddbmm(self.mask, qk[0], qk[1].transpose(1, 2), alpha=DH ** -0.5)
        y = torch.bmm(F.softmax(s, -1), qkv[2]).view(B, self.h, T, DH).transpose(1, 2).reshape(B, T, d)
        x = x + self.o(y)
        return x + self.w2(F.gelu(self.w1(self.n2(x)), approximate="tanh"))


class Proxy(nn.Module):
    def __init__(self, depth, d):
        super().__init__()
        self.tokens = nn.Embedding(V, d)
        nn.init.normal_(self.tokens.weight, std=d ** -0.5)
        self.blocks = nn.Sequential(*[Block(d) for _ in range(depth)])
        self.norm, self.head = Norm(d), linear(d, V)

    def forward(self, ids, targets):
        y = self.head(self.norm(self.blocks(self.tokens(ids)))).view(B * T, V)
        z = torch.logsumexp(y, 1)
        return (z - y.gather(1, targets.reshape(-1, 1))[:, 0] + 1e-4 * z * z).mean()


def measure(size, steps, traced, foreach):
    torch.manual_seed(1)
    model = Proxy(*SIZES[size])
    data = torch.randint(V, (2048, T + 1))
    params = list(model.parameters())
    lr, decay = 1e-2, 1e-4
    opt = torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=decay / lr, foreach=foreach)
    f = torch.jit.trace(model, (data[:B, :-1], data[:B, 1:])) if traced else model
    wall, cpu = [], []
    for i in range(steps + 5):
        a, b = time.perf_counter(), time.process_time()
        rows = data[(i * B) % 2048:(i * B) % 2048 + B]
        for group in opt.param_groups:  # warm-up; weight_decay stays lambda / peak: independent
            group["lr"] = lr * min(1.0, (i + 1) / 20)
        opt.zero_grad(set_to_none=False)
        f(rows[:, :-1], rows[:, 1:]).backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        wall.append(time.perf_counter() - a), cpu.append(time.process_time() - b)
    return sorted(wall[5:])[steps // 2], sorted(cpu[5:])[steps // 2]


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--size", default="S1", choices=list(SIZES))
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--steps", type=int, default=60)
    p.add_argument("--json", action="store_true")
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    best = None
    for traced in (False, True):
        for foreach in (False, True):
            wall, cpu = measure(o.size, o.steps, traced, foreach)
            if not best or wall < best[0]:
                best = (wall, cpu, "traced" if traced else "eager", "foreach" if foreach else "single-tensor")
    out = {"size": o.size, "steps_per_s": 1 / best[0], "steps_per_cpu_s": 1 / best[1], "threads": o.threads,
           "peer": f"PyTorch {torch.__version__}, {best[2]}, AdamW {best[3]}"}
    print(json.dumps(out) if o.json else out)
