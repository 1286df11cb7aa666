/* The worker that runs generated programs: the host in another role, which loads neither libmoonlab
 * nor anything else, gives up all it can, and then answers requests on its standard streams.
 *
 * A frame is a length of 4 bytes (little-endian, as all numbers) and as many bytes.
 * Request 'J', a job: u32 milliseconds, u64 memory, u64 instructions (of a call), u32 output,
 * u32 results (bytes), u32 n + source, u32 calls, for each u32 n + values.
 * Answer: u8 verdict, u64 instructions, u64 memory at its peak, u32 n + message, u32 n + output,
 * u32 calls, for each u8 verdict and u32 n + values, or u32 n + message where it is not 'o'.
 * Request 'P', a probe: what the system lets this process do. Answer: u32 n + words.
 * The first frame, which nobody asks for, says how it is confined: u32 n + words.
 * Values: n(il) t(rue) f(alse) i + i64, d + f64, s + u32 n + bytes, T + u32 pairs + keys and
 * values, o + u32 n + the name of a type that does not travel. */
#ifndef MOONLAB_SANDBOX_H
#define MOONLAB_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Verdicts. */
enum {
  SANDBOX_OK = 'o',
  SANDBOX_ERROR = 'e',
  SANDBOX_SYNTAX = 's',
  SANDBOX_INSTRUCTIONS = 'i',
  SANDBOX_MEMORY = 'm',
  SANDBOX_OUTPUT = 'p',
  SANDBOX_RESULT = 'r'
};

/* Bytes that grow up to a limit; what would go beyond is left out and `over` says so. */
typedef struct {
  unsigned char *data;
  size_t n, room, limit;
  bool over;
} sandbox_buffer;

void sandbox_put(sandbox_buffer *b, const void *data, size_t n);
void sandbox_put_byte(sandbox_buffer *b, int byte);
void sandbox_put_u32(sandbox_buffer *b, uint32_t value);
void sandbox_put_u64(sandbox_buffer *b, uint64_t value);
void sandbox_put_text(sandbox_buffer *b, const char *text, size_t n); /* length first */

/* What is left of a frame. Reading beyond its end sets `bad` and gives zeros. */
typedef struct {
  const unsigned char *at, *end;
  bool bad;
} sandbox_reader;

uint8_t sandbox_u8(sandbox_reader *r);
uint32_t sandbox_u32(sandbox_reader *r);
uint64_t sandbox_u64(sandbox_reader *r);
const char *sandbox_text(sandbox_reader *r, size_t *n);

/* Runs the job in `r` in a Lua state of its own and appends the answer. */
void sandbox_job(sandbox_reader *r, sandbox_buffer *answer);

/* Gives up what is not needed; `memory` is the largest limit of a job, `words` gets lines "name
 * value" that say how it went. */
void sandbox_confine(uint64_t memory, bool seccomp, sandbox_buffer *words);
/* Tries what a program must never reach, harmlessly, and lists what was not refused. */
void sandbox_probe(sandbox_buffer *words);

/* The worker: host --sandbox MEMORY SECCOMP(0|1); never returns. */
__attribute__((noreturn)) void sandbox_worker(int argc, char **argv);

#endif
