#!/usr/bin/python3
"""Peer: growth of peak resident memory over the idle program by training steps of train_gpt.py.

    train_memory.py --preset c [--threads 1] [--json]

Idle: PyTorch imported and one tiny product done, so that its libraries and thread pools are there.
"""
import json, os, resource, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import train_gpt
import torch


class Arguments:
    mode, steps = "eager", 3


def main():
    name = sys.argv[sys.argv.index("--preset") + 1] if "--preset" in sys.argv else "c"
    a = Arguments()
    a.layers, a.dim, a.heads, a.seq, a.batch, a.vocab = train_gpt.PRESETS[name]
    torch.set_num_threads(int(train_gpt._t))
    q = torch.ones(8, 8, requires_grad=True)
    (q @ q).sum().backward()
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train_gpt.run(a, False)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) * 1024
    print(json.dumps(dict(peer="torch " + torch.__version__, bytes=grown)) if "--json" in sys.argv else f"{grown / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
