/*
 * What a measured container runs.
 *
 *   began FILE           notes in FILE when its first instruction ran, in milliseconds since 1970, and ends
 *   began FILE lines N   notes it too, and writes N lines of 64 bytes a second, evenly, until it is killed
 *   began FILE bytes N   notes it too, and writes N bytes, in lines of 64, as fast as they are taken
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 64, LINES_AT_ONCE = 1024, FAILED = 1 };

static const long NANO = 1000000000;

static void write_all(const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t written = write(STDOUT_FILENO, bytes, length);
    if (written < 0 && errno != EINTR) exit(FAILED);
    if (written > 0) {
      bytes += written;
      length -= (size_t)written;
    }
  }
}

static void put_line(char *into, long number) {
  memset(into, '.', LINE_BYTES);
  int length = snprintf(into, LINE_BYTES, "line %ld ", number);
  into[length] = '.';
  into[LINE_BYTES - 1] = '\n';
}

int main(int argc, char **argv) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (argc != 2 && argc != 4) return FAILED;
  FILE *note = fopen(argv[1], "w");
  if (note == NULL) return FAILED;
  fprintf(note, "%lld.%06ld\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, now.tv_nsec % 1000000);
  if (fclose(note) != 0) return FAILED;
  if (argc == 2) return 0;
  long count = atol(argv[3]);
  if (count <= 0) return FAILED;
  if (strcmp(argv[2], "lines") == 0) {
    char line[LINE_BYTES];
    clock_gettime(CLOCK_MONOTONIC, &now);
    for (long number = 0;; number++) {
      put_line(line, number);
      write_all(line, sizeof line);
      now.tv_nsec += NANO / count;
      for (; now.tv_nsec >= NANO; now.tv_nsec -= NANO) now.tv_sec++;
      while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &now, NULL) == EINTR) continue;
    }
  }
  static char lines[LINE_BYTES * LINES_AT_ONCE];
  for (long number = 0; number < LINES_AT_ONCE; number++) put_line(lines + number * LINE_BYTES, number);
  for (long left = count; left > 0; left -= (long)sizeof lines)
    write_all(lines, left < (long)sizeof lines ? (size_t)left : sizeof lines);
  return 0;
}
