"""Writes the golden files of tests/core/io beside itself, with NumPy and the Python library.

Element i (in C order) of every array is v(i) = 7 i mod 23 - 5 in signed integers, v(i) / 4 in reals,
v(i) + 5 in unsigned integers and indices, v(i) > 5 in bool. Run: python3 tests/golden/io/make.py
"""
import gzip
import json
import os
import struct

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))


def path(name):
    return os.path.join(here, name)


def array(dtype, *shape):
    v = (7 * np.arange(int(np.prod(shape)), dtype=np.int64) % 23 - 5).reshape(shape)
    kind = np.dtype(dtype).kind
    return (v / 4 if kind == "f" else v + 5 if kind == "u" else v > 5 if kind == "b" else v).astype(dtype)


def index(*shape):
    return array("<i8", *shape) + 5


np.save(path("f8.npy"), array("<f8", 2, 3))
np.save(path("f8_fortran.npy"), np.asfortranarray(array("<f8", 3, 4, 2)))
np.save(path("f8_big.npy"), array(">f8", 5))
np.save(path("f4.npy"), array("<f4", 4, 3))
np.save(path("f4_big_fortran.npy"), np.asfortranarray(array(">f4", 2, 5)))
np.save(path("f2.npy"), array("<f2", 7))
np.save(path("i8.npy"), index(6))
np.save(path("i8_negative.npy"), array("<i8", 6))
np.save(path("i4_big.npy"), array(">i4", 3, 3))
np.save(path("i1.npy"), array("i1", 9))
np.save(path("u8.npy"), array("<u8", 4))
np.save(path("u2.npy"), array("<u2", 4))
np.save(path("u1.npy"), array("u1", 2, 2, 2))
np.save(path("b1.npy"), array("?", 9))
np.save(path("scalar.npy"), np.float64(-1.25))
np.save(path("empty.npy"), np.zeros((0, 3), np.float32))
for version in (2, 3):
    with open(path(f"v{version}.npy"), "wb") as f:
        np.lib.format.write_array(f, array("<f4", 4, 3), version=(version, 0))
arrays = dict(w=array("<f4", 4, 3), b=array("<f8", 5), ids=index(6), image=array("u1", 3, 3))
np.savez(path("stored.npz"), **arrays)
np.savez_compressed(path("deflated.npz"), **arrays, long=np.zeros((300, 100)))


def bf16(x):
    return (np.asarray(x, "<f4").view("<u4") >> 16).astype("<u2")


tensors = [("F64", "a", array("<f8", 2, 3)), ("I64", "ids", index(6)), ("F32", "block.1.w", array("<f4", 4, 3)),
           ("I32", "i", array("<i4", 5)), ("F16", "half", array("<f2", 7)), ("BF16", "brain", array("<f4", 7)),
           ("U8", "image", array("u1", 3, 3)), ("BOOL", "mask", array("?", 9)), ("F32", "none", array("<f4", 0, 2)),
           ("F64", "scalar", np.array(-1.25))]
header, data = {"__metadata__": {"format": "pt", "note": "gr\u00fc\u00dfe \"quoted\""}}, b""
for dtype, name, x in tensors:
    raw = bf16(x).tobytes() if dtype == "BF16" else x.tobytes()
    header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(path("all.safetensors"), "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + data)


def idx(code, x):
    return bytes([0, 0, code, x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape) + x.astype(x.dtype.newbyteorder(">")).tobytes()


with open(path("labels.idx"), "wb") as f:
    f.write(idx(8, array("u1", 10)))
with open(path("reals.idx"), "wb") as f:
    f.write(idx(13, array("<f4", 4, 3)))
with open(path("images.idx.gz"), "wb") as f:
    f.write(gzip.compress(idx(8, array("u1", 3, 4, 5)), mtime=0))
with open(path("text.txt.gz"), "wb") as f:  # two members, as `cat a.gz b.gz` makes them
    f.write(gzip.compress("\ufeffgr\u00fc\u00dfe, ".encode(), mtime=0) + gzip.compress(b"twice " * 1000, mtime=0))
