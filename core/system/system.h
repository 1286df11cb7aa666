/* System room: leases that give a folder one writer, append-only logs, SQLite, child processes.
 *
 * Nothing here knows Lua. Calls are made from one thread, as in base; the only other thread is the
 * heartbeat, which touches lease files and nothing else. */
#ifndef MOONLAB_SYSTEM_H
#define MOONLAB_SYSTEM_H

#include "base/base.h"

#include <sys/types.h>

/* ---- who we are
 * -------------------------------------------------------------------------------------- */

#define ML_HOST_MAX 128

/* A process, told apart from every other one that ever had its pid. boot and space (the pid
 * namespace) say whether pid and start mean anything here. */
typedef struct {
  char host[ML_HOST_MAX];
  char boot[48];
  char space[48];
  int64_t pid;
  int64_t start; /* clock ticks after boot; 0: not known */
} ml_process_id;

ML_API void ml_process_self(ml_process_id *id);
/* 1: it runs, 0: it has ended, -1: not to be told from here (another machine or pid namespace). */
ML_API int ml_process_alive(const ml_process_id *id);

/* What a file is now, as "inode-size-mtime in ns": equal stamps, unchanged file. false when there
 * is none. */
#define ML_STAMP_MAX 72
ML_API bool ml_file_stamp(const char *path, char stamp[ML_STAMP_MAX]);

/* ---- leases
 * ------------------------------------------------------------------------------------------ */

/* One writer per folder. A lease is a file DIR/lease.N that appears by exclusive creation (a link,
 * so that it is whole from its first moment, on NFS as well) and holds who owns it; the owner is
 * the one with the largest N. Who finds lease.N stale or released takes over by creating lease.N+1,
 * which only one can. The largest is never removed, so that nobody can act on what he saw earlier.
 * A heartbeat renews the file's time. Stale: its process has ended, which the same machine sees at
 * once; or, seen from elsewhere, no heartbeat for `timeout` seconds on the clock of the file
 * system. A process that is known to run never loses its lease. */
typedef struct ml_lease ml_lease;

typedef struct {
  ml_process_id owner;
  double age;         /* seconds since the last heartbeat */
  bool released;      /* given back by its owner */
  bool live;          /* neither released nor stale */
  int64_t generation; /* N; 0: there is no lease */
} ml_lease_info;

#define ML_LEASE_TIMEOUT 60.0
#define ML_LEASE_INTERVAL 5.0

/* ML_ESTATE, with *holder (when given) filled, when a live other one (or this process) holds it. */
ML_API ml_status ml_lease_claim(ml_lease **lease, const char *dir, double timeout, double interval,
                                ml_lease_info *holder, ml_error *err) ML_MUST_CHECK;
/* Looks without touching anything. */
ML_API ml_status ml_lease_look(ml_lease_info *info, const char *dir, double timeout,
                               ml_error *err) ML_MUST_CHECK;
/* Whether it is still ours: no when another machine thought us dead and took it. Cheap; beats by
 * itself after a pause. */
ML_API bool ml_lease_held(ml_lease *lease);
/* Gives it back and frees it; NULL allowed. */
ML_API void ml_lease_release(ml_lease *lease);

/* ---- append-only logs
 * -------------------------------------------------------------------------------- */

/* Each write reaches the system before it returns: nothing but the machine's own end loses it. A
 * write that fails half-way (a full disk) is taken back. */
typedef struct ml_log ml_log;
/* Opens for appending; a last line without its end is cut off, when lines is true. */
ML_API ml_status ml_log_open(ml_log **log, const char *path, bool lines,
                             ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_log_write(ml_log *log, const void *data, size_t bytes,
                              ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_log_sync(ml_log *log, ml_error *err) ML_MUST_CHECK; /* to the disk */
ML_API void ml_log_close(ml_log *log);                                  /* NULL allowed */

#endif
