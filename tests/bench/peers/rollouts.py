#!/usr/bin/python3
"""Peer: many samples for each of many prompts in PyTorch on the CPU.

    rollouts.py --preset a [--prompts 2000] [--samples 8] [--new 48] [--prompt 16] [--rows 512] [--threads 2] [--json]

The decoder of sample_gpt.py. A prompt is prefilled once and its cache repeated for its samples; `rows` sequences advance
together, each by temperature-1 multinomial sampling, in inference mode, with caches allocated once. Prefill is counted.
Reported: generated tokens per second, the best of the group sizes --rows (comma-separated).
"""
import argparse, json, os, sys, time

_t = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv[:-1] else "2"
for _v in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_v, _t)
if os.path.exists("/proc/cpuinfo") and "avx512vl" in open("/proc/cpuinfo").read():
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx512")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import torch, torch.nn.functional as F
from sample_gpt import PRESETS, make, step


def rollouts(w, shape, prompts, samples, new, rows):
    L, d, h, T, V = shape
    n, length = prompts.shape
    group = max(1, rows // samples)
    R = group * samples
    K, Vc = torch.zeros(L, R, h, T, d // h), torch.zeros(L, R, h, T, d // h)
    k1, v1 = torch.zeros(L, group, h, T, d // h), torch.zeros(L, group, h, T, d // h)
    out = torch.empty(n, samples, new, dtype=torch.long)
    for at in range(0, n, group):
        some = prompts[at:at + group]
        g = some.shape[0]
        r = g * samples
        logits = step(w, some, 0, k1[:, :g], v1[:, :g], h).repeat_interleave(samples, 0)
        K[:, :r, :, :length] = k1[:, :g, :, :length].repeat_interleave(samples, 1)
        Vc[:, :r, :, :length] = v1[:, :g, :, :length].repeat_interleave(samples, 1)
        for i in range(new):
            nxt = torch.multinomial(F.softmax(logits, -1), 1)
            out[at:at + g, :, i] = nxt.view(g, samples)
            if i + 1 < new:
                logits = step(w, nxt, length + i, K[:, :r], Vc[:, :r], h)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--preset", choices=PRESETS, default="a")
    p.add_argument("--prompts", type=int, default=2000)
    p.add_argument("--samples", type=int, default=8)
    p.add_argument("--new", type=int, default=48)
    p.add_argument("--prompt", type=int, default=16)
    p.add_argument("--rows", default="128,512")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    L, d, h, T, V = shape = PRESETS[a.preset]
    w, best = make(L, d, T, V), None
    prompts = torch.randint(V, (a.prompts, a.prompt))
    total = a.prompts * a.samples * a.new
    with torch.inference_mode():
        for rows in map(int, a.rows.split(",")):
            rollouts(w, shape, prompts[:rows // a.samples], a.samples, a.new, rows)
            t, c = time.perf_counter(), time.process_time()
            rollouts(w, shape, prompts, a.samples, a.new, rows)
            t, c = time.perf_counter() - t, time.process_time() - c
            r = dict(peer="torch " + torch.__version__, rows=rows, seconds=t, tokens_per_s=total / t, tokens_per_cpu_s=total / c)
            key = "tokens_per_cpu_s" if a.threads == 1 else "tokens_per_s"
            best = r if best is None or r[key] > best[key] else best
    print(json.dumps(best) if a.json else "\n".join(f"{k:18s} {v}" for k, v in best.items()))


if __name__ == "__main__":
    main()
