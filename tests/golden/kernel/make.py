#!/usr/bin/python3
"""Golden duals of activations without a closed form, by mpmath: nested integration at 30 digits, split where the activation has
a kink. Writes golden.json beside this file.

kappa = E f(u) f(v) and kappa_dot = E f'(u) f'(v) with u = sqrt(a) x, v = rho sqrt(b) x + sqrt(b (1 - rho^2)) y.
"""
import json, os
from mpmath import mp, mpf, quad, sqrt, exp, tanh, log, pi, erf, linspace

mp.dps = 20
def sig(x): return 1 / (1 + exp(-x))
functions = {
    "tanh": (tanh, lambda x: 1 - tanh(x) ** 2),
    "sigmoid": (sig, lambda x: sig(x) * (1 - sig(x))),
    "softplus": (lambda x: log(1 + exp(x)), sig),
    "silu": (lambda x: x * sig(x), lambda x: sig(x) + x * sig(x) * (1 - sig(x))),
    "elu": (lambda x: x if x > 0 else exp(x) - 1, lambda x: mpf(1) if x > 0 else exp(x)),
    "gelu": (lambda x: x * (1 + erf(x / sqrt(2))) / 2,
             lambda x: (1 + erf(x / sqrt(2))) / 2 + x * exp(-x * x / 2) / sqrt(2 * pi)),
}
triples = [(0.3, 1.2, 0.8), (-0.5, 0.4, 2.5), (0.99, 1.0, 1.0), (0.05, 0.1, 3.0), (1.9, 2.0, 2.2)]

def phi(x): return exp(-x * x / 2) / sqrt(2 * pi)

def expectation(f, c, a, b):
    a, b, c = mpf(a), mpf(b), mpf(c)
    rho = c / sqrt(a * b)
    s = sqrt(1 - rho * rho)
    def inner(x):
        kink = -rho * x / s
        cuts = sorted({mpf(-9), mpf(-4), mpf(0), mpf(4), mpf(9)} | ({kink} if abs(kink) < 9 else set()))
        return quad(lambda y: f(sqrt(b) * (rho * x + s * y)) * phi(y), cuts, maxdegree=6)
    return quad(lambda x: f(sqrt(a) * x) * inner(x) * phi(x), [-9, -4, -1, 0, 1, 4, 9], maxdegree=5)

if __name__ == "__main__":
    rows = []
    for name, (f, g) in functions.items():
        for c, a, b in triples[:3] if name != "tanh" else triples:
            rows.append(dict(name=name, c=c, a=a, b=b, kappa=float(expectation(f, c, a, b)),
                             kappa_dot=float(expectation(g, c, a, b))))
            print(rows[-1], flush=True)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json"), "w") as out:
        json.dump(rows, out, indent=1)
        out.write("\n")
