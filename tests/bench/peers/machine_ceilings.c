/* What the machine can do: f32 multiply-adds in registers, and reading memory, with so many threads.
 *   gcc -O3 -march=native -fopenmp machine_ceilings.c -o machine_ceilings && ./machine_ceilings 1
 * The best of nine; with one thread by processor time, so that a busy neighbour matters less. */
#define _GNU_SOURCE
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
typedef float vec __attribute__((vector_size(BYTES)));
#define LANES (BYTES / 4)
#define CHAINS 12 /* latency of 4 or 5, two units */

static volatile float sink;
static int threads;

static double now(void) {
  struct timespec t;
  clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void multiply_adds(long n) {
  vec a[CHAINS], x, y;
  for (int l = 0; l < LANES; l++)
    x[l] = 0.999999f, y[l] = 1e-6f;
  for (int i = 0; i < CHAINS; i++)
    a[i] = x * (float)i;
  for (long k = 0; k < n; k++)
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++)
      a[i] = a[i] * x + y;
  float sum = 0;
  for (int i = 0; i < CHAINS; i++)
    sum += a[i][0];
  sink = sum;
}

static void reading(const float *p, long n) {
  vec sum[8] = {0};
  for (long i = 0; i + 8 * LANES <= n; i += 8 * LANES)
    for (int v = 0; v < 8; v++)
      sum[v] += *(const vec *)(p + i + v * LANES);
  for (int v = 1; v < 8; v++)
    sum[0] += sum[v];
  sink = sum[0][0];
}

int main(int argc, char **argv) {
  threads = argc > 1 ? atoi(argv[1]) : 1;
  const long steps = 2000000, n = 64L << 20;
  double flops = 0, bytes = 0;
  float *p = NULL;
  if (threads < 1 || posix_memalign((void **)&p, 4096, (size_t)n * 4))
    return 1;
#pragma omp parallel for num_threads(threads)
  for (long i = 0; i < n; i++)
    p[i] = 1;
  for (int round = 0; round < 9; round++) {
    double t = now();
#pragma omp parallel num_threads(threads)
    multiply_adds(steps);
    double rate = 2.0 * CHAINS * LANES * (double)steps * threads / (now() - t) * 1e-9;
    flops = rate > flops ? rate : flops;
    t = now();
#pragma omp parallel num_threads(threads)
    {
      const long each = n / threads / 256 * 256;
      reading(p + omp_get_thread_num() * each, each);
    }
    rate = 4.0 * (double)n / (now() - t) * 1e-9;
    bytes = rate > bytes ? rate : bytes;
  }
  printf("{\"gflops\": %.2f, \"gb_s\": %.2f}\n", flops, bytes);
  return 0;
}
