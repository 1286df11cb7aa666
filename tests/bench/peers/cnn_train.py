#!/usr/bin/python3
"""Peer: training steps of small image networks, PyTorch.

    cnn_train.py [--net cnn|lcn] [--batch 64] [--channels 64] [--side 28] [--steps 7] [--threads 2] [--json]

cnn: three 3x3 convolutions (same padding) with ReLU, global average pooling, linear; lcn: three locally connected 3x3
layers (no padding) by unfold and one batched matrix product over positions, flatten, linear. Cross-entropy, SGD with
momentum. Reported: images per second (wall and process CPU), median of the steps after two unmeasured ones.
"""
import argparse, json, os, sys, time

_t = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv[:-1] else "2"
for _v in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_v, _t)
if os.path.exists("/proc/cpuinfo") and "avx512vl" in open("/proc/cpuinfo").read():
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx512")
import torch
import torch.nn as nn
import torch.nn.functional as F


class Local(nn.Module):
    """Weights [positions, 9 c_in, c_out]: patches as [positions, batch, 9 c_in]."""

    def __init__(self, c_in, c_out, side):
        super().__init__()
        self.out = side - 2
        self.w = nn.Parameter(torch.randn(self.out * self.out, 9 * c_in, c_out) / (9 * c_in) ** 0.5)
        self.b = nn.Parameter(torch.zeros(self.out * self.out, 1, c_out))

    def forward(self, x):
        p = F.unfold(x, 3).permute(2, 0, 1)
        y = torch.baddbmm(self.b, p, self.w)
        return y.permute(1, 2, 0).reshape(x.shape[0], -1, self.out, self.out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--net", choices=["cnn", "lcn"], default="cnn")
    for n, v in (("batch", 64), ("channels", 64), ("side", 28), ("steps", 7), ("threads", 2)):
        p.add_argument("--" + n, type=int, default=v)
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    c = a.channels
    if a.net == "cnn":
        net = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1), nn.ReLU(),
                            nn.Conv2d(c, c, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10))
    else:
        s = a.side
        net = nn.Sequential(Local(1, c, s), nn.ReLU(), Local(c, c, s - 2), nn.ReLU(), Local(c, c, s - 4), nn.ReLU(),
                            nn.Flatten(), nn.Linear(c * (s - 6) ** 2, 10))
    x, y = torch.randn(a.batch, 1, a.side, a.side), torch.randint(0, 10, (a.batch,))
    opt = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    walls, cpus = [], []
    for i in range(a.steps + 2):
        t, q = time.perf_counter(), time.process_time()
        opt.zero_grad(set_to_none=True)
        F.cross_entropy(net(x), y).backward()
        opt.step()
        if i >= 2:
            walls.append(time.perf_counter() - t)
            cpus.append(time.process_time() - q)
    w, u = sorted(walls)[len(walls) // 2], sorted(cpus)[len(cpus) // 2]
    r = dict(peer="torch " + torch.__version__, net=a.net, threads=a.threads, images_per_s=a.batch / w, images_per_cpu_s=a.batch / u)
    print(json.dumps(r) if a.json else "\n".join(f"{k:18s} {v}" for k, v in r.items()))


if __name__ == "__main__":
    main()
