#!/usr/bin/python3
"""Writes decoder.json: loss, gradients and logits of a small decoder by PyTorch, in float64.

Learned positions, tied head, biases, gelu with tanh, layer norms of eps 1e-5. Element k (row by row, from 0) of the
parameter number i (from 0, in the order of SHAPES) is scale * sin(1.7 k + i + 1) (+ 1 for gains), so that a test can
make the same weights. Run by hand: tests/golden/transformer/make.py
"""
import json, math, os
import torch, torch.nn.functional as F

V, C, L, d, H, m, B, T = 7, 9, 2, 8, 2, 20, 2, 6
SHAPES = [("tokens", [V, d]), ("positions", [C, d])]
for l in range(1, L + 1):
    b = f"blocks.{l}."
    SHAPES += [(b + "norm1.gain", [d]), (b + "norm1.shift", [d])]
    SHAPES += [(b + "attn." + n, [d, d]) for n in ("wq", "wk", "wv", "wo")]
    SHAPES += [(b + "attn." + n, [d]) for n in ("bq", "bk", "bv", "bo")]
    SHAPES += [(b + "norm2.gain", [d]), (b + "norm2.shift", [d])]
    SHAPES += [(b + "mlp.w1", [d, m]), (b + "mlp.b1", [m]), (b + "mlp.w2", [m, d]), (b + "mlp.b2", [d])]
SHAPES += [("norm.gain", [d]), ("norm.shift", [d])]

torch.set_default_dtype(torch.float64)
w = {}
for i, (name, shape) in enumerate(SHAPES):
    n = math.prod(shape)
    x = torch.tensor([(0.5 if len(shape) == 2 else 0.1) * math.sin(1.7 * k + i + 1) for k in range(n)])
    w[name] = (x.reshape(shape) + (1 if name.endswith("gain") else 0)).requires_grad_()

tokens = torch.tensor([[(3 * t * t + 5 * b + t) % V for t in range(T + 1)] for b in range(B)])
mask = torch.tensor([[1.0, 0.5, 0.0, 2.0, -0.5, 1.0], [0.0, 1.0, 1.0, 0.25, 1.0, 1.0]])
z_loss = 0.01


def forward(ids):
    x = w["tokens"][ids] + w["positions"][: ids.shape[1]]
    causal = torch.full((ids.shape[1],) * 2, -math.inf).triu(1)
    for l in range(1, L + 1):
        p = lambda n: w[f"blocks.{l}.{n}"]
        h = F.layer_norm(x, (d,), p("norm1.gain"), p("norm1.shift"), 1e-5)
        q, k, v = ((h @ p("attn.w" + n) + p("attn.b" + n)).view(*ids.shape, H, d // H).transpose(1, 2) for n in "qkv")
        a = F.softmax(q @ k.transpose(2, 3) / math.sqrt(d // H) + causal, -1) @ v
        x = x + a.transpose(1, 2).reshape(*ids.shape, d) @ p("attn.wo") + p("attn.bo")
        h = F.layer_norm(x, (d,), p("norm2.gain"), p("norm2.shift"), 1e-5)
        u = h @ p("mlp.w1") + p("mlp.b1")
        g = 0.5 * u * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
        x = x + g @ p("mlp.w2") + p("mlp.b2")
    return F.layer_norm(x, (d,), w["norm.gain"], w["norm.shift"], 1e-5) @ w["tokens"].T


logits = forward(tokens[:, :-1])
logz = logits.logsumexp(-1)
ce = logz - logits.gather(2, tokens[:, 1:, None])[..., 0]
loss = (mask * (ce + z_loss * logz**2)).sum() / (mask != 0).sum()
loss.backward()
out = dict(torch=torch.__version__, config=dict(vocab=V, context=C, depth=L, width=d, heads=H, mlp_width=m), names=[n for n, _ in SHAPES],
           tokens=(tokens + 1).tolist(), mask=mask.tolist(), z_loss=z_loss, loss=float(loss), logits=logits.tolist(),
           gradients={n: w[n].grad.tolist() for n, _ in SHAPES})
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "decoder.json"), "w") as f:
    json.dump(out, f)
    f.write("\n")
