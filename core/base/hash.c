/* Hashes: a 64-bit one that is the same on every machine, and zlib's CRC. */
#include "base.h"

#include <zlib.h>

/* FNV-1a over the bytes, then a finaliser that spreads each bit over all (Stafford's mix 13). */
uint64_t ml_hash64(const void *data, size_t bytes, uint64_t seed) {
  const unsigned char *p = data;
  uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed;
  for (size_t i = 0; i < bytes; i++)
    h = (h ^ p[i]) * UINT64_C(0x100000001b3);
  h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
  return h ^ h >> 31;
}

uint32_t ml_crc32(uint32_t crc, const void *data, size_t bytes) {
  return (uint32_t)crc32_z(crc, data, bytes);
}
