#!/usr/bin/python3
"""Distributions by mpmath, fits, intervals and rank correlations by SciPy and NumPy; prints golden.json.

    tests/golden/stats/make.py > tests/golden/stats/golden.json        (SciPy 1.10, NumPy 1.24, mpmath 1.2)
"""
import json, math
import numpy as np
from mpmath import mp
from scipy import optimize, stats

mp.dps = 32
out = {}


def beta_cdf(x, a, b, y=None):  # SciPy's own loses digits near the ends and for large shapes
    x, a, b = mp.mpf(x), mp.mpf(a), mp.mpf(b)
    y = 1 - x if y is None else y
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(y, b, a, x)
    front = mp.exp(a * mp.log(x) + b * mp.log(y) + mp.loggamma(a + b) - mp.loggamma(a) - mp.loggamma(b)) / a
    term, total, n = mp.mpf(1), mp.mpf(1), 0
    while term > total * mp.mpf(10) ** -30:  # DLMF 8.17.8
        term *= (a + b + n) / (a + 1 + n) * x
        total, n = total + term, n + 1
    return front * total


def t_cdf(t, dof):
    t, dof = mp.mpf(t), mp.mpf(dof)
    if dof > 1e5:  # the series is slow there, and nothing is left of the tail beyond 24 more
        density = lambda s: mp.exp(-(dof + 1) / 2 * mp.log1p(s * s / dof))
        scale = mp.exp(mp.loggamma((dof + 1) / 2) - mp.loggamma(dof / 2))
        tail = scale / mp.sqrt(dof * mp.pi) * mp.quad(density, mp.linspace(abs(t), abs(t) + 24, 9))
        return 1 - tail if t > 0 else tail
    tail = beta_cdf(dof / (dof + t * t), dof / 2, 0.5, t * t / (dof + t * t)) / 2
    return 1 - tail if t > 0 else tail


def newton(x, p, cdf, pdf):  # from SciPy's quantile, which has ten digits
    for _ in range(3):
        x -= float((cdf(x) - mp.mpf(p)) / pdf(x))
    return x


def t_quantile(p, dof):
    return newton(float(stats.t.ppf(p, dof)), p, lambda t: t_cdf(t, dof), lambda t: stats.t.pdf(t, dof))


def beta_quantile(p, a, b):
    return newton(float(stats.beta.ppf(p, a, b)), p, lambda x: beta_cdf(x, a, b), lambda x: stats.beta.pdf(x, a, b))


# ---- distributions
ps = [1e-300, 1e-20, 1e-8, 1e-3, 0.025, 0.2, 0.425, 0.5, 0.6, 0.9, 0.975, 0.9999]
zs = [-37.0, -9.5, -3.0, -1.96, -0.3, 0.0, 0.7, 2.5, 6.0]
dofs = [0.5, 1, 2, 2.5, 3, 7, 30, 200, 1e4, 1e6]
out["normal_cdf"] = [[z, float(mp.ncdf(z))] for z in zs]
out["normal_quantile"] = [[p, newton(float(stats.norm.ppf(p)), p, mp.ncdf, stats.norm.pdf)] for p in ps]
out["t_cdf"] = [[t, d, float(t_cdf(t, d))] for d in dofs for t in (-40.0, -3.0, -0.5, 0.1, 2.0, 12.0)]
out["t_quantile"] = [[p, d, t_quantile(p, d)] for d in dofs for p in (1e-6, 0.005, 0.1, 0.45, 0.6, 0.95, 0.975, 0.9995)]
shapes = [(0.3, 0.7), (0.5, 20.0), (1.0, 1.0), (2.0, 5.0), (30.0, 4.0), (500.0, 700.0), (2e5, 3e5), (12.0, 1e4)]
cases = []
for a, b in shapes:
    for f in (0.01, 0.2, 0.6, 1.0, 1.5):
        x = min(0.999, f * a / (a + b))
        if beta_cdf(x, a, b) > 1e-300:
            cases.append([x, a, b, float(beta_cdf(x, a, b))])
out["beta_cdf"] = cases
out["beta_quantile"] = [[p, a, b, beta_quantile(p, a, b)] for a, b in shapes for p in (1e-4, 0.025, 0.3, 0.8, 0.975)]

# ---- intervals of proportions
counts = [(0, 10), (1, 10), (5, 10), (8, 10), (10, 10), (3, 81), (240, 400), (1, 1), (0, 1), (4999, 10000)]
out["wilson"] = [[k, n, level, *stats.binomtest(k, n).proportion_ci(level, "wilson")] for k, n in counts for level in (0.8, 0.95, 0.99)]
out["exact"] = [[k, n, level, *stats.binomtest(k, n).proportion_ci(level, "exact")] for k, n in counts for level in (0.8, 0.95, 0.99)]

# ---- fits
x = [16.0, 32.0, 64.0, 128.0, 256.0, 512.0]
y = [0.81, 0.52, 0.29, 0.19, 0.104, 0.068]
s = [0.05, 0.02, 0.02, 0.01, 0.004, 0.006]
u, v = np.log(x), np.log(y)
fit = stats.linregress(u, v)
n, mean, sxx = len(u), u.mean(), ((u - u.mean()) ** 2).sum()
residual = v - fit.intercept - fit.slope * u
std = math.sqrt((residual**2).sum() / (n - 2))
t = t_quantile(0.95, n - 2)  # a level of 0.9


def band(x0, extra):
    u0 = math.log(x0)
    centre, reach = fit.intercept + fit.slope * u0, t * std * math.sqrt(extra + 1 / n + (u0 - mean) ** 2 / sxx)
    return [math.exp(centre - reach), math.exp(centre + reach)]


line = lambda u, a, b: a + b * u
sigma = np.array(s) / np.array(y)
known, known_cov = optimize.curve_fit(line, u, v, sigma=sigma, absolute_sigma=True)
relative, relative_cov = optimize.curve_fit(line, u, v, sigma=sigma, absolute_sigma=False)
out["power_law"] = dict(
    x=x, y=y, sigma=s, level=0.9, exponent=fit.slope, stderr=fit.stderr, r2=fit.rvalue**2, residual_std=std,
    coefficient=math.exp(fit.intercept), coefficient_stderr=math.exp(fit.intercept) * fit.intercept_stderr,
    interval=[fit.slope - t * fit.stderr, fit.slope + t * fit.stderr],
    band=[[x0, *band(x0, 0)] for x0 in (8.0, 100.0, 4096.0)],
    prediction=[[x0, *band(x0, 1)] for x0 in (8.0, 100.0, 4096.0)],
    known=[known[1], math.sqrt(known_cov[1, 1])], relative=[relative[1], math.sqrt(relative_cov[1, 1])],
)

lr = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
loss = [3.41, 3.02, 2.71, 2.58, 2.69, 3.05]
u = np.log(lr)
c, cov = np.polyfit(u, loss, 2, cov=True)  # c[0] u^2 + c[1] u + c[2]
best = -c[1] / (2 * c[0])
gradient = np.array([c[1] / (2 * c[0] ** 2), -1 / (2 * c[0]), 0])
out["parabola"] = dict(
    x=lr, y=loss, log_best=best, log_stderr=math.sqrt(gradient @ cov @ gradient), value=np.polyval(c, best),
    curvature=2 * c[0], curvature_stderr=2 * math.sqrt(cov[0, 0]),
)

sizes = [1e5, 3e5, 1e6, 4e6, 2e7]
logits = [11.0, 17.0, 31.0, 66.0, 210.0]
u, v = np.log(sizes), np.log(logits)
c, cov = np.polyfit(u[:4], v[:4], 2, cov=True)
out["quadratic"] = dict(
    x=sizes, y=logits, prediction=math.exp(np.polyval(c, u[4])), coefficients=list(c[::-1]),
    stderrs=list(np.sqrt(np.diag(cov))[::-1]),
)

# ---- correlations
a = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0]
b = [2.0, 7.0, 1.0, 8.0, 2.0, 8.0, 1.0, 8.0, 2.0, 8.0, 4.0]
rank = {}
for name, f in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
    r = f(a, b)
    rank[name] = [r[0], r[1]]
r = stats.kendalltau(a, b, method="asymptotic")
rank["kendall"] = [r[0], r[1]]
out["correlation"] = dict(a=a, b=b, ranks=list(stats.rankdata(a)), **rank)

# ---- quantiles and permutation tests
out["quantile"] = [[q, float(np.quantile(a, q))] for q in (0, 0.1, 0.25, 0.5, 0.77, 1)]
difference = lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis)
tests = {}
for alternative in ("two-sided", "greater", "less"):
    for kind in ("independent", "samples"):
        r = stats.permutation_test((a[:6], b[:6]), difference, permutation_type=kind, alternative=alternative, vectorized=True)
        tests[kind + " " + alternative] = float(r.pvalue)
out["permutation"] = tests

print(json.dumps(out, indent=1))
