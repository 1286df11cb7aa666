/* Append-only logs: torn ends are cut, failed writes are taken back, stamps follow the file. */
#include "check.h"

#include "system/system.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void put_text(const char *path, const char *text) {
  ml_error err;
  CHECK_OK(ml_write_file(path, text, strlen(text), &err), &err);
}

static void check_text(const char *path, const char *wanted) {
  ml_error err;
  ml_in_file file;
  char text[65536] = "";
  CHECK_OK(ml_in_open(&file, path, &err), &err);
  CHECK(file.bytes < sizeof text);
  memcpy(text, file.data, file.bytes);
  ml_in_close(&file);
  CHECK_STRING(text, wanted);
}

static void append(const char *path, bool lines, const char *text) {
  ml_error err;
  ml_log *log;
  CHECK_OK(ml_log_open(&log, path, lines, &err), &err);
  CHECK_OK(ml_log_write(log, text, strlen(text), &err), &err);
  CHECK_OK(ml_log_sync(log, &err), &err);
  ml_log_close(log);
}

static void test_a_torn_line_is_cut(void) { /* property */
  static char long_line[9002];
  put_text("a", "one\ntwo\nthr");
  append("a", true, "four\n");
  check_text("a", "one\ntwo\nfour\n");
  put_text("a", "torn");
  append("a", true, "one\n");
  check_text("a", "one\n");
  memset(long_line, 'x', sizeof long_line - 1); /* the end of the line before lies blocks away */
  memcpy(long_line, "ok\n", 3);
  put_text("a", long_line);
  append("a", true, "");
  check_text("a", "ok\n");
  put_text("a", "text");
  append("a", false, " and more");
  check_text("a", "text and more");
  unlink("a");
  append("a", true, "new\n");
  check_text("a", "new\n");
}

static void test_each_write_is_there_at_once(void) { /* property */
  ml_error err;
  ml_log *log;
  unlink("b");
  CHECK_OK(ml_log_open(&log, "b", true, &err), &err);
  CHECK_OK(ml_log_write(log, "x\n", 2, &err), &err);
  check_text("b", "x\n");
  ml_log_close(log);
}

static void test_a_write_that_fails_leaves_nothing(void) { /* error */
  ml_error err;
  ml_log *log;
  char block[300];
  memset(block, 'z', sizeof block);
  unlink("c");
  CHECK_OK(ml_log_open(&log, "c", true, &err), &err);
  CHECK_OK(ml_log_write(log, "kept\n", 5, &err), &err);
  struct rlimit old, small;
  signal(SIGXFSZ, SIG_IGN);
  CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  small = old;
  small.rlim_cur = 100; /* the write gets through in part */
  CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  ml_status status = ml_log_write(log, block, sizeof block, &err);
  CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  CHECK_EQ(status, ML_EIO);
  CHECK_HAS(err.message, "cannot write 'c'");
  check_text("c", "kept\n");
  CHECK_OK(ml_log_write(log, "more\n", 5, &err), &err);
  check_text("c", "kept\nmore\n");
  ml_log_close(log);
}

static void test_what_is_no_file_is_refused(void) { /* error */
  ml_error err;
  ml_log *log;
  (void)mkdir("folder", 0777);
  unlink("pipe");
  CHECK_EQ(mkfifo("pipe", 0666), 0);
  CHECK_FAIL(ml_log_open(&log, "folder", true, &err), ML_EIO);
  CHECK_FAIL(ml_log_open(&log, "pipe", true, &err), ML_EIO);
  CHECK_FAIL(ml_log_open(&log, "none/x", true, &err), ML_EIO);
  CHECK_FAIL(ml_log_open(&log, "", true, &err), ML_EIO);
  CHECK(log == NULL);
  CHECK_FAIL(ml_log_open(&log, "/dev/full", true, &err), ML_EIO);
  ml_log_close(NULL);
}

static void test_allocations_fail_in_turn(void) { /* error */
  ml_error err;
  ml_log *log;
  CHECK_ALLOC_SWEEP(ml_log_open(&log, "d", true, &err), ml_log_close(log));
}

static void test_stamps_follow_the_file(void) { /* property */
  char before[ML_STAMP_MAX], after[ML_STAMP_MAX];
  put_text("e", "1");
  CHECK(ml_file_stamp("e", before));
  CHECK(ml_file_stamp("e", after));
  CHECK_STRING(before, after);
  put_text("e", "2"); /* a new file of the same size */
  CHECK(ml_file_stamp("e", after));
  CHECK(strcmp(before, after) != 0);
  CHECK(!ml_file_stamp("none", after));
}

CHECK_MAIN(test_a_torn_line_is_cut, test_each_write_is_there_at_once,
           test_a_write_that_fails_leaves_nothing, test_what_is_no_file_is_refused,
           test_allocations_fail_in_turn, test_stamps_follow_the_file)
