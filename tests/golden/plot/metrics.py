"""Advance widths of DejaVu Sans, in thousandths of the font size: lua/moonlab/plot/metrics.lua.

python3 tests/golden/plot/metrics.py > lua/moonlab/plot/metrics.lua
Reads the tables cmap (format 4), hhea, hmtx and head of Debian's fonts-dejavu-core 2.37.
"""
import struct

FOLDER = "/usr/share/fonts/truetype/dejavu/"


def widths(path):
    data = open(path, "rb").read()
    tables = {}
    for i in range(struct.unpack(">H", data[4:6])[0]):
        tag, _, offset, _ = struct.unpack(">4sIII", data[12 + 16 * i:28 + 16 * i])
        tables[tag.decode()] = offset
    u16 = lambda at: struct.unpack(">H", data[at:at + 2])[0]
    units = u16(tables["head"] + 18)
    metrics = u16(tables["hhea"] + 34)
    advance = lambda g: u16(tables["hmtx"] + 4 * min(g, metrics - 1))
    cmap = tables["cmap"]
    for i in range(u16(cmap + 2)):
        sub = cmap + struct.unpack(">I", data[cmap + 8 + 8 * i:cmap + 12 + 8 * i])[0]
        if u16(sub) == 4:
            break
    count = u16(sub + 6) // 2
    ends, starts = sub + 14, sub + 16 + 2 * count
    deltas, offsets = starts + 2 * count, starts + 4 * count

    def glyph(c):
        for k in range(count):
            if c <= u16(ends + 2 * k):
                if c < u16(starts + 2 * k):
                    return 0
                offset = u16(offsets + 2 * k)
                if offset == 0:
                    return (c + u16(deltas + 2 * k)) & 0xFFFF
                g = u16(offsets + 2 * k + offset + 2 * (c - u16(starts + 2 * k)))
                return (g + u16(deltas + 2 * k)) & 0xFFFF if g else 0
        return 0

    return lambda c: round(1000 * advance(glyph(c)) / units) if glyph(c) else None


RANGES = [(0x20, 0x7E), (0xA0, 0x17F), (0x391, 0x3C9), (0x400, 0x45F), (0x2010, 0x2027),
          (0x2070, 0x208E), (0x2190, 0x2199), (0x2200, 0x226B)]

print("--- Advance widths of DejaVu Sans in thousandths of the font size: character codes from")
print("--- `first` on. It is the widest face of the figures' font list, so that what is laid out by")
print("--- it never collides in another. Printed by tests/golden/plot/metrics.py.")
print("return {")
for name, file in [("regular", "DejaVuSans.ttf"), ("bold", "DejaVuSans-Bold.ttf")]:
    width = widths(FOLDER + file)
    print("  %s = {" % name)
    for first, last in RANGES:
        print("    { first = 0x%X," % first)
        line = "     "
        for c in range(first, last + 1):
            word = " %d," % (width(c) or 838)
            if len(line + word) > 97:
                print(line)
                line = "     "
            line += word
        print(line + " },")
    print("  },")
print("}")
