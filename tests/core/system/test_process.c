/* Child processes: how they end, what they inherit, pipes, groups, no zombies. */
#include "check.h"

#include "system/system.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SH(script) ((const char *const[]){"/bin/sh", "-c", (script), NULL})
#define QUIET                                                                                      \
  {                                                                                                \
    {ML_STREAM_NULL, NULL}, {ML_STREAM_NULL, NULL}, { ML_STREAM_NULL, NULL }                       \
  }
#define TO_PIPE                                                                                    \
  {                                                                                                \
    {ML_STREAM_NULL, NULL}, {ML_STREAM_PIPE, NULL}, { ML_STREAM_OUTPUT, NULL }                     \
  }

/* Runs the script to its end; its output into text. */
static int run(ml_spawn_options o, char *text, size_t size, ml_child_state *state) {
  ml_error err;
  ml_child *child;
  size_t used = 0;
  int code = -1;
  CHECK_OK(ml_child_spawn(&child, &o, NULL, &err), &err);
  if (!child)
    return -1;
  for (;;) {
    int stream;
    size_t n;
    char block[512];
    CHECK_OK(ml_child_read(child, block, sizeof block, 20, &stream, &n, &err), &err);
    if (stream <= 0)
      break;
    if (text && used + n < size) {
      memcpy(text + used, block, n);
      used += n;
    }
  }
  if (text)
    text[used] = 0;
  CHECK_OK(ml_child_wait(child, 20, state, &code, &err), &err);
  ml_child_free(child);
  return code;
}

static void finish(ml_child *child) {
  ml_error err;
  ml_child_state state;
  int code;
  CHECK_OK(ml_child_wait(child, 20, &state, &code, &err), &err);
  ml_child_free(child);
}

static void check_no_child_left(void) {
  errno = 0;
  CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void test_exit_codes_and_signals(void) { /* property */
  ml_child_state state;
  CHECK_EQ(run((ml_spawn_options){.argv = SH("exit 0"), .streams = QUIET}, NULL, 0, &state), 0);
  CHECK_EQ(state, ML_EXITED);
  CHECK_EQ(run((ml_spawn_options){.argv = SH("exit 37"), .streams = QUIET}, NULL, 0, &state), 37);
  CHECK_EQ(state, ML_EXITED);
  CHECK_EQ(run((ml_spawn_options){.argv = SH("kill -9 $$"), .streams = QUIET}, NULL, 0, &state),
           SIGKILL);
  CHECK_EQ(state, ML_SIGNALLED);
  check_no_child_left();
}

static void test_a_missing_program(void) { /* error */
  ml_error err;
  ml_child *child;
  bool found = true;
  const char *const none[] = {"no-such-program-here", NULL}, *const folder[] = {"/etc", NULL},
                    *const empty[] = {NULL};
  ml_spawn_options o = {.argv = none, .streams = QUIET};
  CHECK_FAIL(ml_child_spawn(&child, &o, &found, &err), ML_EIO);
  CHECK(!found && child == NULL);
  CHECK_HAS(err.message, "cannot run 'no-such-program-here': No such file");
  o.argv = folder;
  CHECK_FAIL(ml_child_spawn(&child, &o, &found, &err), ML_EIO);
  CHECK(!found);
  o.argv = empty;
  CHECK_FAIL(ml_child_spawn(&child, &o, &found, &err), ML_EARG);
  o.argv = SH("true");
  o.dir = "/no/such/folder";
  CHECK_FAIL(ml_child_spawn(&child, &o, &found, &err), ML_EIO);
  CHECK(found);
  CHECK_HAS(err.message, "cannot enter '/no/such/folder'");
  o.dir = NULL;
  o.streams[1] = (ml_stream){ML_STREAM_FILE, "/no/such/file"};
  CHECK_FAIL(ml_child_spawn(&child, &o, &found, &err), ML_EIO);
  CHECK_HAS(err.message, "cannot write '/no/such/file'");
  check_no_child_left();
}

static void test_a_timeout_leaves_it_running(void) { /* property */
  ml_error err;
  ml_child *child;
  ml_child_state state;
  int code;
  ml_spawn_options o = {.argv = SH("sleep 100"), .streams = QUIET, .group = true};
  CHECK_OK(ml_child_spawn(&child, &o, NULL, &err), &err);
  CHECK_OK(ml_child_wait(child, 0, &state, &code, &err), &err);
  CHECK_EQ(state, ML_RUNNING);
  CHECK_OK(ml_child_wait(child, 0.05, &state, &code, &err), &err);
  CHECK_EQ(state, ML_RUNNING);
  CHECK_EQ(kill((pid_t)ml_child_pid(child), 0), 0);
  CHECK_OK(ml_child_kill(child, SIGTERM, &err), &err);
  CHECK_OK(ml_child_wait(child, 20, &state, &code, &err), &err);
  CHECK_EQ(state, ML_SIGNALLED);
  CHECK_EQ(code, SIGTERM);
  CHECK_OK(ml_child_wait(child, -1, &state, &code, &err), &err); /* again: the same answer */
  CHECK_EQ(code, SIGTERM);
  CHECK_OK(ml_child_kill(child, SIGTERM, &err), &err); /* of what has ended: nothing */
  ml_child_free(child);
  check_no_child_left();
}

static void test_cancel_ends_a_wait(void) { /* property */
  ml_error err;
  ml_child *child;
  ml_child_state state;
  int code;
  ml_spawn_options o = {.argv = SH("sleep 100"), .streams = QUIET, .group = true};
  CHECK_OK(ml_child_spawn(&child, &o, NULL, &err), &err);
  ml_cancel();
  CHECK_FAIL(ml_child_wait(child, -1, &state, &code, &err), ML_ECANCELLED);
  CHECK_FAIL(ml_sleep(100, &err), ML_ECANCELLED);
  ml_cancel_clear();
  CHECK_OK(ml_child_kill(child, SIGKILL, &err), &err);
  CHECK_OK(ml_child_wait(child, 20, &state, &code, &err), &err);
  ml_child_free(child);
}

static void test_a_group_ends_together(void) { /* property */
  ml_error err;
  ml_child *child;
  int stream;
  size_t n;
  char block[64];
  /* the grandchild holds the pipe: its end shows that it ended as well */
  ml_spawn_options o = {
      .argv = SH("sleep 100 & echo ready; wait"), .streams = TO_PIPE, .group = true};
  CHECK_OK(ml_child_spawn(&child, &o, NULL, &err), &err);
  CHECK_OK(ml_child_read(child, block, sizeof block, 20, &stream, &n, &err), &err);
  CHECK_EQ(n, 6);
  CHECK_OK(ml_child_read(child, block, sizeof block, 0.05, &stream, &n, &err), &err);
  CHECK_EQ(stream, -1);
  CHECK_OK(ml_child_kill(child, SIGKILL, &err), &err);
  CHECK_OK(ml_child_read(child, block, sizeof block, 20, &stream, &n, &err), &err);
  CHECK_EQ(stream, 0);
  ml_child_state state;
  int code;
  CHECK_OK(ml_child_wait(child, 20, &state, &code, &err), &err);
  ml_child_free(child);
}

static void test_nothing_stray_is_inherited(void) { /* property */
  char text[512];
  ml_child_state state;
  int fd = open("/dev/null", O_RDONLY), high = dup2(fd, 77); /* without close-on-exec */
  signal(SIGINT, SIG_IGN);
  run((ml_spawn_options){.argv = SH("for f in /proc/$$/fd/*; do printf '%s ' ${f##*/}; done"),
                         .streams = TO_PIPE},
      text, sizeof text, &state);
  CHECK(strstr(text, "77") == NULL);
  CHECK_HAS(text, "0 1 2 ");
  /* signals are at their defaults, though we ignore this one */
  CHECK_EQ(run((ml_spawn_options){.argv = SH("kill -INT $$; exit 3"), .streams = QUIET}, NULL, 0,
               &state),
           SIGINT);
  CHECK_EQ(state, ML_SIGNALLED);
  signal(SIGINT, SIG_DFL);
  close(fd);
  close(high);
}

static void test_environment_and_folder(void) { /* property */
  char text[512], here[4096];
  ml_child_state state;
  CHECK(getcwd(here, sizeof here) != NULL);
  setenv("ML_TEST_OLD", "old", 1);
  setenv("ML_TEST_GONE", "gone", 1);
  const char *const env[] = {"ML_TEST_NEW=first", "ML_TEST_GONE", "ML_TEST_NEW=a b=c",
                             "ML_TEST_OLD=changed", NULL};
  run((ml_spawn_options){.argv =
                             SH("echo \"$ML_TEST_NEW|$ML_TEST_OLD|${ML_TEST_GONE-unset}|$(pwd)\""),
                         .env = env,
                         .dir = "/",
                         .streams = TO_PIPE},
      text, sizeof text, &state);
  CHECK_STRING(text, "a b=c|changed|unset|/\n");
  CHECK_STRING(getenv("ML_TEST_OLD"), "old");
}

static void test_streams_to_files(void) { /* property */
  char text[64] = "";
  ml_child_state state;
  ml_spawn_options o = {
      .argv = SH("cat; echo err >&2"),
      .streams = {{ML_STREAM_FILE, "in"}, {ML_STREAM_FILE, "out"}, {ML_STREAM_APPEND, "err"}}};
  ml_error err;
  CHECK_OK(ml_write_file("in", "input", 5, &err), &err);
  CHECK_OK(ml_write_file("err", "old ", 4, &err), &err);
  CHECK_EQ(run(o, NULL, 0, &state), 0);
  FILE *f = fopen("out", "r");
  CHECK(f && fgets(text, sizeof text, f));
  CHECK_STRING(text, "input");
  if (f)
    fclose(f);
  f = fopen("err", "r");
  CHECK(f && fgets(text, sizeof text, f));
  CHECK_STRING(text, "old err\n");
  if (f)
    fclose(f);
}

static void test_pipes_both_ways(void) { /* property */
  ml_error err;
  ml_child *child;
  int stream;
  size_t n, left, total = 0;
  char block[4096];
  ml_spawn_options o = {
      .argv = SH("cat; echo oops >&2"),
      .streams = {{ML_STREAM_PIPE, NULL}, {ML_STREAM_PIPE, NULL}, {ML_STREAM_PIPE, NULL}}};
  CHECK_OK(ml_child_spawn(&child, &o, NULL, &err), &err);
  CHECK_OK(ml_child_write(child, "hello", 5, -1, &left, &err), &err);
  CHECK_EQ(left, 0);
  CHECK_OK(ml_child_read(child, block, sizeof block, 20, &stream, &n, &err), &err);
  CHECK_EQ(stream, 1);
  CHECK_EQ(n, 5);
  ml_child_close_stdin(child);
  ml_child_close_stdin(child);
  bool errors = false;
  while (ml_child_read(child, block, sizeof block, 20, &stream, &n, &err) == ML_OK && stream > 0) {
    errors = errors || stream == 2;
    total += n;
  }
  CHECK(errors);
  CHECK_EQ(total, 5);
  CHECK_FAIL(ml_child_write(child, "x", 1, -1, &left, &err), ML_ESTATE);
  finish(child);

  o.argv = SH("exec <&-; sleep 0.05"); /* a child that does not read */
  CHECK_OK(ml_child_spawn(&child, &o, NULL, &err), &err);
  memset(block, 'x', sizeof block);
  ml_status status = ML_OK;
  for (int i = 0; i < 1000 && !status; i++)
    status = ml_child_write(child, block, sizeof block, -1, &left, &err);
  CHECK_EQ(status, ML_EIO); /* and no SIGPIPE ended us */
  ml_child_state state;
  int code;
  CHECK_OK(ml_child_wait(child, 20, &state, &code, &err), &err);
  ml_child_free(child);

  o.argv = SH("sleep 100"); /* one that leaves the pipe full */
  CHECK_OK(ml_child_spawn(&child, &o, NULL, &err), &err);
  left = 0;
  for (int i = 0; i < 1000 && !left; i++)
    CHECK_OK(ml_child_write(child, block, sizeof block, 0.01, &left, &err), &err);
  CHECK(left > 0 && left <= sizeof block);
  CHECK_OK(ml_child_kill(child, SIGKILL, &err), &err);
  finish(child);
  check_no_child_left();
}

static void test_the_first_of_several(void) { /* property */
  ml_error err;
  ml_child *child[3];
  int which;
  ml_spawn_options o = {.streams = QUIET, .group = true};
  for (int i = 0; i < 3; i++) {
    o.argv = i == 1 ? SH("exit 4") : SH("sleep 100");
    CHECK_OK(ml_child_spawn(&child[i], &o, NULL, &err), &err);
  }
  CHECK_OK(ml_child_wait_any(child, 3, 20, &which, &err), &err);
  CHECK_EQ(which, 1);
  ml_child_free(child[1]);
  child[1] = child[2];
  CHECK_OK(ml_child_wait_any(child, 2, 0.02, &which, &err), &err);
  CHECK_EQ(which, -1);
  CHECK_OK(ml_child_wait_any(child, 0, 0.02, &which, &err), &err);
  CHECK_EQ(which, -1);
  for (int i = 0; i < 2; i++) {
    ml_child_state state;
    int code;
    CHECK_OK(ml_child_kill(child[i], SIGKILL, &err), &err);
    CHECK_OK(ml_child_wait(child[i], 20, &state, &code, &err), &err);
    ml_child_free(child[i]);
  }
  check_no_child_left();
}

static void test_forgotten_children_leave_no_zombie(void) { /* property */
  ml_error err;
  ml_child *child;
  ml_child_state state;
  int code;
  ml_spawn_options o = {.argv = SH("sleep 0.05"), .streams = QUIET};
  id_t pid[3];
  for (int i = 0; i < 3; i++) {
    CHECK_OK(ml_child_spawn(&child, &o, NULL, &err), &err);
    pid[i] = (id_t)ml_child_pid(child);
    ml_child_free(child); /* still runs */
  }
  for (int i = 0; i < 3; i++) {
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, pid[i], &info, WEXITED | WNOWAIT), 0); /* has ended, is not reaped */
  }
  CHECK_OK(ml_child_spawn(&child, &o, NULL, &err), &err); /* reaps those that have ended */
  CHECK_OK(ml_child_wait(child, 20, &state, &code, &err), &err);
  ml_child_free(child);
  check_no_child_left();
}

static void test_allocations_fail_in_turn(void) { /* error */
  ml_error err;
  ml_child *child;
  ml_spawn_options o = {.argv = SH("exit 0"), .streams = TO_PIPE};
  CHECK_ALLOC_SWEEP(ml_child_spawn(&child, &o, NULL, &err), finish(child));
  check_no_child_left();
}

CHECK_MAIN(test_exit_codes_and_signals, test_a_missing_program, test_a_timeout_leaves_it_running,
           test_cancel_ends_a_wait, test_a_group_ends_together, test_nothing_stray_is_inherited,
           test_environment_and_folder, test_streams_to_files, test_pipes_both_ways,
           test_the_first_of_several, test_forgotten_children_leave_no_zombie,
           test_allocations_fail_in_turn)
