/*
 * Runs a program once and says what it took, to the microsecond: one line `BEGAN_US CPU_US WALL_US STATUS` on stdout. CPU is
 * user and system time of the program and of every child that it waited for, from fork to end; BEGAN is a time of the
 * monotonic clock. Its stderr is ours.
 *
 *   measure [--stdin FILE] [--stdout FILE] [--asleep NAME] -- PROGRAM [WORD]...
 *
 * --stdin, --stdout: /dev/null if not told.
 * --asleep: the program becomes another one, called NAME, that blocks in flock(2): it is ended there, with SIGKILL.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FAILED = 255, PATIENCE_US = 30 * 1000000, LOOK_US = 300 };

static void die(const char *what) {
  perror(what);
  exit(FAILED);
}

static long long now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static int read_proc(pid_t pid, const char *name, char *into, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, into, size - 1);
  close(fd);
  if (length < 0) return 0;
  into[length] = 0;
  into[strcspn(into, "\n")] = 0;
  return 1;
}

/* When it was first seen blocked in flock(2) under that name. */
static long long fell_asleep_us(pid_t pid, const char *name) {
  char text[256];
  for (long long until = now_us() + PATIENCE_US; now_us() < until; usleep(LOOK_US)) {
    if (!read_proc(pid, "comm", text, sizeof text) || strcmp(text, name) != 0) continue;
    if (read_proc(pid, "syscall", text, sizeof text) && atoi(text) == SYS_flock) return now_us();
  }
  kill(pid, SIGKILL);
  fprintf(stderr, "measure: it does not fall asleep as %s\n", name);
  exit(FAILED);
}

static void redirect(const char *path, int flags, int to) {
  int fd = open(path, flags, 0600);
  if (fd < 0) die(path);
  dup2(fd, to);
  if (fd != to) close(fd);
}

int main(int argc, char **argv) {
  const char *input = "/dev/null", *output = "/dev/null", *asleep = NULL;
  int at = 1;
  for (; at + 1 < argc && strcmp(argv[at], "--") != 0; at += 2) {
    if (strcmp(argv[at], "--stdin") == 0) input = argv[at + 1];
    else if (strcmp(argv[at], "--stdout") == 0) output = argv[at + 1];
    else if (strcmp(argv[at], "--asleep") == 0) asleep = argv[at + 1];
  }
  if (++at >= argc) {
    fprintf(stderr, "usage: measure [--stdin FILE] [--stdout FILE] [--asleep NAME] -- PROGRAM [WORD]...\n");
    return FAILED;
  }
  long long began = now_us();
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) {
    redirect(input, O_RDONLY, STDIN_FILENO);
    redirect(output, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    execv(argv[at], argv + at);
    die(argv[at]);
  }
  long long ended = 0;
  if (asleep != NULL) {
    ended = fell_asleep_us(pid, asleep);
    kill(pid, SIGKILL);
  }
  int status;
  struct rusage used;
  if (wait4(pid, &status, 0, &used) != pid) die("wait4");
  if (ended == 0) ended = now_us();
  long long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
  int code = asleep != NULL && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0
             : WIFEXITED(status)                                                  ? WEXITSTATUS(status)
                                                                                  : 128 + WTERMSIG(status);
  printf("%lld %lld %lld %d\n", began, cpu, ended - began, code);
  return 0;
}
