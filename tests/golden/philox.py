"""moonlab's random streams in NumPy, and the golden numbers of tests/core/base/test_random.c.

Run: python3 tests/golden/philox.py > tests/golden/philox.h
"""
import numpy as np

U = (1 << 64) - 1


def philox(key, counter, high=0):  # four words
    k, c = [key & 0xFFFFFFFF, key >> 32], [counter & 0xFFFFFFFF, counter >> 32, high & 0xFFFFFFFF, high >> 32]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q & 0xFFFFFFFF, p >> 32 ^ c[3] ^ k[1], p & 0xFFFFFFFF]
        k = [k[0] + 0x9E3779B9 & 0xFFFFFFFF, k[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return c


def word(key, counter, i, attempt=0):  # 64-bit word i of a draw
    w = philox(key, counter + i // 2 & U, attempt)
    return w[2] | w[3] << 32 if i % 2 else w[0] | w[1] << 32


def unit(key, counter, n, dtype, attempt=0):  # in [0, 1)
    if dtype is np.float64:
        return np.array([(word(key, counter, i, attempt) >> 11) * 2.0**-53 for i in range(n)])
    words = [philox(key, counter + i // 4 & U, attempt)[i % 4] >> 8 for i in range(n)]
    return np.array(words, np.float32) * np.float32(2.0**-24)


def uniform(key, counter, n, lo=0.0, hi=1.0, dtype=np.float64):
    return dtype(lo) + dtype(hi - lo) * unit(key, counter, n, dtype)


def normal(key, counter, n, mean=0.0, std=1.0, dtype=np.float64, attempt=0):
    u = unit(key, counter, n + n % 2, dtype, attempt).astype(np.float64).reshape(-1, 2)
    r, t = np.sqrt(-2 * np.log1p(-u[:, 0])), 2 * np.pi * u[:, 1]
    return (mean + std * np.stack([r * np.cos(t), r * np.sin(t)], 1).reshape(-1)[:n]).astype(dtype)


def truncated_normal(key, counter, n, std=1.0, dtype=np.float64):
    z, attempt = normal(key, counter, n, dtype=dtype), 0
    while (abs(z) > 2).any():
        attempt += 1
        z = np.where(abs(z) > 2, normal(key, counter, n, dtype=dtype, attempt=attempt), z)
    return z * dtype(std / 0.87962566103423978)


def below(key, counter, i, n, attempt=0):  # in [0, n)
    p = word(key, counter, i, attempt) * n
    return p >> 64 if p & U >= 2**64 % n else below(key, counter, i, n, attempt + 1)


def integers(key, counter, n, lo, hi):
    return [lo + below(key, counter, i, hi - lo + 1) for i in range(n)]


def permutation(key, counter, n):
    x = list(range(n))
    for i in range(n - 1, 0, -1):
        j = below(key, counter, n - 1 - i, i + 1)
        x[i], x[j] = x[j], x[i]
    return x


def fold(key, name, i):  # the key of an independent stream
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = (h ^ b) * 0x100000001B3 & U
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9 & U
    h = (h ^ h >> 27) * 0x94D049BB133111EB & U
    w = philox(key ^ U, h ^ h >> 31, i & U)
    return w[0] | w[1] << 32


def c_array(kind, name, values, form):
    print(f"static const {kind} {name}[] = {{")
    for k in range(0, len(values), 4):
        print("    " + " ".join(form(v) + "," for v in values[k : k + 4]))
    print("};")


if __name__ == "__main__":
    key, counter, n = 0x0123456789ABCDEF, 2**32 - 3, 37
    print("/* Golden numbers of the random streams, printed by philox.py. */\n#include <stdint.h>\n")
    print(f"enum {{ GOLDEN_N = {n} }};")
    print(f"#define GOLDEN_KEY UINT64_C({key:#x})\n#define GOLDEN_COUNTER UINT64_C({counter})")
    exact = lambda v: float(v).hex()
    exact32 = lambda v: float(v).hex() + "f"
    c_array("double", "golden_uniform_f64", uniform(key, counter, n, -2.5, 3.25), exact)
    c_array("float", "golden_uniform_f32", uniform(key, counter, n, -2.5, 3.25, np.float32), exact32)
    c_array("double", "golden_normal_f64", normal(key, counter, n, 0.5, 2.0), exact)
    c_array("float", "golden_normal_f32", normal(key, counter, n, 0.5, 2.0, np.float32), exact32)
    c_array("double", "golden_truncated_f64", truncated_normal(key, counter, n, 0.02), exact)
    c_array("float", "golden_truncated_f32", truncated_normal(key, counter, n, 0.02, np.float32), exact32)
    c_array("int64_t", "golden_integers", integers(key, counter, n, -10, 10), str)
    wide = integers(key, counter, n, -2**62, 2**61 + 2**60)
    c_array("int64_t", "golden_wide_integers", wide, lambda v: f"INT64_C({v})")
    c_array("int64_t", "golden_permutation", permutation(key, counter, n), str)
    folds = [("", 0), ("a", 0), ("a", 1), ("a", -1), ("layer", 7), ("W\u00f6rter", 2**40)]
    c_array("uint64_t", "golden_folds", [fold(key, *f) for f in folds], lambda v: f"UINT64_C({v:#018x})")
