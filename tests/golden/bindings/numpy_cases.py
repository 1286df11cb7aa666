#!/usr/bin/python3
"""Numbers by NumPy for the tests of tensors seen from Lua. Prints numpy_cases.lua, kept beside this script."""
import math
import textwrap

import numpy as np

rng = np.random.default_rng(7)
x = np.round(rng.normal(size=(3, 4)), 3)
y = np.round(rng.normal(size=(3, 4)), 3)
row = np.round(rng.normal(size=4), 3)
column = np.round(rng.normal(size=(3, 1)), 3)
cube = np.round(rng.normal(size=(2, 3, 4)), 3)
positive = np.abs(x) + 0.1
ids = np.array([[2, 0, 1, 2], [0, 0, 2, 1]])
picks = np.array([2, 0, 2])
ties = np.array([3.0, 1.0, 3.0, 2.0, 1.0])

out = {}


def lua(value):
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(lua(v) for v in value) + " }"
    if isinstance(value, (bool, np.bool_)):
        return "1" if value else "0"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    value = float(value)
    if math.isnan(value):
        return "0 / 0"
    if math.isinf(value):
        return "math.huge" if value > 0 else "-math.huge"
    text = repr(value)
    return text


for name in ("x", "y", "row", "column", "cube", "positive", "ties"):
    out[name] = globals()[name]
out["ids"] = ids + 1
out["picks"] = picks + 1

out["add_row"] = x + row
out["sub_column"] = x - column
out["mul_row_column"] = row * column
out["div"] = x / y
out["pow"] = positive ** y
out["rsub"] = 2 - x
out["rdiv"] = 2 / x
out["rpow"] = 2 ** x
out["maximum"] = np.maximum(x, y)
out["minimum"] = np.minimum(x, 0.25)
out["atan2"] = np.arctan2(x, y)
out["lt"] = x < y
out["ge"] = x >= 0
out["where"] = np.where(x > y, x, y)
out["clamp"] = np.clip(x, -0.5, 0.5)

erf = np.vectorize(math.erf)
erfc = np.vectorize(math.erfc)
sigmoid = lambda a: 1 / (1 + np.exp(-a))
unary = {
    "abs": np.abs, "sign": np.sign, "square": np.square, "exp": np.exp, "expm1": np.expm1, "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "erf": erf, "erfc": erfc,
    "sigmoid": sigmoid, "softplus": lambda a: np.log1p(np.exp(a)), "relu": lambda a: np.maximum(a, 0),
    "relu2": lambda a: np.maximum(a, 0) ** 2, "silu": lambda a: a * sigmoid(a),
    "gelu_tanh": lambda a: a / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3))),
    "gelu_erf": lambda a: a / 2 * (1 + erf(a / math.sqrt(2))), "floor": np.floor, "ceil": np.ceil, "round": np.round,
    "reciprocal": lambda a: 1 / a, "neg": lambda a: -a,
}
out["unary"] = {name: f(x) for name, f in unary.items()}
unary_positive = {"sqrt": np.sqrt, "rsqrt": lambda a: 1 / np.sqrt(a), "log": np.log, "log1p": np.log1p, "log2": np.log2}
out["unary_positive"] = {name: f(positive) for name, f in unary_positive.items()}
out["asin"] = np.arcsin(x / 4)
out["acos"] = np.arccos(x / 4)

out["sum"] = cube.sum()
out["sum_1"] = cube.sum(0)
out["sum_2"] = cube.sum(1)
out["sum_13"] = cube.sum((0, 2))
out["sum_keep"] = cube.sum((0, 2), keepdims=True)
out["mean_12"] = cube.mean((0, 1))
out["prod_3"] = cube.prod(2)
out["max_2"] = cube.max(1)
out["min_3"] = cube.min(2)
out["argmax"] = cube.argmax() + 1
out["argmax_2"] = cube.argmax(1) + 1
out["argmin_3"] = cube.argmin(2) + 1
out["argmax_ties"] = ties.argmax() + 1
out["logsumexp_3"] = np.log(np.exp(cube).sum(2))
out["norm"] = np.sqrt((cube**2).sum())
out["norm_1"] = np.sqrt((cube**2).sum(0))
out["var"] = cube.var()
out["var_2_ddof"] = cube.var(1, ddof=1)
out["std_3"] = cube.std(2)
out["cumsum_2"] = cube.cumsum(1)
e = np.exp(cube - cube.max(1, keepdims=True))
out["softmax_2"] = e / e.sum(1, keepdims=True)
out["log_softmax_2"] = np.log(e / e.sum(1, keepdims=True))
out["any_1"] = (x > 1).any(0)
out["all_2"] = (x > -1).all(1)

out["sort_2"] = np.sort(cube, 1, kind="stable")
out["argsort_2"] = np.argsort(cube, 1, kind="stable") + 1
out["sort_ties"] = np.argsort(ties, kind="stable") + 1
out["sort_ties_descending"] = np.argsort(-ties, kind="stable") + 1
out["gather_1"] = np.take_along_axis(x, ids, 0)
out["take_1"] = np.take(x, picks, 0)
out["take_2"] = np.take(x, ids % 4, 1)
scattered = x.copy()
np.put_along_axis(scattered, ids[:1], 9.0, 0)
out["scatter_1"] = scattered
added = x.copy()
for i in range(ids.shape[0]):
    for j in range(4):
        added[ids[i, j], j] += y[i, j]
out["scatter_add_1"] = added
out["concat_2"] = np.concatenate([x, y, column], 1)
out["stack_2"] = np.stack([x, y], 1)
out["tril"] = np.tril(x, 1)
out["triu"] = np.triu(x, -1)
out["diagonal"] = np.diagonal(x[:, :3])
out["one_hot"] = np.eye(4)[picks]

out["matmul"] = x @ y.T
out["matmul_batched"] = cube @ np.swapaxes(cube, 1, 2)
out["matmul_broadcast"] = cube @ row
out["matmul_vector"] = row @ row
out["permute"] = np.transpose(cube, (2, 0, 1))
out["slice"] = cube[1, ::-1, 1:4:2]
out["slice_assign"] = x.copy()
out["slice_assign"][1:, 0] = -1
out["slice_assign"][0] = row
out["linspace"] = np.linspace(-1, 2, 7)


def show(indent, name, value):
    """One entry in lines of at most 100 columns."""
    print(textwrap.fill("%s = %s," % (name, lua(value)), 100, initial_indent=indent,
                        subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False))


print("-- Printed by numpy_cases.py (NumPy %s)." % np.__version__)
print("return {")
for name, value in out.items():
    if isinstance(value, dict):
        print("  %s = {" % name)
        for key, v in value.items():
            show("    ", key, v)
        print("  },")
    else:
        show("  ", name, value)
print("}")
