/*
 * Writes numbered lines to stdout and stderr, as tasks do at their worst: fast, in bursts, with lines left open for
 * seconds, with lines of 64 KB, with bytes that are no text. What is written depends on the seed, the stream and the
 * number of the line alone; when it is written does not matter for that. So the same program tells what has to arrive.
 *
 *   writer --seed N --until FILE --count DIRECTORY --out MANNER --err MANNER [--rate BYTES] [--text]
 *       writes until FILE is there, then each stream's last line, notes in DIRECTORY/out.lines and err.lines how many
 *       lines came before that, and ends at once. MANNER: steady (never quiet), bursts, open, mixed, silent.
 *   writer --seed N --expect out|err --lines N [--text]
 *       writes to stdout what the other one has written to that stream.
 *
 * --rate: bytes a second of a stream. --text: no byte that is not ASCII.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 80 * 1024, FAILED = 255 };

struct stream {
  const char *name;
  const char *manner;
  int fd;
};

static uint64_t seed;
static uint64_t rate = 2000000;
static bool is_text;

static void die(const char *what) {
  fprintf(stderr, "writer: %s\n", what);
  exit(FAILED);
}

static uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

static uint64_t lot(uint64_t *state) { return *state = mixed(*state); }

static uint64_t state_of(const struct stream *stream, uint64_t line) {
  return mixed(mixed(seed) ^ mixed(line * 2 + (stream->fd == STDERR_FILENO)));
}

/* A line with its end; gives its length. */
static size_t line_of(const struct stream *stream, uint64_t number, char *into) {
  /* About where Docker cuts lines, and where it cuts them a second and a fourth time. */
  static const size_t LONG[] = {16383, 16384, 16385, 32768, 65535, 65536, 65537, 70000};
  static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ,";
  uint64_t state = state_of(stream, number);
  uint64_t kind = lot(&state) % 2000;
  size_t length = 10 + lot(&state) % 191;
  if (kind < 3) length = LONG[lot(&state) % (sizeof LONG / sizeof *LONG)];
  bool is_binary = !is_text && kind % 20 == 0;
  size_t at = sprintf(into, "%s %llu ", stream->name, (unsigned long long)number);
  uint64_t bits = 0;
  for (int left = 0; at < length; at++, left--) {
    if (left == 0) bits = lot(&state), left = 8;
    into[at] = is_binary ? (char)bits : LETTERS[bits & 63];
    if (into[at] == '\n') into[at] = 0;
    bits >>= 8;
  }
  if (kind >= 20 && kind < 40) into[at - 1] = '\r';
  into[at++] = '\n';
  if (kind >= 40 && kind < 50) into[at++] = '\n';
  return at;
}

/* The last one has an end with every other seed. */
static size_t last_line_of(const struct stream *stream, uint64_t lines, char *into) {
  return sprintf(into, "%s ends after %llu%s", stream->name, (unsigned long long)lines, seed % 2 == 0 ? "\n" : "");
}

static void write_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t written = write(fd, bytes, length);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) exit(FAILED);
    bytes += written;
    length -= written;
  }
}

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void rest_ms(uint64_t ms) {
  struct timespec length = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&length, NULL);
}

static uint64_t between(uint64_t *chance, uint64_t from, uint64_t to) { return from + lot(chance) % (to - from); }

/* Of what is ready, how much is written now, and what is waited for then. */
struct act {
  size_t bytes;
  uint64_t rest;
};

static struct act act_of(const char *manner, uint64_t *chance, size_t ready, bool ends_line) {
  uint64_t dice = lot(chance) % 1000;
  if (strcmp(manner, "mixed") == 0) {
    static const char *const EACH[] = {"steady", "steady", "steady", "bursts", "open"};
    manner = EACH[now_ms() / 1500 % 5];
  }
  if (strcmp(manner, "bursts") == 0) return (struct act){ready, dice < 12 ? between(chance, 100, 1200) : 0};
  if (strcmp(manner, "open") == 0) {
    if (dice < 60 && ready > 1) return (struct act){1 + lot(chance) % (ready - 1), between(chance, 500, 3000)};
    return (struct act){ready, dice < 500 ? between(chance, 0, 60) : 0};
  }
  /* In pieces that end anywhere. */
  return (struct act){dice < 300 && ready > 1 && !ends_line ? 1 + lot(chance) % (ready - 1) : ready, 0};
}

static void play(const struct stream *stream, const char *until, const char *directory) {
  static char buffer[2 * LINE_BYTES_MAX];
  uint64_t chance = mixed(seed + 77 + stream->fd), lines = 0, written = 0, began = now_ms(), looked = 0;
  size_t ready = 0;
  bool is_silent = strcmp(stream->manner, "silent") == 0, is_over = false;
  while (!is_over) {
    if (now_ms() - looked >= 5) {
      looked = now_ms();
      is_over = access(until, F_OK) == 0;
    }
    if (is_silent) {
      rest_ms(20);
      continue;
    }
    size_t wanted = ready + (lot(&chance) % 4 == 0 ? 4096 : 1);
    while (ready < wanted && ready < LINE_BYTES_MAX) ready += line_of(stream, lines++, buffer + ready);
    struct act act = act_of(stream->manner, &chance, ready, false);
    write_all(stream->fd, buffer, act.bytes);
    ready -= act.bytes;
    memmove(buffer, buffer + act.bytes, ready);
    written += act.bytes;
    /* Never in the moment of the end: what is written then is written at once. */
    while (act.rest > 0 && access(until, F_OK) != 0) {
      uint64_t part = act.rest < 20 ? act.rest : 20;
      rest_ms(part);
      act.rest -= part;
    }
    uint64_t elapsed = now_ms() - began, due = written * 1000 / rate;
    if (due > elapsed + 5) rest_ms(due - elapsed > 20 ? 20 : due - elapsed);
    /* What a pause has saved is not made up for. */
    if (elapsed > due + 2000) began += elapsed - due - 2000;
  }
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.lines", directory, stream->name);
  FILE *count = fopen(path, "w");
  if (count == NULL) die("the count cannot be noted");
  fprintf(count, "%llu\n", (unsigned long long)lines);
  fclose(count);
  ready += last_line_of(stream, lines, buffer + ready);
  write_all(stream->fd, buffer, ready);
}

static void expect(const struct stream *stream, uint64_t lines) {
  static char buffer[LINE_BYTES_MAX];
  for (uint64_t number = 0; number < lines; number++) fwrite(buffer, 1, line_of(stream, number, buffer), stdout);
  fwrite(buffer, 1, last_line_of(stream, lines, buffer), stdout);
  if (fflush(stdout) != 0) die("stdout cannot be written");
}

int main(int argc, char **argv) {
  struct stream out = {"out", "silent", STDOUT_FILENO}, err = {"err", "silent", STDERR_FILENO};
  const char *until = NULL, *directory = NULL, *expected = NULL;
  uint64_t lines = 0;
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i];
    if (strcmp(name, "--text") == 0) {
      is_text = true;
      continue;
    }
    const char *value = ++i < argc ? argv[i] : NULL;
    if (value == NULL) die("an option without its value");
    if (strcmp(name, "--seed") == 0) seed = strtoull(value, NULL, 10);
    else if (strcmp(name, "--until") == 0) until = value;
    else if (strcmp(name, "--count") == 0) directory = value;
    else if (strcmp(name, "--out") == 0) out.manner = value;
    else if (strcmp(name, "--err") == 0) err.manner = value;
    else if (strcmp(name, "--rate") == 0) rate = strtoull(value, NULL, 10);
    else if (strcmp(name, "--expect") == 0) expected = value;
    else if (strcmp(name, "--lines") == 0) lines = strtoull(value, NULL, 10);
    else die("not known");
  }
  if (expected != NULL) {
    expect(strcmp(expected, "err") == 0 ? &err : &out, lines);
    return 0;
  }
  if (until == NULL || directory == NULL || rate == 0) die("--until, --count and a rate are needed");
  /* A process each: no stream waits for the other. */
  pid_t other = fork();
  if (other < 0) die("fork");
  play(other == 0 ? &err : &out, until, directory);
  if (other == 0) return 0;
  int status;
  while (waitpid(other, &status, 0) < 0)
    if (errno != EINTR) die("wait");
  return WIFEXITED(status) ? WEXITSTATUS(status) : FAILED;
}
