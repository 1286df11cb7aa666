#!/usr/bin/python3
"""Kernel regression by NumPy and scikit-learn, leave-one-out by leaving out; prints golden.json.

    tests/golden/solve/make.py > tests/golden/solve/golden.json        (NumPy 1.24, SciPy 1.10, scikit-learn 1.2)
"""
import json
import numpy as np
from scipy import linalg
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

rng = np.random.default_rng(1)
n, gamma = 24, 0.3
X, X2 = rng.standard_normal((n, 3)), rng.standard_normal((5, 3))
Y = np.stack([np.sin(X[:, 0]) + 0.1 * rng.standard_normal(n), X[:, 1] * X[:, 2]], 1)


def rbf(A, B):
    return np.exp(-gamma * ((A[:, None] - B[None]) ** 2).sum(-1))


K, K2 = rbf(X, X), rbf(X2, X)
ridges = [1e-3, 0.05, 2.0]
out = dict(gamma=gamma, X=X.tolist(), X2=X2.tolist(), Y=Y.tolist(), ridges=ridges, krr=[], loo=[], gcv=[], dof=[])
for r in ridges:
    model = KernelRidge(alpha=r, kernel="rbf", gamma=gamma).fit(X, Y)
    out["krr"].append(dict(alpha=model.dual_coef_.tolist(), predicted=model.predict(X2).tolist()))
    errors = []
    for i in range(n):  # by the definition
        keep = np.arange(n) != i
        a = np.linalg.solve(K[np.ix_(keep, keep)] + r * np.eye(n - 1), Y[keep])
        errors.append(Y[i] - K[i, keep] @ a)
    out["loo"].append(float(np.mean(np.square(errors))))
    H = K @ np.linalg.inv(K + r * np.eye(n))
    out["dof"].append(float(np.trace(H)))
    out["gcv"].append(float(np.mean(np.square(Y - H @ Y)) / (1 - np.trace(H) / n) ** 2))

Z = rng.standard_normal((30, 6))
T = Z @ rng.standard_normal((6, 2)) + 0.3 * rng.standard_normal((30, 2))
out["ridge"] = dict(Z=Z.tolist(), Y=T.tolist(), alpha=0.7, loo=[],
                    w=Ridge(alpha=0.7, fit_intercept=False, solver="cholesky").fit(Z, T).coef_.T.tolist())
errors = []
for i in range(30):
    keep = np.arange(30) != i
    w = np.linalg.solve(Z[keep].T @ Z[keep] + 0.7 * np.eye(6), Z[keep].T @ T[keep])
    errors.append(T[i] - Z[i] @ w)
out["ridge"]["loo"] = float(np.mean(np.square(errors)))

noise = 0.01
gp = GaussianProcessRegressor(RBF(1 / np.sqrt(2 * gamma)), alpha=noise, optimizer=None).fit(X, Y[:, 0])
mean, cov = gp.predict(X2, return_cov=True)
out["gp"] = dict(noise=noise, mean=mean.tolist(), cov=cov.tolist(), lml=float(gp.log_marginal_likelihood_value_))

out["flow"] = []
for t in (0.5, 20.0, 3000.0):  # f' = -K (f - y) / n, by the matrix exponential
    fitted = (np.eye(n) - linalg.expm(-K * t / n)) @ Y
    out["flow"].append(dict(t=t, fitted=fitted.tolist()))
print(json.dumps(out))
