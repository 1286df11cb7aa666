#!/usr/bin/python3
"""Peer: scikit-learn's PolynomialCountSketch, products with sparse and with Hadamard matrices.

    sketch.py --job poly|sparse|hadamard [--n 2000] [--dim 784] [--components 2048] [--degree 4] [--seed 1]
              [--density 0.01] [--dtype f4] [--threads 1] [--reps 3] [--json]

poly: time a point of transform, and the relative Frobenius error of its inner products as (x . y)^degree on unit points in ten
clusters, mean of five seeds. sparse: a compressed sparse row matrix times a sparse sketch with 4 values a row. hadamard: a
matrix times the Hadamard matrix of its width, by BLAS.
"""
import argparse, json, os, sys, time

_t = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv[:-1] else "1"
for _v in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_v, _t)
import numpy as np


def timed(f, reps):
    f()
    r = []
    for _ in range(reps):
        t, c = time.perf_counter(), time.process_time()
        f()
        r.append((time.perf_counter() - t, time.process_time() - c))
    return [sorted(k)[len(r) // 2] for k in zip(*r)]


def clusters(rng, n, d):
    X = rng.standard_normal((10, d))[rng.integers(0, 10, n)] + 0.7 * rng.standard_normal((n, d))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for n, v in (("n", 2000), ("dim", 784), ("components", 2048), ("degree", 4), ("seed", 1), ("threads", 1), ("reps", 3)):
        p.add_argument("--" + n, type=int, default=v)
    p.add_argument("--density", type=float, default=0.01)
    p.add_argument("--dtype", default="f4")
    p.add_argument("--job", choices=["poly", "sparse", "hadamard"], default="poly")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    rng = np.random.default_rng(a.seed)
    if a.job == "poly":
        from sklearn.kernel_approximation import PolynomialCountSketch
        X, errors = clusters(rng, a.n, a.dim).astype(a.dtype), []
        few = X[:500].astype("f8")
        K = (few @ few.T) ** a.degree
        for seed in range(5):
            s = PolynomialCountSketch(degree=a.degree, gamma=1, coef0=0, n_components=a.components, random_state=seed).fit(X)
            Z = s.transform(few)
            errors.append(np.linalg.norm(Z @ Z.T - K) / np.linalg.norm(K))
        wall, cpu = timed(lambda: s.transform(X), a.reps)
        out = dict(error=float(np.mean(errors)), peer="scikit-learn")
    elif a.job == "sparse":
        import scipy.sparse as sp
        X = sp.random(a.n, a.dim, a.density, "csr", dtype=a.dtype, random_state=a.seed)
        k = 4
        rows = np.repeat(np.arange(a.dim), k)
        columns = (rng.integers(0, a.components // k, (a.dim, k)) + np.arange(k) * (a.components // k)).ravel()
        S = sp.csr_matrix((rng.choice([-1.0, 1.0], a.dim * k).astype(a.dtype) / 2, (rows, columns)), (a.dim, a.components))
        wall, cpu = timed(lambda: (X @ S).toarray(), a.reps)
        out = dict(peer="scipy")
    else:
        import scipy.linalg
        X = rng.standard_normal((a.n, a.dim)).astype(a.dtype)
        H = scipy.linalg.hadamard(a.dim).astype(a.dtype)
        wall, cpu = timed(lambda: X @ H, a.reps)
        out = dict(peer="numpy")
    out.update(us=wall / a.n * 1e6, cpu_us=cpu / a.n * 1e6)
    print(json.dumps(out) if a.json else out)


if __name__ == "__main__":
    main()
