/* Leases: one owner among many that try at once, takeover of the dead, what strange files do. */
#include "check.h"

#include "system/system.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES = 8 };

static void fresh_folder(const char *dir) {
  char command[256];
  snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", dir, dir);
  CHECK_EQ(system(command), 0);
}

static void nap(double seconds) {
  struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
  nanosleep(&t, NULL);
}

static void put_file(const char *path, const char *text, size_t n) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  CHECK(fd >= 0 && write(fd, text, n) == (ssize_t)n);
  close(fd);
}

static void age(const char *path, double seconds) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  struct timespec times[2] = {{now.tv_sec - (time_t)seconds, 0}, {now.tv_sec - (time_t)seconds, 0}};
  CHECK_EQ(utimensat(AT_FDCWD, path, times, 0), 0);
}

static double age_of(const char *path) {
  struct stat st;
  CHECK_EQ(stat(path, &st), 0);
  return difftime(time(NULL), st.st_mtime);
}

/* PROCESSES children claim dir at once; owners[] get the pids of those that have it, which go on
 * holding it. The others have ended. */
static int race(const char *dir, pid_t owner[PROCESSES]) {
  int go[2], told[2], owners = 0;
  pid_t pid[PROCESSES];
  CHECK_EQ(pipe(go), 0);
  CHECK_EQ(pipe(told), 0);
  for (int i = 0; i < PROCESSES; i++) {
    pid[i] = fork();
    if (pid[i] == 0) {
      char byte = (char)i;
      ml_error err;
      ml_lease *lease;
      close(go[1]);
      (void)!read(go[0], &byte, 1); /* until the parent lets all go */
      ml_status status = ml_lease_claim(&lease, dir, 60, 5, NULL, &err);
      byte = (char)(status == ML_OK ? i : status == ML_ESTATE ? 100 : 101);
      if (write(told[1], &byte, 1) != 1 || status)
        _exit(0);
      for (;;)
        pause();
    }
  }
  close(go[0]);
  close(go[1]);
  for (int i = 0; i < PROCESSES; i++) {
    char byte;
    CHECK_EQ(read(told[0], &byte, 1), 1);
    CHECK(byte != 101);
    if (byte < PROCESSES)
      owner[owners++] = pid[(int)byte];
  }
  close(told[0]);
  close(told[1]);
  for (int i = 0; i < PROCESSES; i++) {
    bool owns = false;
    for (int k = 0; k < owners; k++)
      owns = owns || owner[k] == pid[i];
    if (!owns)
      CHECK_EQ(waitpid(pid[i], NULL, 0), pid[i]);
  }
  return owners;
}

static void end(pid_t pid) {
  kill(pid, SIGKILL);
  CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void test_one_of_eight_gets_a_new_folder(void) { /* property */
  for (int round = 0; round < 20; round++) {
    pid_t owner[PROCESSES];
    fresh_folder("race");
    int owners = race("race", owner);
    CHECK_EQ(owners, 1);
    for (int i = 0; i < owners; i++)
      end(owner[i]);
  }
}

static void test_one_of_eight_takes_over_from_a_dead_one(void) { /* property */
  pid_t owner[PROCESSES];
  fresh_folder("takeover");
  for (int round = 0; round < 30; round++) { /* each finds what the killed one before it left */
    int owners = race("takeover", owner);
    CHECK_EQ(owners, 1);
    for (int i = 0; i < owners; i++)
      end(owner[i]);
  }
  ml_error err;
  ml_lease_info info;
  CHECK_OK(ml_lease_look(&info, "takeover", 60, &err), &err);
  CHECK(info.generation >= 30 && !info.live);
  /* the winner has cleaned up: one lease, nothing half-made */
  CHECK_EQ(system("test $(ls takeover | wc -l) -eq 1"), 0);
}

static void test_a_live_owner_is_never_displaced(void) { /* property */
  ml_error err;
  ml_lease *lease = NULL, *second;
  ml_lease_info holder;
  fresh_folder("live");
  CHECK_OK(ml_lease_claim(&lease, "live", 60, 5, NULL, &err), &err);
  age("live/lease.1", 3600); /* its heartbeat is late, but it can be seen to run */
  CHECK_FAIL(ml_lease_claim(&second, "live", 60, 5, &holder, &err), ML_ESTATE);
  CHECK(second == NULL);
  CHECK_EQ(holder.owner.pid, getpid());
  CHECK_HAS(err.message, "'live' is being written by pid");
  CHECK(ml_lease_held(lease));
  ml_lease_release(lease);
  CHECK_OK(ml_lease_claim(&lease, "live", 60, 5, NULL, &err), &err); /* given back: free again */
  ml_lease_release(lease);
  CHECK_OK(ml_lease_look(&holder, "live", 60, &err), &err);
  CHECK(holder.released && !holder.live);
}

/* A lease as another machine would write it: only its age tells. */
static void foreign_lease(const char *path) {
  static const char text[] = "moonlab lease\nhost elsewhere\npid 1\nstart 1\nboot 0-0\nspace x\n";
  put_file(path, text, sizeof text - 1);
}

static void test_another_machine_is_judged_by_its_heartbeat(void) { /* property */
  ml_error err;
  ml_lease *lease;
  ml_lease_info holder;
  fresh_folder("foreign");
  foreign_lease("foreign/lease.7");
  CHECK_FAIL(ml_lease_claim(&lease, "foreign", 60, 5, &holder, &err), ML_ESTATE);
  CHECK_STRING(holder.owner.host, "elsewhere");
  CHECK_HAS(err.message, "by pid 1 on elsewhere");
  age("foreign/lease.7", 61);
  CHECK_OK(ml_lease_claim(&lease, "foreign", 60, 5, &holder, &err), &err);
  CHECK_EQ(access("foreign/lease.8", F_OK), 0);
  CHECK(access("foreign/lease.7", F_OK) != 0);
  ml_lease_release(lease);
}

static void test_the_heartbeat_renews_and_sees_a_taker(void) { /* property */
  ml_error err;
  ml_lease *lease;
  fresh_folder("beat");
  CHECK_OK(ml_lease_claim(&lease, "beat", 60, 0.02, NULL, &err), &err);
  age("beat/lease.1", 3600);
  for (int i = 0; i < 6000 && age_of("beat/lease.1") > 1000; i++)
    nap(0.01);
  CHECK(age_of("beat/lease.1") < 1000);
  foreign_lease("beat/lease.2");
  for (int i = 0; i < 6000 && ml_lease_held(lease); i++)
    nap(0.01);
  CHECK(!ml_lease_held(lease));
  ml_lease_release(lease);
  /* what is no longer ours stays as it is */
  ml_lease_info info;
  CHECK_OK(ml_lease_look(&info, "beat", 60, &err), &err);
  CHECK_EQ(info.generation, 2);
  CHECK(info.live);
}

static void test_many_leases_share_one_heartbeat(void) { /* property */
  ml_error err;
  ml_lease *lease[5];
  for (int i = 0; i < 5; i++) {
    char dir[32], path[48];
    snprintf(dir, sizeof dir, "many%d", i);
    snprintf(path, sizeof path, "%s/lease.1", dir);
    fresh_folder(dir);
    CHECK_OK(ml_lease_claim(&lease[i], dir, 60, 0.02, NULL, &err), &err);
    age(path, 3600);
  }
  ml_lease_release(lease[2]);
  for (int i = 0; i < 5; i++) {
    char path[48];
    snprintf(path, sizeof path, "many%d/lease.1", i);
    for (int k = 0; k < 6000 && i != 2 && age_of(path) > 1000; k++)
      nap(0.01);
    CHECK(i == 2 || age_of(path) < 1000);
  }
  for (int i = 0; i < 5; i++) {
    if (i != 2)
      ml_lease_release(lease[i]);
  }
}

static void test_strange_files_are_no_lease(void) { /* error */
  ml_error err;
  ml_lease *lease = NULL;
  fresh_folder("strange");
  put_file("strange/lease.", "", 0);
  put_file("strange/lease.01", "x", 1);
  put_file("strange/lease.1x", "x", 1);
  put_file("strange/lease.-3", "x", 1);
  put_file("strange/lease.99999999999999999999", "x", 1);
  CHECK_OK(ml_lease_claim(&lease, "strange", 60, 5, NULL, &err), &err);
  CHECK_EQ(access("strange/lease.1", F_OK), 0);
  ml_lease_release(lease);

  fresh_folder("strange"); /* content that says nothing counts as somebody's until it is old */
  char noise[5000];
  memset(noise, 0xff, sizeof noise);
  noise[17] = 0;
  put_file("strange/lease.3", noise, sizeof noise);
  CHECK_FAIL(ml_lease_claim(&lease, "strange", 60, 5, NULL, &err), ML_ESTATE);
  CHECK_HAS(err.message, "by another process");
  age("strange/lease.3", 61);
  CHECK_OK(ml_lease_claim(&lease, "strange", 60, 5, NULL, &err), &err);
  ml_lease_release(lease);

  fresh_folder("strange");
  CHECK_EQ(symlink("/etc/passwd", "strange/lease.1"), 0);
  CHECK_FAIL(ml_lease_claim(&lease, "strange", 60, 5, NULL, &err), ML_EIO);
  fresh_folder("strange");
  CHECK_EQ(mkdir("strange/lease.1", 0777), 0);
  CHECK_FAIL(ml_lease_claim(&lease, "strange", 60, 5, NULL, &err), ML_EIO);
  CHECK_EQ(system("test $(ls strange | wc -l) -eq 1"), 0);
}

static void test_bad_arguments(void) { /* error */
  ml_error err;
  ml_lease *lease;
  ml_lease_info info;
  fresh_folder("args");
  CHECK_FAIL(ml_lease_claim(&lease, "args/none", 60, 5, NULL, &err), ML_EIO);
  CHECK_HAS(err.message, "args/none");
  CHECK_FAIL(ml_lease_look(&info, "args/none", 60, &err), ML_EIO);
  CHECK_FAIL(ml_lease_claim(&lease, "args", 0, 5, NULL, &err), ML_EARG);
  CHECK_FAIL(ml_lease_claim(&lease, "args", 60, 60, NULL, &err), ML_EARG);
  CHECK_FAIL(ml_lease_claim(&lease, "args", 60, (double)NAN, NULL, &err), ML_EARG);
  CHECK_OK(ml_lease_look(&info, "args", 60, &err), &err);
  CHECK_EQ(info.generation, 0);
  ml_lease_release(NULL);
}

static void test_allocations_fail_in_turn(void) { /* error */
  ml_error err;
  ml_lease *lease;
  fresh_folder("alloc");
  CHECK_ALLOC_SWEEP(ml_lease_claim(&lease, "alloc", 60, 5, NULL, &err), ml_lease_release(lease));
}

CHECK_MAIN(test_one_of_eight_gets_a_new_folder, test_one_of_eight_takes_over_from_a_dead_one,
           test_a_live_owner_is_never_displaced, test_another_machine_is_judged_by_its_heartbeat,
           test_the_heartbeat_renews_and_sees_a_taker, test_many_leases_share_one_heartbeat,
           test_strange_files_are_no_lease, test_bad_arguments, test_allocations_fail_in_turn)
