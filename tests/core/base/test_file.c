/* Files: whole or not at all, and errors that name path and reason. */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *in_folder(const char *name) {
  static char path[4][400];
  static int turn;
  turn = (turn + 1) % 4;
  snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
  return path[turn];
}

static int entries(void) { /* in the folder, hidden ones too */
  DIR *d = opendir(folder);
  int n = 0;
  for (struct dirent *e; (e = readdir(d));)
    n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
  closedir(d);
  return n;
}

static bool holds(const char *path, const char *want, size_t bytes) {
  ml_in_file in;
  ml_error err;
  if (ml_in_open(&in, path, &err))
    return false;
  bool same = in.bytes == bytes && !memcmp(in.data, want, bytes);
  ml_in_close(&in);
  return same;
}

static void test_write_and_read(void) {
  ml_error err;
  const char *path = in_folder("a.txt");
  CHECK_OK(ml_write_file(path, "hello", 5, &err), &err);
  CHECK(holds(path, "hello", 5));
  CHECK_OK(ml_write_file(path, "", 0, &err), &err);
  CHECK(holds(path, "", 0));
  size_t bytes = 300000;
  char *big = malloc(bytes);
  for (size_t i = 0; i < bytes; i++)
    big[i] = (char)(i * 7);
  ml_out_file *f; /* pieces below, at and above the buffer's size */
  CHECK_OK(ml_out_open(&f, path, &err), &err);
  CHECK_OK(ml_out_write(f, big, 10, &err), &err);
  CHECK_OK(ml_out_write(f, big + 10, 65536, &err), &err);
  CHECK_OK(ml_out_write(f, big + 65546, 3, &err), &err);
  CHECK_OK(ml_out_write(f, big + 65549, bytes - 65549, &err), &err);
  CHECK(holds(path, "", 0)); /* until the commit the old content stands */
  CHECK_EQ(entries(), 1);
  CHECK_OK(ml_out_commit(f, &err), &err);
  CHECK(holds(path, big, bytes));
  CHECK_OK(ml_out_open(&f, path, &err), &err);
  CHECK_OK(ml_out_write(f, "x", 1, &err), &err);
  ml_out_discard(f);
  ml_out_discard(NULL);
  CHECK(holds(path, big, bytes));
  CHECK_EQ(entries(), 1);
  free(big);
  unlink(path);
}

static void test_links_modes_and_devices(void) {
  ml_error err;
  const char *path = in_folder("real"), *link = in_folder("link");
  CHECK_OK(ml_write_file(path, "1", 1, &err), &err);
  CHECK_EQ(chmod(path, 0640), 0);
  CHECK_EQ(symlink("real", link), 0);
  CHECK_OK(ml_write_file(link, "22", 2, &err), &err);
  struct stat st;
  CHECK(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
  CHECK(holds(path, "22", 2));
  CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
  CHECK_OK(ml_write_file("/dev/null", "data", 4, &err), &err);
  CHECK(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
  ml_in_file in;
  CHECK_OK(ml_in_open(&in, "/proc/self/status", &err), &err); /* its size is given as 0 */
  CHECK(in.bytes > 100);
  ml_in_close(&in);
  unlink(link);
  unlink(path);
}

static void test_errors_name_path_and_reason(void) {
  ml_error err;
  CHECK_FAIL(ml_write_file(in_folder("no/such/file"), "x", 1, &err), ML_EIO);
  CHECK_HAS(err.message, "no/such/file");
  CHECK_HAS(err.message, "No such file or directory");
  CHECK_FAIL(ml_write_file(folder, "x", 1, &err), ML_EIO);
  CHECK_HAS(err.message, "Is a directory");
  CHECK_FAIL(ml_write_file("", "x", 1, &err), ML_EARG);
  ml_in_file in;
  CHECK_FAIL(ml_in_open(&in, in_folder("absent"), &err), ML_EIO);
  CHECK_HAS(err.message, "cannot read");
  CHECK_HAS(err.message, "No such file or directory");
  CHECK_FAIL(ml_in_open(&in, folder, &err), ML_EIO);
  CHECK_HAS(err.message, "Is a directory");
  char *longest = malloc(6000);
  memset(longest, 'a', 5999);
  longest[5999] = 0;
  CHECK_FAIL(ml_write_file(longest, "x", 1, &err), ML_EIO);
  CHECK_HAS(err.message, "File name too long");
  longest[300] = 0;
  CHECK_FAIL(ml_write_file(in_folder(longest), "x", 1, &err), ML_EIO);
  CHECK_HAS(err.message, "File name too long");
  free(longest);
  CHECK_FAIL(ml_write_file("/proc/version_of_mine", "x", 1, &err),
             ML_EIO); /* nothing can be made there */
  CHECK_EQ(entries(), 0);
}

static void test_a_pipe_is_refused_at_once(void) {
  ml_error err;
  ml_in_file in;
  CHECK_EQ(mkfifo(in_folder("pipe"), 0600), 0);
  alarm(60); /* nobody holds its other end: opened the plain way it blocks */
  CHECK_FAIL(ml_in_open(&in, in_folder("pipe"), &err), ML_EIO);
  CHECK_HAS(err.message, "not a regular file");
  CHECK_FAIL(ml_write_file(in_folder("pipe"), "x", 1, &err), ML_EIO);
  CHECK_HAS(err.message, "No such device or address");
  alarm(0);
  CHECK_EQ(unlink(in_folder("pipe")), 0);
}

static void test_a_full_disk_leaves_nothing(void) {
  ml_error err;
  char *big = calloc(1, 200000);
  CHECK_FAIL(ml_write_file("/dev/full", big, 200000, &err), ML_EIO);
  CHECK_HAS(err.message, "No space left on device");
  const char *path = in_folder("grows");
  CHECK_OK(ml_write_file(path, "old", 3, &err), &err);
  struct rlimit was, small = {100000, 100000};
  getrlimit(RLIMIT_FSIZE, &was);
  small.rlim_max = was.rlim_max;
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  CHECK_FAIL(ml_write_file(path, big, 200000, &err), ML_EIO);
  setrlimit(RLIMIT_FSIZE, &was);
  CHECK_HAS(err.message, "File too large");
  CHECK(holds(path, "old", 3));
  CHECK_EQ(entries(), 1);
  unlink(path);
  free(big);
}

static void test_out_of_memory(void) {
  ml_error err;
  const char *path = in_folder("m");
  CHECK_ALLOC_SWEEP(ml_write_file(path, "abc", 3, &err), unlink(path));
  CHECK_EQ(entries(), 0);
  CHECK_OK(ml_write_file(path, "abc", 3, &err), &err);
  ml_in_file in;
  CHECK_ALLOC_SWEEP(ml_in_open(&in, path, &err), ml_in_close(&in));
  CHECK_ALLOC_SWEEP(ml_in_open(&in, "/proc/self/maps", &err), ml_in_close(&in));
  unlink(path);
}

static void test_big_files_are_mapped(void) {
  ml_error err;
  const char *path = in_folder("sparse");
  int fd = open(path, O_CREAT | O_WRONLY, 0600);
  CHECK_EQ(ftruncate(fd, 70 << 20), 0);
  CHECK_EQ(pwrite(fd, "end", 3, (70 << 20) - 3), 3);
  close(fd);
  uint64_t live = ml_live_bytes();
  ml_in_file in;
  CHECK_OK(ml_in_open(&in, path, &err), &err);
  CHECK_EQ(ml_live_bytes(), live);
  CHECK_EQ(in.bytes, 70 << 20);
  CHECK(!memcmp(in.data + in.bytes - 3, "end", 3));
  ml_in_close(&in);
  ml_in_close(&in);
  unlink(path);
}

static void test_folders(void) {
  ml_error err;
  CHECK_OK(ml_make_dirs(in_folder("a/b//c/"), &err), &err);
  CHECK_OK(ml_make_dirs(in_folder("a/b/c"), &err), &err);
  struct stat st;
  CHECK(stat(in_folder("a/b/c"), &st) == 0 && S_ISDIR(st.st_mode));
  CHECK_OK(ml_write_file(in_folder("a/f"), "x", 1, &err), &err);
  CHECK_FAIL(ml_make_dirs(in_folder("a/f/g"), &err), ML_EIO);
  CHECK_HAS(err.message, "Not a directory");
  CHECK_FAIL(ml_make_dirs(in_folder("a/f"), &err), ML_EIO);
  CHECK_FAIL(ml_make_dirs("", &err), ML_EIO);
  unlink(in_folder("a/f"));
  rmdir(in_folder("a/b/c"));
  rmdir(in_folder("a/b"));
  rmdir(in_folder("a"));
}

static void test_begin(void) {
  snprintf(folder, sizeof folder, "/tmp/moonlab-test-XXXXXX");
  CHECK(mkdtemp(folder) != NULL);
}

static void test_end(void) {
  CHECK_EQ(entries(), 0);
  CHECK_EQ(rmdir(folder), 0);
}

CHECK_MAIN(test_begin, test_write_and_read, test_links_modes_and_devices,
           test_a_pipe_is_refused_at_once, test_errors_name_path_and_reason,
           test_a_full_disk_leaves_nothing, test_out_of_memory, test_big_files_are_mapped,
           test_folders, test_end)
