/* Who a process is, and whether it still runs; what a file is now. */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first bytes of a small file, ended by 0, control characters as '-'; empty when it cannot be
 * read. */
static void read_word(char *text, size_t size, const char *path) {
  ssize_t n = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    n = read(fd, text, size - 1);
    close(fd);
  }
  text[n > 0 ? n : 0] = 0;
  text[strcspn(text, "\n")] = 0;
}

/* Start time of pid in ticks after boot; 0 when it is not known, -1 when there is no such process
 * or only its corpse. */
static int64_t start_of(int64_t pid) {
  char path[64], text[1024];
  (void)snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
  read_word(text, sizeof text, path);
  if (!text[0]) {
    if (access("/proc/self/stat", R_OK) == 0)
      return -1;
    return kill((pid_t)pid, 0) == 0 || errno == EPERM ? 0 : -1;
  }
  const char *p = strrchr(text, ')'); /* the name before it may hold anything */
  if (!p || !p[1])
    return 0;
  if (p[2] == 'Z' || p[2] == 'X')
    return -1;
  p += 2;
  for (int field = 3; field < 22 && p; field++) {
    p = strchr(p, ' ');
    if (p)
      p++;
  }
  return p ? strtoll(p, NULL, 10) : 0;
}

void ml_process_self(ml_process_id *id) {
  static ml_process_id self;
  if (self.pid != getpid()) {
    memset(&self, 0, sizeof self);
    if (gethostname(self.host, sizeof self.host - 1) || !self.host[0])
      memcpy(self.host, "localhost", sizeof "localhost");
    for (char *p = self.host; *p; p++) {
      if ((unsigned char)*p <= ' ')
        *p = '-';
    }
    read_word(self.boot, sizeof self.boot, "/proc/sys/kernel/random/boot_id");
    ssize_t n = readlink("/proc/self/ns/pid", self.space, sizeof self.space - 1);
    self.space[n > 0 ? n : 0] = 0;
    self.pid = getpid();
    self.start = start_of(self.pid);
    if (self.start < 0)
      self.start = 0;
  }
  *id = self;
}

int ml_process_alive(const ml_process_id *id) {
  ml_process_id self;
  ml_process_self(&self);
  if (!id->boot[0] || strcmp(id->boot, self.boot) != 0 || strcmp(id->space, self.space) != 0)
    return -1;
  int64_t start = start_of(id->pid);
  if (start < 0)
    return 0;
  return start == 0 || id->start == 0 || start == id->start;
}

bool ml_file_stamp(const char *path, char stamp[ML_STAMP_MAX]) {
  struct stat now;
  if (stat(path, &now))
    return false;
  (void)snprintf(stamp, ML_STAMP_MAX, "%llx-%llx-%llx.%lx", (unsigned long long)now.st_ino,
                 (unsigned long long)now.st_size, (unsigned long long)now.st_mtim.tv_sec,
                 (unsigned long)now.st_mtim.tv_nsec);
  return true;
}
