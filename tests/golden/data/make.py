#!/usr/bin/python3
"""R data files written by the format's description (R Internals 1.8), without R: run in this folder.

frame2.rda (version 2, gzip), frame3.rda (version 3, xz, a compact sequence and row names as R keeps them),
frame.rds (version 2, plain), base.rdb and base.rdx (a lazy-load database of two objects)."""
import gzip, lzma, struct, zlib

NA = -2 ** 31


def i4(*x):
    return struct.pack(">%di" % len(x), *x)


def chars(s):
    return i4(9, -1) if s is None else i4(9 | 64 << 12, len(s.encode())) + s.encode()


class Writer:
    def __init__(self):
        self.symbols = []

    def symbol(self, name):
        if name in self.symbols:
            return i4(255 | (self.symbols.index(name) + 1) << 8)
        self.symbols.append(name)
        return i4(1) + chars(name)

    def pairs(self, entries):
        return b"".join(i4(2 | 0x400) + self.symbol(k) + v for k, v in entries) + i4(254)

    def vector(self, kind, body, attributes=()):
        # entries are made before they are joined, so that symbols are numbered in the order of the file
        flags = kind | (0x200 if attributes else 0) | (0x100 if dict(attributes).get("class") else 0)
        return i4(flags) + body + (self.pairs([(k, v) for k, v in attributes]) if attributes else b"")


def ints(w, x, a=()):
    return w.vector(13, i4(len(x), *x), a)


def reals(w, x):
    return w.vector(14, i4(len(x)) + struct.pack(">%dd" % len(x), *x))


def texts(w, x):
    return w.vector(16, i4(len(x)) + b"".join(map(chars, x)))


def frame(w, third):
    """number, count, level, text, flag; the attributes of a factor come inside, so those of the frame come after."""
    columns = [reals(w, [1.5, -2.25, 1e300]), third(w),
               ints(w, [2, NA, 1], [("levels", texts(w, ["low", "high"])), ("class", texts(w, ["factor"]))]),
               texts(w, ["b", None, "a \u00e9"]), w.vector(10, i4(3, 1, 0, NA))]
    names = texts(w, ["number", "count", "level", "text", "flag"])
    return w.vector(19, i4(5) + b"".join(columns),
                    [("names", names), ("class", texts(w, ["data.frame"])), ("row.names", ints(w, [NA, -3]))])


def sequence(w):
    info = i4(2) + w.symbol("compact_intseq") + i4(2) + w.symbol("base") + i4(2) + ints(w, [13]) + i4(254)
    return i4(238) + info + reals(w, [3, 7, 1]) + i4(254)


def head(version):
    native = i4(5) + b"UTF-8" if version == 3 else b""
    return b"X\n" + i4(version, 0x040202, 0x020300) + native


def rda(version, objects):
    w = Writer()
    return b"RDX%d\n" % version + head(version) + b"".join(
        i4(2 | 0x400) + w.symbol(k) + f(w) for k, f in objects) + i4(254)


def plain(w):
    return ints(w, [7, NA, 9])


def main():
    put = lambda name, data: open(name, "wb").write(data)
    put("frame2.rda", gzip.compress(rda(2, [("frame", lambda w: frame(w, plain))]), mtime=0))
    put("frame3.rda", lzma.compress(rda(3, [("frame", lambda w: frame(w, sequence)), ("x", lambda w: reals(w, [4]))])))
    put("frame.rds", head(2) + frame(Writer(), plain))
    base, places = b"", []
    for make in (lambda w: frame(w, plain), lambda w: reals(w, [1, 2, 3, 4])):
        data = head(2) + make(Writer())
        chunk = struct.pack(">I", len(data)) + zlib.compress(data)
        places.append((len(base), len(chunk)))
        base += chunk
    put("base.rdb", base)
    w = Writer()
    first, second = (ints(w, p) for p in places)
    inner = w.vector(19, i4(2) + first + second, [("names", texts(w, ["frame", "x"]))])
    outer = w.vector(19, i4(1) + inner, [("names", texts(w, ["variables"]))])
    put("base.rdx", gzip.compress(head(2) + outer, mtime=0))


main()
