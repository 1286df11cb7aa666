/* What the worker gives up before it reads a first program: files, processes, the network, its
 * parent. The kernel refuses, whatever the program finds in Lua. */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static pid_t parent;

static void say(sandbox_buffer *words, const char *name, const char *value) {
  sandbox_put(words, name, strlen(name));
  sandbox_put(words, " ", 1);
  sandbox_put(words, value, strlen(value));
  sandbox_put(words, "\n", 1);
}

/* ---- limits ---------------------------------------------------------------------------------- */

#ifndef __SANITIZE_ADDRESS__
/* Bytes of address space in use. */
static uint64_t address_space(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file)
    return 256u << 20;
  if (fscanf(file, "%lu", &pages) != 1)
    pages = 0;
  (void)fclose(file);
  return pages ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 256u << 20;
}
#endif

static void limit(__rlimit_resource_t what, uint64_t most, const char *name,
                  sandbox_buffer *words) {
  struct rlimit now;
  if (getrlimit(what, &now) == 0 && now.rlim_max != RLIM_INFINITY && now.rlim_max < most)
    most = now.rlim_max;
  struct rlimit wanted = {most, most};
  say(words, name, setrlimit(what, &wanted) ? strerror(errno) : "on");
}

/* ---- system calls ---------------------------------------------------------------------------- */

#ifdef ARCHITECTURE
enum { RULES_MOST = 160 };

typedef struct {
  struct sock_filter rules[RULES_MOST];
  unsigned short n;
} filter;

static void rule(filter *f, uint16_t code, uint32_t k, uint8_t yes, uint8_t no) {
  if (f->n < RULES_MOST)
    f->rules[f->n++] = (struct sock_filter){code, yes, no, k};
}

static void load(filter *f, size_t offset) {
  rule(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void give(filter *f, uint32_t what) { rule(f, BPF_RET | BPF_K, what, 0, 0); }

#define REFUSE (SECCOMP_RET_ERRNO | EPERM)

static size_t argument(int i) { /* its low half, on these little-endian machines */
  return offsetof(struct seccomp_data, args) + (size_t)i * sizeof(uint64_t);
}

static void allow(filter *f, uint32_t call) {
  rule(f, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1);
  give(f, SECCOMP_RET_ALLOW);
}

/* With this first argument only. */
static void allow_on(filter *f, uint32_t call, uint32_t value) {
  rule(f, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4);
  load(f, argument(0));
  rule(f, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
  give(f, SECCOMP_RET_ALLOW);
  give(f, REFUSE);
}

/* Memory that is never code; of mmap that of no file. */
static void allow_data(filter *f, uint32_t call, bool anonymous) {
  rule(f, BPF_JMP | BPF_JEQ | BPF_K, call, 0, anonymous ? 6 : 4);
  load(f, argument(2));
  rule(f, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, anonymous ? 3 : 1, 0);
  if (anonymous) {
    load(f, argument(3));
    rule(f, BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 1);
  }
  give(f, SECCOMP_RET_ALLOW);
  give(f, REFUSE);
}

/* NULL, or why there is no filter. */
static const char *confine_calls(void) {
  static filter f;
  static const uint32_t plain[] = {
      SYS_brk,           SYS_munmap,       SYS_mremap,       SYS_madvise,         SYS_exit,
      SYS_exit_group,    SYS_rt_sigreturn, SYS_futex,        SYS_restart_syscall, SYS_clock_gettime,
      SYS_setitimer,     SYS_getpid,       SYS_gettimeofday, SYS_sigaltstack,     SYS_sched_yield,
      SYS_rt_sigprocmask};
  load(&f, offsetof(struct seccomp_data, arch));
  rule(&f, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
  give(&f, SECCOMP_RET_KILL_PROCESS);
  load(&f, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
  rule(&f, BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1); /* the calls of x32 */
  give(&f, SECCOMP_RET_KILL_PROCESS);
#endif
  allow_on(&f, SYS_read, 0);
  allow_on(&f, SYS_write, 1);
  for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
    allow(&f, plain[i]);
  allow_data(&f, SYS_mmap, true);
  allow_data(&f, SYS_mprotect, false);
  give(&f, REFUSE);
  struct sock_fprog program = {f.n, f.rules};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0))
    return strerror(errno);
  return NULL;
}
#else
static const char *confine_calls(void) { return "no filter for this processor"; }
#endif

void sandbox_confine(uint64_t memory, bool seccomp, sandbox_buffer *words) {
  parent = getppid();
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != parent) /* it went before it was watched */
    _exit(0);
  (void)signal(SIGPIPE, SIG_DFL);
  (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core file, no looking into it by others */
  say(words, "no_new_privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? strerror(errno) : "on");
#ifdef __SANITIZE_ADDRESS__
  (void)memory;
  say(words, "address_space", "not with AddressSanitizer, which reserves terabytes");
#else
  limit(RLIMIT_AS, address_space() + 2 * memory + (64u << 20), "address_space", words);
#endif
  limit(RLIMIT_FSIZE, 0, "file_size", words);
  limit(RLIMIT_CORE, 0, "core_file", words);
  limit(RLIMIT_NPROC, 0, "processes", words);
  limit(RLIMIT_MEMLOCK, 0, "locked_memory", words);
  limit(RLIMIT_MSGQUEUE, 0, "message_queues", words);
  limit(RLIMIT_CPU, 3600, "processor_time", words);
  limit(RLIMIT_NOFILE, 0, "open_files", words); /* the streams that are open stay so */
  const char *why = seccomp ? confine_calls() : "not asked for";
  say(words, "seccomp", why ? why : "on");
}

/* ---- the probe ------------------------------------------------------------------------------- */

/* A call counts as refused by these alone: "no such file" would say that it looked. */
static void tried(sandbox_buffer *words, const char *name, long result) {
  int code = errno;
  if (result < 0 && (code == EPERM || code == EMFILE || code == EACCES))
    return;
  sandbox_put(words, name, strlen(name));
  sandbox_put(words, "\n", 1);
}

void sandbox_probe(sandbox_buffer *words) {
  char byte = 0;
  struct iovec here = {&byte, 1};
  tried(words, "reading a file", open("/etc/hostname", O_RDONLY));
  tried(words, "writing a file", open("/nonexistent/moonlab-probe", O_WRONLY));
  tried(words, "removing a file", unlink("/nonexistent/moonlab-probe"));
  tried(words, "entering a folder", chdir("/"));
  tried(words, "a socket of the network", socket(AF_INET, SOCK_STREAM, 0));
  tried(words, "a socket of this machine", socket(AF_UNIX, SOCK_STREAM, 0));
  tried(words, "a pipe", pipe((int[2]){0, 0}));
  tried(words, "signals to the parent", kill(parent, 0));
  tried(words, "the parent's memory", process_vm_readv(parent, &here, 1, &here, 1, 0));
  char *const nothing[] = {NULL};
  tried(words, "another program", execve("/nonexistent/moonlab-probe", nothing, nothing));
  tried(words, "longer limits", prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
  void *code =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  tried(words, "memory with code", code == MAP_FAILED ? -1 : 0);
  long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0)
    _exit(0);
  tried(words, "a process", child);
  if (child > 0)
    (void)waitpid((pid_t)child, NULL, 0);
}
