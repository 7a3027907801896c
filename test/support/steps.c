/*
 * Runs a program and counts its steps: the system calls by which its process (all threads, no children) changes what lies
 * under given directories; a connection to a socket there is one. `--under socket:` counts what is written to sockets, and
 * `--under process:` the starts of other processes. At the step with a given number it kills the process, when the call has been carried out and
 * before the program sees that, or has the calls from there on fail, for a while.
 *
 *   steps --log FILE [--under DIRECTORY]... [--at N (--kill | --fail ERRNO --for MILLISECONDS)] -- PROGRAM [ARGUMENT]...
 *
 * FILE gets a line for each step, `N NAME PATH`, as soon as it is taken; behind one that failed by our doing ` failed`. The
 * exit status is the program's; 128 and the signal's number if a signal ended it; 255 if it could not be run or traced.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DIRECTORIES_MAX = 16, THREADS_MAX = 256, FAILED = 255 };

/* How a call names what it changes: by descriptor, by path, by directory descriptor and path. */
enum form { BY_FD, BY_PATH, BY_AT, BY_OPEN, BY_OPEN_AT, BY_ADDRESS, BY_CLONE, BY_CLONE3, BY_NOTHING };

struct call {
  long number;
  const char *name;
  enum form form;
  int argument; /* that of the path, the directory descriptor or the descriptor */
};

static const struct call CALLS[] = {
    {SYS_write, "write", BY_FD, 0},
    {SYS_pwrite64, "pwrite", BY_FD, 0},
    {SYS_writev, "writev", BY_FD, 0},
    {SYS_pwritev, "pwritev", BY_FD, 0},
    {SYS_ftruncate, "ftruncate", BY_FD, 0},
    {SYS_fchmod, "fchmod", BY_FD, 0},
    {SYS_fchown, "fchown", BY_FD, 0},
    {SYS_fsync, "fsync", BY_FD, 0},
    {SYS_fdatasync, "fdatasync", BY_FD, 0},
    {SYS_copy_file_range, "copy_file_range", BY_FD, 2},
    {SYS_sendfile, "sendfile", BY_FD, 0},
    {SYS_open, "create", BY_OPEN, 0},
    {SYS_openat, "create", BY_OPEN_AT, 0},
    {SYS_creat, "create", BY_PATH, 0},
    {SYS_truncate, "truncate", BY_PATH, 0},
    {SYS_mkdir, "mkdir", BY_PATH, 0},
    {SYS_mkdirat, "mkdir", BY_AT, 0},
    {SYS_rmdir, "rmdir", BY_PATH, 0},
    {SYS_unlink, "unlink", BY_PATH, 0},
    {SYS_unlinkat, "unlink", BY_AT, 0},
    /* The target counts. */
    {SYS_rename, "rename", BY_PATH, 1},
    {SYS_renameat, "rename", BY_AT, 2},
    {SYS_renameat2, "rename", BY_AT, 2},
    {SYS_link, "link", BY_PATH, 1},
    {SYS_linkat, "link", BY_AT, 2},
    {SYS_symlink, "symlink", BY_PATH, 1},
    {SYS_symlinkat, "symlink", BY_AT, 1},
    {SYS_chmod, "chmod", BY_PATH, 0},
    {SYS_fchmodat, "chmod", BY_AT, 0},
    {SYS_chown, "chown", BY_PATH, 0},
    {SYS_lchown, "chown", BY_PATH, 0},
    {SYS_fchownat, "chown", BY_AT, 0},
    {SYS_utimensat, "utime", BY_AT, 0},
    {SYS_bind, "bind", BY_ADDRESS, 1},
    {SYS_connect, "connect", BY_ADDRESS, 1},
    {SYS_sendto, "write", BY_FD, 0},
    {SYS_sendmsg, "write", BY_FD, 0},
    {SYS_fork, "start", BY_NOTHING, 0},
    {SYS_vfork, "start", BY_NOTHING, 0},
    {SYS_clone, "start", BY_CLONE, 0},
    {SYS_clone3, "start", BY_CLONE3, 0},
};

struct thread {
  pid_t id;
  /* Between entry and exit of the call that was step number `step`; 0 otherwise. */
  long step;
  bool fails;
};

static struct {
  const char *under[DIRECTORIES_MAX];
  int directories;
  long at;
  bool kills;
  int error;
  long for_ms;
  int log;
} options = {.log = -1};

static pid_t process;
static struct thread threads[THREADS_MAX];
static long taken;
static struct timespec failing_since;

static void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("steps: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  if (process > 0) kill(process, SIGKILL);
  exit(FAILED);
}

static struct thread *thread_of(pid_t id) {
  struct thread *unused = NULL;
  for (int i = 0; i < THREADS_MAX; i++) {
    if (threads[i].id == id) return &threads[i];
    if (threads[i].id == 0 && unused == NULL) unused = &threads[i];
  }
  if (unused == NULL) die("more than %d threads", THREADS_MAX);
  *unused = (struct thread){.id = id};
  return unused;
}

/* A string of the tracee's; false if it has none there. */
static bool string_at(pid_t id, unsigned long address, char *into, size_t size) {
  size_t length = 0;
  while (length < size) {
    /* Up to the end of the page: what follows may not be mapped. */
    size_t piece = 4096 - ((address + length) & 4095);
    if (piece > size - length) piece = size - length;
    struct iovec here = {into + length, piece}, there = {(void *)(address + length), piece};
    if (process_vm_readv(id, &here, 1, &there, 1, 0) != (ssize_t)piece) return false;
    if (memchr(into + length, 0, piece) != NULL) return true;
    length += piece;
  }
  return false;
}

/* Where a link of /proc leads: that of a descriptor, or of the working directory. */
static bool link_of(pid_t id, int fd, char into[PATH_MAX]) {
  char link[64];
  if (fd == AT_FDCWD) snprintf(link, sizeof link, "/proc/%d/cwd", id);
  else snprintf(link, sizeof link, "/proc/%d/fd/%d", id, fd);
  ssize_t length = readlink(link, into, PATH_MAX - 1);
  if (length < 0) return false;
  into[length] = 0;
  return true;
}

static bool path_at(pid_t id, int directory, unsigned long address, char into[PATH_MAX]) {
  char name[PATH_MAX], base[PATH_MAX];
  if (!string_at(id, address, name, sizeof name)) return false;
  if (name[0] == '/') {
    strcpy(into, name);
    return true;
  }
  if (!link_of(id, directory, base)) return false;
  return snprintf(into, PATH_MAX, "%s/%s", base, name) < PATH_MAX;
}

/* The path of a socket; of one that is reached through an open directory (/proc/self/fd/N/NAME) its true one. */
static bool path_of_address(pid_t id, unsigned long address, char into[PATH_MAX]) {
  /* sockaddr_un: two bytes of family, then the path. */
  char name[PATH_MAX], base[PATH_MAX];
  if (!string_at(id, address + 2, name, sizeof name) || name[0] != '/') return false;
  int fd, length = 0;
  if (sscanf(name, "/proc/self/fd/%d%n", &fd, &length) != 1 || length == 0) strcpy(base, "");
  else if (!link_of(id, fd, base)) return false;
  return snprintf(into, PATH_MAX, "%s%s", base, name + length) < PATH_MAX;
}

static bool is_process(unsigned long long flags, char into[PATH_MAX]) {
  strcpy(into, "process:");
  return (flags & CLONE_THREAD) == 0;
}

static bool is_creating(unsigned long flags) { return (flags & (O_CREAT | O_TRUNC)) != 0; }

/* What a call changes; false if it changes nothing that has a path. */
static bool path_of(pid_t id, const struct call *call, const unsigned long long *arguments, char into[PATH_MAX]) {
  unsigned long long first = arguments[call->argument];
  switch (call->form) {
  case BY_FD:
    return link_of(id, (int)first, into);
  case BY_PATH:
    return path_at(id, AT_FDCWD, first, into);
  case BY_AT:
    return path_at(id, (int)first, arguments[call->argument + 1], into);
  case BY_OPEN:
    return is_creating(arguments[1]) && path_at(id, AT_FDCWD, first, into);
  case BY_OPEN_AT:
    return is_creating(arguments[2]) && path_at(id, (int)first, arguments[1], into);
  case BY_ADDRESS:
    return path_of_address(id, first, into);
  case BY_CLONE:
    return is_process(first, into);
  case BY_CLONE3: {
    /* struct clone_args begins with the flags. */
    unsigned long long flags = 0;
    struct iovec here = {&flags, sizeof flags}, there = {(void *)first, sizeof flags};
    return process_vm_readv(id, &here, 1, &there, 1, 0) == sizeof flags && is_process(flags, into);
  }
  case BY_NOTHING:
    return is_process(0, into);
  }
  return false;
}

static bool is_under(const char *path) {
  for (int i = 0; i < options.directories; i++) {
    size_t length = strlen(options.under[i]);
    if (strncmp(path, options.under[i], length) == 0 && (path[length] == '/' || path[length] == '[' || path[length] == 0)) return true;
  }
  return false;
}

static bool is_failing(void) {
  if (options.error == 0 || options.at == 0 || taken < options.at) return false;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (failing_since.tv_sec == 0) failing_since = now;
  long ms = (now.tv_sec - failing_since.tv_sec) * 1000 + (now.tv_nsec - failing_since.tv_nsec) / 1000000;
  return ms < options.for_ms;
}

/* Opening for reading what is there needs no disk, though it says O_CREAT. */
static bool is_writing(const struct call *call, const unsigned long long *arguments) {
  if (call->form != BY_OPEN && call->form != BY_OPEN_AT) return true;
  unsigned long long flags = arguments[call->form == BY_OPEN ? 1 : 2];
  return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

/*
 * As a disk does it: what takes space or changes a name can fail for want of either; to remove something takes no room, to
 * make what is there already takes nothing, and to connect or start a process needs no disk.
 */
static bool can_fail(const struct call *call, const unsigned long long *arguments, const char *path) {
  const char *name = call->name;
  struct stat there;
  bool exists = lstat(path, &there) == 0;
  if (strcmp(name, "connect") == 0 || strcmp(name, "start") == 0) return false;
  if (strcmp(name, "mkdir") == 0) return !exists;
  if (strcmp(name, "create") == 0 && exists) return options.error != ENOSPC && is_writing(call, arguments);
  return options.error != ENOSPC || (strcmp(name, "unlink") != 0 && strcmp(name, "rmdir") != 0 &&
                                     strcmp(name, "chmod") != 0 && strcmp(name, "chown") != 0);
}

static void entered(struct thread *thread, const struct __ptrace_syscall_info *info) {
  thread->step = 0;
  thread->fails = false;
  for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
    if (CALLS[i].number != (long)info->entry.nr) continue;
    char path[PATH_MAX], line[PATH_MAX + 64];
    const unsigned long long *arguments = (const unsigned long long *)info->entry.args;
    if (!path_of(thread->id, &CALLS[i], arguments, path) || !is_under(path)) return;
    thread->step = ++taken;
    thread->fails = can_fail(&CALLS[i], arguments, path) && is_failing();
    if (thread->fails) {
      struct user_regs_struct registers;
      ptrace(PTRACE_GETREGS, thread->id, 0, &registers);
      registers.orig_rax = -1;
      ptrace(PTRACE_SETREGS, thread->id, 0, &registers);
    }
    int length = snprintf(line, sizeof line, "%ld %s %s%s\n", taken, CALLS[i].name, path, thread->fails ? " failed" : "");
    if (write(options.log, line, length) != length) die("the log cannot be written: %s", strerror(errno));
    return;
  }
}

static void left(struct thread *thread) {
  if (thread->fails) {
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, thread->id, 0, &registers);
    registers.rax = -options.error;
    ptrace(PTRACE_SETREGS, thread->id, 0, &registers);
  }
  if (options.kills && thread->step > 0 && thread->step == options.at) kill(process, SIGKILL);
  thread->step = 0;
  thread->fails = false;
}

/* Carries on what has stopped. */
static void go_on(pid_t id, int status) {
  struct thread *thread = thread_of(id);
  int signal = WSTOPSIG(status), event = status >> 16;
  int request = PTRACE_SYSCALL, deliver = 0;
  if (signal == (SIGTRAP | 0x80)) {
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, id, sizeof info, &info) > 0) {
      if (info.op == PTRACE_SYSCALL_INFO_ENTRY) entered(thread, &info);
      else if (info.op == PTRACE_SYSCALL_INFO_EXIT) left(thread);
    }
  } else if (event == PTRACE_EVENT_STOP) {
    /* Stopped like others of its group by a signal, until SIGCONT; otherwise new, or asked to stop by us. */
    if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) request = PTRACE_LISTEN;
  } else if (event == 0) deliver = signal;
  /* It may have been killed meanwhile. */
  ptrace(request, id, 0, deliver);
}

static pid_t start(char **argv) {
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) die("pipe: %s", strerror(errno));
  pid_t child = fork();
  if (child < 0) die("fork: %s", strerror(errno));
  if (child == 0) {
    char byte;
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1) _exit(FAILED);
    execvp(argv[0], argv);
    fprintf(stderr, "steps: %s: %s\n", argv[0], strerror(errno));
    _exit(FAILED);
  }
  process = child;
  /* Whoever kills us has killed the program. */
  long follow = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SEIZE, child, 0, follow) != 0) die("ptrace: %s", strerror(errno));
  if (ptrace(PTRACE_INTERRUPT, child, 0, 0) != 0) die("ptrace: %s", strerror(errno));
  close(ready[0]);
  if (write(ready[1], "", 1) != 1) die("pipe: %s", strerror(errno));
  close(ready[1]);
  return child;
}

static long number(const char *text) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != 0 || value < 1) die("not a number: %s", text);
  return value;
}

int main(int argc, char **argv) {
  int i = 1;
  for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
    const char *name = argv[i];
    if (strcmp(name, "--kill") == 0) {
      options.kills = true;
      continue;
    }
    const char *value = ++i < argc ? argv[i] : NULL;
    if (value == NULL) die("%s needs a value", name);
    if (strcmp(name, "--under") == 0 && options.directories < DIRECTORIES_MAX)
      options.under[options.directories++] = value;
    else if (strcmp(name, "--log") == 0) options.log = open(value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    else if (strcmp(name, "--at") == 0) options.at = number(value);
    else if (strcmp(name, "--fail") == 0) options.error = (int)number(value);
    else if (strcmp(name, "--for") == 0) options.for_ms = number(value);
    else die("not known: %s", name);
  }
  if (i + 1 >= argc || options.log < 0 || options.directories == 0) die("--log, --under and a program are needed");
  pid_t child = start(&argv[i + 1]);
  for (;;) {
    int status;
    pid_t id = waitpid(-1, &status, __WALL);
    if (id < 0 && errno == EINTR) continue;
    if (id < 0) die("wait: %s", strerror(errno));
    if (WIFSTOPPED(status)) {
      go_on(id, status);
      continue;
    }
    *thread_of(id) = (struct thread){.id = 0};
    if (id == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
}
