#!/usr/bin/python3
"""Five steps of PyTorch's optimizers from fixed weights and gradients, in f64; prints golden.json.

    tests/golden/optim/make.py > tests/golden/optim/golden.json        (torch 1.13)
"""
import json, math
import torch

n = 7
w0 = torch.tensor([math.sin(1.7 * i + 0.3) for i in range(n)], dtype=torch.float64)
grads = [torch.tensor([math.cos(0.9 * i * (t + 1) + t) * (0.1 + t) for i in range(n)], dtype=torch.float64) for t in range(5)]
cases = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "sgd_nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1),
}
out = dict(weights=w0.tolist(), grads=[g.tolist() for g in grads], results={})
for name, make in cases.items():
    w = w0.clone().requires_grad_()
    opt = make([w])
    for g in grads:
        w.grad = g.clone()
        opt.step()
    out["results"][name] = w.detach().tolist()
print(json.dumps(out, indent=1))
