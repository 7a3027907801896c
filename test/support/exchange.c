// Exchanges what two names mean, over and over, as a user without rights: what a task's user can do in its sandbox while
// somebody else works there.
//
//   exchange UID DIRECTORY NAME OTHER [NAME OTHER]...
//
// Names that are not there yet, or that may not be renamed, are tried again. Says `ready` when all pairs have been exchanged
// once, and runs until it is killed.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

enum { PAIRS_MAX = 8 };

int main(int argc, char **argv) {
  if (argc < 5 || (argc - 3) % 2 != 0 || (argc - 3) / 2 > PAIRS_MAX) return 2;
  const uid_t uid = (uid_t)atoi(argv[1]);
  if (setgid(uid) != 0 || setuid(uid) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return 3;
  const int directory = open(argv[2], O_RDONLY | O_DIRECTORY);
  if (directory < 0) return 4;
  int done[PAIRS_MAX] = {0};
  int left = (argc - 3) / 2;
  for (;;) {
    for (int pair = 0; pair < (argc - 3) / 2; pair++) {
      const char *name = argv[3 + 2 * pair];
      const char *other = argv[4 + 2 * pair];
      if (renameat2(directory, name, directory, other, RENAME_EXCHANGE) != 0 || done[pair]) continue;
      done[pair] = 1;
      if (--left == 0) {
        puts("ready");
        fflush(stdout);
      }
    }
  }
}
