/* System room: leases that give a folder one writer, append-only logs, SQLite, child processes,
 * an HTTP server.
 *
 * Nothing here knows Lua. Calls are made from one thread, as in base; the only other thread is the
 * heartbeat, which touches lease files and nothing else. */
#ifndef MOONLAB_SYSTEM_H
#define MOONLAB_SYSTEM_H

#include "base/base.h"

#include <sys/types.h>

/* ---- who we are ------------------------------------------------------------------------------ */

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

/* Sleeps; ML_ECANCELLED at Ctrl-C. */
ML_API ml_status ml_sleep(double seconds, ml_error *err) ML_MUST_CHECK;

/* What a file is now, as "inode-size-mtime in ns": equal stamps, unchanged file. false when there
 * is none. */
#define ML_STAMP_MAX 72
ML_API bool ml_file_stamp(const char *path, char stamp[ML_STAMP_MAX]);

/* ---- leases ---------------------------------------------------------------------------------- */

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

/* ---- append-only logs ------------------------------------------------------------------------ */

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

/* ---- child processes ------------------------------------------------------------------------- */

/* A child gets the standard streams and nothing else that is open here, signals at their defaults,
 * none blocked. */
typedef enum {
  ML_STREAM_INHERIT,
  ML_STREAM_NULL,   /* /dev/null */
  ML_STREAM_PIPE,   /* read or written by this process */
  ML_STREAM_FILE,   /* path, made or emptied; stdin: read */
  ML_STREAM_APPEND, /* path, written at its end */
  ML_STREAM_OUTPUT  /* stderr only: where stdout goes */
} ml_stream_kind;

typedef struct {
  ml_stream_kind kind;
  const char *path; /* FILE, APPEND */
} ml_stream;

typedef struct {
  const char *const *argv; /* ends with NULL; argv[0] without a slash is looked for in PATH */
  const char *const *env;  /* "NAME=value" sets, "NAME" removes; ends with NULL; NULL: none */
  const char *dir;         /* where it starts; NULL: here */
  ml_stream streams[3];    /* stdin, stdout, stderr */
  bool group; /* leads a process group of its own: the terminal's Ctrl-C does not reach it */
} ml_spawn_options;

typedef struct ml_child ml_child;
typedef enum { ML_RUNNING, ML_EXITED, ML_SIGNALLED } ml_child_state;

/* *found (NULL allowed): false when ML_EIO means that there is no such program. */
ML_API ml_status ml_child_spawn(ml_child **child, const ml_spawn_options *options, bool *found,
                                ml_error *err) ML_MUST_CHECK;
ML_API int64_t ml_child_pid(const ml_child *child);
/* Waits for the end at most `timeout` seconds (negative: for ever, 0: only looks), until it has
 * ended: *code is its exit status or signal. ML_ECANCELLED at Ctrl-C. */
ML_API ml_status ml_child_wait(ml_child *child, double timeout, ml_child_state *state, int *code,
                               ml_error *err) ML_MUST_CHECK;
/* The same for several: *which is the position of one that has ended, or -1. */
ML_API ml_status ml_child_wait_any(ml_child *const *children, int n, double timeout, int *which,
                                   ml_error *err) ML_MUST_CHECK;
/* To the child, or to its whole group when it leads one. One that has ended is left alone. */
ML_API ml_status ml_child_kill(ml_child *child, int signal, ml_error *err) ML_MUST_CHECK;
/* What comes first through the pipes of stdout (*stream 1) and stderr (2), *n bytes of it; *stream
 * 0 and *n 0 when both have ended; *stream -1 after `timeout` seconds (negative: for ever). */
ML_API ml_status ml_child_read(ml_child *child, char *data, size_t size, double timeout,
                               int *stream, size_t *n, ml_error *err) ML_MUST_CHECK;
/* To its stdin; ML_EIO when it no longer reads. Waits while the pipe is full, at most `timeout`
 * seconds (negative: for ever): *left is how many bytes are not written. */
ML_API ml_status ml_child_write(ml_child *child, const char *data, size_t n, double timeout,
                                size_t *left, ml_error *err) ML_MUST_CHECK;
ML_API void ml_child_close_stdin(ml_child *child);
/* Closes the pipes and forgets the child; one that still runs goes on, and leaves no zombie. NULL
 * allowed. */
ML_API void ml_child_free(ml_child *child);

/* ---- SQLite ---------------------------------------------------------------------------------- */

/* ML_EFORMAT: the file is no database or damaged; ML_ESTATE: locked for longer than `wait` seconds;
 * ML_EARG: the SQL is wrong; ML_EIO; ML_ENOMEM. */
typedef struct ml_db ml_db;
typedef struct ml_stmt ml_stmt;
ML_API ml_status ml_db_open(ml_db **db, const char *path, bool read_only, double wait,
                            ml_error *err) ML_MUST_CHECK;
ML_API void ml_db_close(ml_db *db); /* NULL allowed; statements stay valid until they are freed */
ML_API ml_status ml_db_exec(ml_db *db, const char *sql,
                            ml_error *err) ML_MUST_CHECK; /* any number of statements */

typedef enum { ML_NULL, ML_INTEGER, ML_REAL, ML_TEXT } ml_value_type;
/* SQLite turns NaN into NULL; here it is stored as the blob 'nan', so that every double comes back.
 */
typedef struct {
  ml_value_type type;
  int64_t integer;
  double real;
  const char *text;
  size_t bytes;
} ml_value;

/* One statement with ?-parameters. */
ML_API ml_status ml_stmt_prepare(ml_stmt **stmt, ml_db *db, const char *sql,
                                 ml_error *err) ML_MUST_CHECK;
ML_API int ml_stmt_parameters(const ml_stmt *stmt);
ML_API ml_status ml_stmt_bind(ml_stmt *stmt, int position, const ml_value *value,
                              ml_error *err) ML_MUST_CHECK; /* from 1 */
ML_API ml_status ml_stmt_step(ml_stmt *stmt, bool *row, ml_error *err) ML_MUST_CHECK;
ML_API int ml_stmt_columns(const ml_stmt *stmt);
ML_API const char *ml_stmt_column_name(const ml_stmt *stmt, int column); /* from 0 */
ML_API void ml_stmt_column(const ml_stmt *stmt, int column,
                           ml_value *value); /* text is valid until the next step */
ML_API void
ml_stmt_reset(ml_stmt *stmt); /* ready to be bound and run again; ends its transaction */
ML_API int64_t
ml_stmt_changes(const ml_stmt *stmt);    /* rows that the last INSERT, UPDATE or DELETE touched */
ML_API void ml_stmt_free(ml_stmt *stmt); /* NULL allowed */

/* ---- HTTP server
 * ------------------------------------------------------------------------------------- */

/* For the browser of this machine: listens on 127.0.0.1 only and answers GET with its own name in
 * the Host header only; all else it refuses by itself. Connections (64), the bytes of a request (16
 * KiB) and the time it takes (30 s) are bounded. One request is in hand at a time. */
typedef struct ml_http ml_http;
/* port 0: any that is free. most_body: bytes of a POST of JSON, 0: GET only. ML_EIO: taken;
 * ML_ESTATE: built without libmicrohttpd. */
ML_API ml_status ml_http_open(ml_http **server, int port, size_t most_body,
                              ml_error *err) ML_MUST_CHECK;
ML_API int ml_http_port(const ml_http *server);
/* The next request's path and query as they were sent (printable ASCII, the first a slash), valid
 * until it is answered; NULL after `timeout` seconds. A request not answered yet gets a 500.
 * ML_ECANCELLED at Ctrl-C. */
ML_API ml_status ml_http_next(ml_http *server, double timeout, const char **target,
                              ml_error *err) ML_MUST_CHECK;
/* Answers the request in hand; headers: name, value, ..., ends with NULL; NULL: none. No harm when
 * who asked has gone. */
ML_API ml_status ml_http_answer(ml_http *server, int status, const void *body, size_t bytes,
                                const char *const *headers, ml_error *err) ML_MUST_CHECK;
/* The body of the request in hand, a zero after it; NULL of a GET. */
ML_API const char *ml_http_body(const ml_http *server, size_t *bytes);
ML_API void ml_http_close(ml_http *server); /* NULL allowed */

/* ---- asking other machines (fetch.c)
 * ------------------------------------------------------------------ */

/* Many POSTs at once over libcurl. Certificates are checked, redirects are not followed. */
typedef struct ml_fetch ml_fetch;

typedef struct {
  const char *url, *body;
  size_t bytes;
  const char *const *headers; /* lines "Name: value", ends with NULL; NULL: none */
  double connect_seconds, total_seconds, idle_seconds; /* longest of each */
  size_t most_bytes;                                   /* of the answer */
  bool get;                                            /* GET, without body */
} ml_fetch_request;

typedef struct {
  int64_t id;
  int status;       /* of HTTP; 0 where there was none */
  const char *body; /* a zero after it; valid until the next call */
  size_t bytes;
  char retry_after[64]; /* that header, or "" */
  char error[256];      /* why there is no whole answer, or "" */
  double seconds;
} ml_fetch_answer;

/* ML_ESTATE: built without libcurl. */
ML_API ml_status ml_fetch_open(ml_fetch **fetch, ml_error *err) ML_MUST_CHECK;
/* What is given is copied. */
ML_API ml_status ml_fetch_start(ml_fetch *fetch, const ml_fetch_request *request, int64_t *id,
                                ml_error *err) ML_MUST_CHECK;
/* Waits until a request has ended, `timeout` seconds at most; id 0: none has. ML_ECANCELLED. */
ML_API ml_status ml_fetch_next(ml_fetch *fetch, double timeout, ml_fetch_answer *answer,
                               ml_error *err) ML_MUST_CHECK;
ML_API int ml_fetch_pending(const ml_fetch *fetch);
ML_API void ml_fetch_close(ml_fetch *fetch); /* NULL allowed; ends what is on its way */

/* ---- what is built in
 * -------------------------------------------------------------------------------- */

/* The chart library of the pages (dygraphs), *bytes of JavaScript; NULL where the build found none.
 */
ML_API const char *ml_chart_library(size_t *bytes);

#endif
