/* SQLite: every value comes back, locks are waited for, damage is told from misuse. */
#include "check.h"

#include "system/system.h"

#include <unistd.h>

static void remove_db(const char *path) {
  char name[64];
  static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
  for (int i = 0; i < 4; i++) {
    snprintf(name, sizeof name, "%s%s", path, tails[i]);
    unlink(name);
  }
}

static ml_db *new_db(const char *path) {
  ml_error err;
  ml_db *db = NULL;
  remove_db(path);
  CHECK_OK(ml_db_open(&db, path, false, 1, &err), &err);
  CHECK_OK(
      ml_db_exec(db, "PRAGMA journal_mode = WAL; CREATE TABLE t (k INTEGER PRIMARY KEY, v)", &err),
      &err);
  return db;
}

static void put(ml_stmt *stmt, int64_t key, const ml_value *value) {
  ml_error err;
  bool row;
  ml_value k = {.type = ML_INTEGER, .integer = key};
  CHECK_OK(ml_stmt_bind(stmt, 1, &k, &err), &err);
  CHECK_OK(ml_stmt_bind(stmt, 2, value, &err), &err);
  CHECK_OK(ml_stmt_step(stmt, &row, &err), &err);
  CHECK(!row);
  CHECK_EQ(ml_stmt_changes(stmt), 1);
  ml_stmt_reset(stmt);
}

static void test_every_value_comes_back(void) { /* property */
  ml_error err;
  ml_db *db = new_db("values.db");
  ml_stmt *in, *out;
  const double reals[] = {0.1,      -0.0,      5e-324,      1.7976931348623157e308,
                          HUGE_VAL, -HUGE_VAL, (double)NAN, 3.0};
  const int64_t integers[] = {0, -1, INT64_MAX, INT64_MIN};
  const struct {
    const char *text;
    size_t bytes;
  } texts[] = {{"", 0}, {"nan", 3}, {"it's; DROP TABLE t", 18}, {"a\0b", 3}, {"\xc3\xa9", 2}};
  int64_t key = 0;
  CHECK_OK(ml_stmt_prepare(&in, db, "INSERT INTO t VALUES (?, ?)", &err), &err);
  CHECK_EQ(ml_stmt_parameters(in), 2);
  for (int i = 0; i < 8; i++)
    put(in, key++, &(ml_value){.type = ML_REAL, .real = reals[i]});
  for (int i = 0; i < 4; i++)
    put(in, key++, &(ml_value){.type = ML_INTEGER, .integer = integers[i]});
  for (int i = 0; i < 5; i++)
    put(in, key++, &(ml_value){.type = ML_TEXT, .text = texts[i].text, .bytes = texts[i].bytes});
  put(in, key++, &(ml_value){.type = ML_NULL});
  CHECK_OK(ml_stmt_prepare(&out, db, "SELECT k, v FROM t ORDER BY k; ", &err), &err);
  CHECK_EQ(ml_stmt_columns(out), 2);
  CHECK_STRING(ml_stmt_column_name(out, 1), "v");
  for (int64_t i = 0; i < key; i++) {
    bool row;
    ml_value v;
    CHECK_OK(ml_stmt_step(out, &row, &err), &err);
    CHECK(row);
    ml_stmt_column(out, 1, &v);
    if (i < 8) {
      CHECK_EQ(v.type, ML_REAL);
      CHECK(memcmp(&v.real, &reals[i], 8) == 0 || (isnan(v.real) && isnan(reals[i])));
    } else if (i < 12) {
      CHECK_EQ(v.type, ML_INTEGER);
      CHECK_EQ(v.integer, integers[i - 8]);
    } else if (i < 17) {
      CHECK_EQ(v.type, ML_TEXT);
      CHECK_EQ(v.bytes, texts[i - 12].bytes);
      CHECK(memcmp(v.text, texts[i - 12].text, v.bytes) == 0);
    } else {
      CHECK_EQ(v.type, ML_NULL);
    }
  }
  bool row = true;
  CHECK_OK(ml_stmt_step(out, &row, &err), &err);
  CHECK(!row);
  ml_stmt_free(in);
  ml_db_close(db); /* a statement outlives it */
  ml_stmt_reset(out);
  CHECK_OK(ml_stmt_step(out, &row, &err), &err);
  CHECK(row);
  ml_stmt_free(out);
  ml_stmt_free(NULL);
  ml_db_close(NULL);
}

static void test_misuse_is_an_argument_error(void) { /* error */
  ml_error err;
  ml_db *db = new_db("misuse.db");
  ml_stmt *stmt;
  ml_value v = {.type = ML_NULL};
  CHECK_FAIL(ml_stmt_prepare(&stmt, db, "SELECT nowhere", &err), ML_EARG);
  CHECK_HAS(err.message, "no such column: nowhere");
  CHECK_FAIL(ml_stmt_prepare(&stmt, db, "", &err), ML_EARG);
  CHECK_FAIL(ml_stmt_prepare(&stmt, db, "SELECT 1; SELECT 2", &err), ML_EARG);
  CHECK_HAS(err.message, "more than one statement");
  CHECK(stmt == NULL);
  CHECK_FAIL(ml_db_exec(db, "INSERT INTO none VALUES (1)", &err), ML_EARG);
  CHECK_OK(ml_stmt_prepare(&stmt, db, "INSERT INTO t VALUES (1, ?)", &err), &err);
  CHECK_FAIL(ml_stmt_bind(stmt, 2, &v, &err), ML_EARG);
  CHECK_FAIL(ml_stmt_bind(stmt, 0, &v, &err), ML_EARG);
  bool row;
  CHECK_OK(ml_stmt_step(stmt, &row, &err), &err);
  ml_stmt_reset(stmt);
  CHECK_FAIL(ml_stmt_step(stmt, &row, &err), ML_EARG); /* the key is there */
  CHECK_HAS(err.message, "UNIQUE");
  ml_stmt_free(stmt);
  ml_db_close(db);
  CHECK_FAIL(ml_db_open(&db, "", false, 1, &err), ML_EARG);
  CHECK_FAIL(ml_db_open(&db, "x.db", false, (double)NAN, &err), ML_EARG);
  CHECK_FAIL(ml_db_open(&db, "/no/such/folder/x.db", false, 1, &err), ML_EIO);
  CHECK_HAS(err.message, "/no/such/folder/x.db");
  CHECK_FAIL(ml_db_open(&db, "none.db", true, 1, &err), ML_EIO);
  CHECK(db == NULL && access("none.db", F_OK) != 0);
}

static void test_a_lock_is_waited_for(void) { /* property */
  ml_error err;
  ml_db *db = new_db("lock.db"), *other;
  CHECK_OK(ml_db_open(&other, "lock.db", false, 0.05, &err), &err);
  CHECK_OK(ml_db_exec(db, "BEGIN IMMEDIATE", &err), &err);
  double start = ml_now();
  CHECK_FAIL(ml_db_exec(other, "INSERT INTO t VALUES (1, 2)", &err), ML_ESTATE);
  CHECK(ml_now() - start >= 0.05);
  CHECK_HAS(err.message, "locked");
  ml_db_close(other);
  CHECK_OK(ml_db_open(&other, "lock.db", false, 1e9, &err), &err);
  ml_cancel();
  CHECK_FAIL(ml_db_exec(other, "INSERT INTO t VALUES (1, 2)", &err), ML_ECANCELLED);
  ml_cancel_clear();
  CHECK_OK(ml_db_exec(db, "COMMIT", &err), &err);
  CHECK_OK(ml_db_exec(other, "INSERT INTO t VALUES (1, 2)", &err), &err);
  ml_db_close(other);
  ml_db_close(db);
}

static void test_damage_has_a_status_of_its_own(void) { /* error */
  ml_error err;
  ml_db *db;
  remove_db("noise.db");
  char noise[8192];
  memset(noise, 0xa5, sizeof noise);
  CHECK_OK(ml_write_file("noise.db", noise, sizeof noise, &err), &err);
  CHECK_OK(ml_db_open(&db, "noise.db", false, 1, &err), &err); /* SQLite looks when it reads */
  CHECK_FAIL(ml_db_exec(db, "SELECT * FROM sqlite_master", &err), ML_EFORMAT);
  CHECK_HAS(err.message, "the database is damaged");
  ml_db_close(db);

  db = new_db("torn.db"); /* a real one that lost its middle */
  CHECK_OK(
      ml_db_exec(db,
                 "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000) "
                 "INSERT INTO t SELECT i, 'some text for row ' || i FROM c",
                 &err),
      &err);
  ml_db_close(db);
  FILE *f = fopen("torn.db", "r+b");
  CHECK(f && fseek(f, 4096, SEEK_SET) == 0 && fwrite(noise, 1, sizeof noise, f) == sizeof noise);
  if (f)
    fclose(f);
  CHECK_OK(ml_db_open(&db, "torn.db", false, 1, &err), &err);
  CHECK_FAIL(ml_db_exec(db, "SELECT sum(k) FROM t", &err), ML_EFORMAT);
  ml_db_close(db);
}

static void test_allocations_fail_in_turn(void) { /* error */
  ml_error err;
  ml_db *db;
  ml_stmt *stmt;
  ml_db_close(new_db("alloc.db"));
  CHECK_ALLOC_SWEEP(ml_db_open(&db, "alloc.db", false, 1, &err), ml_db_close(db));
  CHECK_OK(ml_db_open(&db, "alloc.db", false, 1, &err), &err);
  CHECK_ALLOC_SWEEP(ml_stmt_prepare(&stmt, db, "SELECT * FROM t", &err), ml_stmt_free(stmt));
  ml_db_close(db);
}

CHECK_MAIN(test_every_value_comes_back, test_misuse_is_an_argument_error, test_a_lock_is_waited_for,
           test_damage_has_a_status_of_its_own, test_allocations_fail_in_turn)
