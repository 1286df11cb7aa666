/* SQLite: prepared statements with bound parameters. */
#include "private.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <time.h>

struct ml_db {
  sqlite3 *handle;
  double wait;  /* seconds for a lock */
  double since; /* when the present wait began */
};

struct ml_stmt {
  sqlite3_stmt *handle;
};

static const char nan_blob[3] = {'n', 'a', 'n'};

static ml_status fail(ml_error *err, sqlite3 *handle, int code, const char *what) {
  const char *why = handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
  switch (code & 0xff) {
  case SQLITE_NOMEM:
    return ml_fail(err, ML_ENOMEM, 0, "out of memory in SQLite");
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    return ml_fail(err, ML_EFORMAT, 0, "cannot %s: the database is damaged (%.120s)", what, why);
  case SQLITE_BUSY:
  case SQLITE_LOCKED:
    if (ml_cancelled())
      return ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    return ml_fail(err, ML_ESTATE, 0, "cannot %s: %.150s", what, why);
  case SQLITE_CANTOPEN:
  case SQLITE_IOERR:
  case SQLITE_FULL:
  case SQLITE_READONLY:
  case SQLITE_PERM:
  case SQLITE_AUTH:
    return ml_fail(err, ML_EIO, 0, "cannot %s: %.150s", what, why);
  default:
    return ml_fail(err, ML_EARG, 0, "cannot %s: %.150s", what, why);
  }
}

/* Waits for another one's lock, as long as allowed and Ctrl-C is not pressed. */
static int on_busy(void *ctx, int tries) {
  ml_db *db = ctx;
  double now = ml_now();
  if (tries == 0)
    db->since = now;
  if (now - db->since >= db->wait || ml_cancelled())
    return 0;
  long ms = tries < 5 ? 1 : tries < 20 ? 5 : 25;
  struct timespec pause = {0, ms * 1000000L};
  nanosleep(&pause, NULL);
  return 1;
}

ml_status ml_db_open(ml_db **out, const char *path, bool read_only, double wait, ml_error *err) {
  *out = NULL;
  if (!*path)
    return ml_fail(err, ML_EARG, 1, "the file name is empty");
  if (!(wait >= 0))
    return ml_fail(err, ML_EARG, 2, "wait is %g, wanted >= 0", wait);
  ml_db *db = ml_alloc(sizeof *db);
  if (!db)
    return ml_fail(err, ML_ENOMEM, 0, "no memory to open '%s'", ml_shown(path));
  db->wait = wait;
  int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  int code = sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);
  if (code == SQLITE_OK)
    code = sqlite3_busy_handler(db->handle, on_busy, db);
  if (code != SQLITE_OK) {
    char what[ML_PATH_SHOWN + 16];
    (void)snprintf(what, sizeof what, "open '%s'", ml_shown(path));
    ml_status status = fail(err, db->handle, code, what);
    ml_db_close(db);
    return status;
  }
  *out = db;
  return ML_OK;
}

void ml_db_close(ml_db *db) {
  if (!db)
    return;
  if (db->handle)
    sqlite3_busy_handler(db->handle, NULL, NULL); /* statements may outlive db */
  sqlite3_close_v2(db->handle);
  ml_free(db);
}

ml_status ml_db_exec(ml_db *db, const char *sql, ml_error *err) {
  int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
  return code == SQLITE_OK ? ML_OK : fail(err, db->handle, code, "run the SQL");
}

ml_status ml_stmt_prepare(ml_stmt **out, ml_db *db, const char *sql, ml_error *err) {
  *out = NULL;
  ml_stmt *stmt = ml_alloc(sizeof *stmt);
  if (!stmt)
    return ml_fail(err, ML_ENOMEM, 0, "no memory for a statement");
  const char *rest = "";
  int code = sqlite3_prepare_v2(db->handle, sql, -1, &stmt->handle, &rest);
  ml_status status = ML_OK;
  if (code != SQLITE_OK)
    status = fail(err, db->handle, code, "prepare the SQL");
  else if (!stmt->handle)
    status = ml_fail(err, ML_EARG, 2, "the SQL is empty");
  else if (rest[strspn(rest, " \t\r\n;")])
    status = ml_fail(err, ML_EARG, 2, "the SQL holds more than one statement");
  if (status) {
    ml_stmt_free(stmt);
    return status;
  }
  *out = stmt;
  return ML_OK;
}

int ml_stmt_parameters(const ml_stmt *stmt) { return sqlite3_bind_parameter_count(stmt->handle); }

ml_status ml_stmt_bind(ml_stmt *stmt, int position, const ml_value *value, ml_error *err) {
  int code = SQLITE_MISUSE;
  switch (value->type) {
  case ML_NULL:
    code = sqlite3_bind_null(stmt->handle, position);
    break;
  case ML_INTEGER:
    code = sqlite3_bind_int64(stmt->handle, position, value->integer);
    break;
  case ML_REAL:
    code = isnan(value->real)
               ? sqlite3_bind_blob(stmt->handle, position, nan_blob, sizeof nan_blob, SQLITE_STATIC)
               : sqlite3_bind_double(stmt->handle, position, value->real);
    break;
  case ML_TEXT:
    code = sqlite3_bind_text64(stmt->handle, position, value->text, value->bytes, SQLITE_TRANSIENT,
                               SQLITE_UTF8);
    break;
  }
  return code == SQLITE_OK ? ML_OK
                           : fail(err, sqlite3_db_handle(stmt->handle), code, "bind a value");
}

ml_status ml_stmt_step(ml_stmt *stmt, bool *row, ml_error *err) {
  *row = false;
  int code = sqlite3_step(stmt->handle);
  if (code == SQLITE_ROW) {
    *row = true;
    return ML_OK;
  }
  if (code == SQLITE_DONE)
    return ML_OK;
  ml_status status = fail(err, sqlite3_db_handle(stmt->handle), code, "run the SQL");
  sqlite3_reset(stmt->handle);
  return status;
}

int ml_stmt_columns(const ml_stmt *stmt) { return sqlite3_column_count(stmt->handle); }

const char *ml_stmt_column_name(const ml_stmt *stmt, int column) {
  const char *name = sqlite3_column_name(stmt->handle, column);
  return name ? name : "";
}

void ml_stmt_column(const ml_stmt *stmt, int column, ml_value *value) {
  *value = (ml_value){.type = ML_NULL};
  switch (sqlite3_column_type(stmt->handle, column)) {
  case SQLITE_INTEGER:
    value->type = ML_INTEGER;
    value->integer = sqlite3_column_int64(stmt->handle, column);
    break;
  case SQLITE_FLOAT:
    value->type = ML_REAL;
    value->real = sqlite3_column_double(stmt->handle, column);
    break;
  case SQLITE_TEXT:
    value->text = (const char *)sqlite3_column_text(stmt->handle, column);
    value->bytes = (size_t)sqlite3_column_bytes(stmt->handle, column);
    if (value->text)
      value->type = ML_TEXT;
    break;
  case SQLITE_BLOB:
    value->text = sqlite3_column_blob(stmt->handle, column);
    value->bytes = (size_t)sqlite3_column_bytes(stmt->handle, column);
    if (value->text && value->bytes == sizeof nan_blob &&
        memcmp(value->text, nan_blob, sizeof nan_blob) == 0) {
      value->type = ML_REAL;
      value->real = (double)NAN;
    } else if (value->text) {
      value->type = ML_TEXT;
    }
    break;
  default:
    break;
  }
}

void ml_stmt_reset(ml_stmt *stmt) {
  sqlite3_reset(stmt->handle);
  sqlite3_clear_bindings(stmt->handle);
}

int64_t ml_stmt_changes(const ml_stmt *stmt) {
  return sqlite3_changes64(sqlite3_db_handle(stmt->handle));
}

void ml_stmt_free(ml_stmt *stmt) {
  if (!stmt)
    return;
  sqlite3_finalize(stmt->handle);
  ml_free(stmt);
}
