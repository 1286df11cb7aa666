#!/usr/bin/python3
"""Numbers by PyTorch for the tests of core.nn from Lua. Prints torch_cases.lua, kept beside this script."""
import math
import textwrap

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(5)


def rand(*shape):
    return torch.round(torch.randn(*shape) * 1000) / 1000


def lua(t):
    if isinstance(t, torch.Tensor):
        t = t.tolist()
    if isinstance(t, list):
        return "{ " + ", ".join(lua(v) for v in t) + " }"
    return repr(t)


out = {}
x, W, b = rand(3, 4), rand(4, 5), rand(5)
out.update(x=x, W=W, b=b)
out["linear"] = x @ W + b
out["linear_gelu"] = F.gelu(x @ W + b, approximate="tanh")
out["linear_silu_t"] = F.silu(x @ W)
W2, b2 = rand(5, 2), rand(2)
out.update(W2=W2, b2=b2)
out["mlp"] = F.relu(x @ W + b) @ W2 + b2
gain, shift = rand(4), rand(4)
out.update(gain=gain, shift=shift)
out["layer_norm"] = F.layer_norm(x, (4,), gain, shift, 1e-3)
out["rms_norm"] = x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-3) * gain

B, T, H, D = 2, 5, 2, 4
q, k, v = rand(B, T, H, D), rand(B, T, H, D), rand(B, T, H, D)
out.update(q=q, k=k, v=v)


def rotate(t, positions, base, interleaved):
    d = t.shape[-1]
    frequency = base ** (-torch.arange(0, d, 2) / d)
    angle = positions[..., None, None] * frequency
    cos, sin = torch.cos(angle), torch.sin(angle)
    if interleaved:
        a, c = t[..., 0::2], t[..., 1::2]
        r = torch.stack([a * cos - c * sin, a * sin + c * cos], -1)
        return r.flatten(-2)
    a, c = t[..., : d // 2], t[..., d // 2 :]
    return torch.cat([a * cos - c * sin, a * sin + c * cos], -1)


positions = torch.arange(T, dtype=torch.float64).expand(B, T)
out["rotary_half"] = rotate(q, positions, 1e4, False)
out["rotary_interleaved"] = rotate(q, positions, 100.0, True)
moved = torch.tensor([[0, 1, 2, 0, 1], [3, 4, 5, 6, 7]])
out["positions"] = moved + 1
out["rotary_moved"] = rotate(q, moved.to(torch.float64), 1e4, False)


def attend(causal, segments=None, scale=None):
    s = torch.einsum("bthd,bshd->bhts", q, k) * (scale or 1 / math.sqrt(D))
    mask = torch.ones(B, 1, T, T, dtype=torch.bool)
    if causal:
        mask = mask & torch.tril(torch.ones(T, T, dtype=torch.bool))
    if segments is not None:
        mask = mask & (segments[:, None, :, None] == segments[:, None, None, :])
    p = torch.softmax(s.masked_fill(~mask, -math.inf), -1)
    y = torch.einsum("bhts,bshd->bthd", p, v)
    entropy = -(p * torch.where(p > 0, p.log(), torch.zeros_like(p))).sum(-1).mean()
    seen = s[mask.expand_as(s)]
    return y, seen.max(), seen.abs().max(), entropy


segments = torch.tensor([[1, 1, 2, 2, 2], [1, 1, 1, 1, 3]])
out["segments"] = segments
out["attention_causal"], top, top_abs, entropy = attend(True)
out["attention_probe"] = torch.stack([top, top_abs, entropy])
out["attention_full"] = attend(False, scale=0.3)[0]
out["attention_segments"] = attend(True, segments)[0]

logits, targets = rand(6, 7), torch.tensor([0, 3, 6, 2, 2, 5])
weights = torch.tensor([1.0, 0.0, -0.5, 2.0, 1.0, 0.0])
out.update(logits=logits, targets=targets + 1, weights=weights)
z = torch.logsumexp(logits, -1)
ce = F.cross_entropy(logits, targets, reduction="none")
out["ce"] = ce.mean()
out["ce_weighted"] = (weights * (ce + 0.1 * z * z)).sum() / 4
out["mean_logz"] = z.mean()
out["mean_logz2"] = (z * z).mean()
xs, head = rand(6, 4), rand(4, 7)
out.update(xs=xs, head=head)
out["lce"] = F.cross_entropy(0.5 * (xs @ head), targets)

table, more = rand(5, 3), rand(4, 3)
ids, at = torch.tensor([[4, 0], [1, 1]]), torch.tensor([[0, 1], [2, 3]])
out.update(table=table, more=more, ids=ids + 1, at=at + 1)
out["embedding"] = table[ids]
out["embedding_positions"] = table[ids] + more[at]

image, kernel, cb = rand(2, 5, 6, 3), rand(3, 2, 3, 4), rand(4)
out.update(image=image, kernel=kernel, cb=cb)
nchw = image.permute(0, 3, 1, 2)
oihw = kernel.permute(3, 2, 0, 1)
out["conv_valid"] = F.conv2d(nchw, oihw, cb, stride=(2, 1)).permute(0, 2, 3, 1)
out["conv_same"] = F.conv2d(F.pad(nchw, (0, 1, 1, 1)), oihw, cb).permute(0, 2, 3, 1)
out["pool"] = F.avg_pool2d(nchw, 2).permute(0, 2, 3, 1)
out["global_pool"] = image.mean((1, 2))
patches = F.unfold(nchw, (3, 2)).reshape(2, 3, 6, 3, 5)  # N, C, kh*kw, H', W'
rows = patches.permute(0, 3, 4, 2, 1).reshape(2, 3, 5, 18)
local_w = rand(3, 5, 18, 2)
out["local_w"] = local_w
out["local_out"] = torch.einsum("nhwk,hwko->nhwo", rows, local_w)

print("-- Printed by torch_cases.py (PyTorch %s)." % torch.__version__.split("+")[0])
print("return {")
for name, value in out.items():
    # in lines of at most 100 columns
    print(textwrap.fill("%s = %s," % (name, lua(value)), 100, initial_indent="  ",
                        subsequent_indent="    ", break_long_words=False, break_on_hyphens=False))
print("}")
