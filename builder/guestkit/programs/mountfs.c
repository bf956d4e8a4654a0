/*
 * mountfs TYPE SOURCE TARGET OPTIONS: mount(2), read-only, and nothing besides. mount(8) of busybox makes a loop device of a
 * source that is a file, without a word.
 */
#include "nolibc.h"

enum { SYS_mount = 165, MS_RDONLY = 1 };

static int run(int argc, char **argv) {
  if (argc != 5) return say("usage: mountfs TYPE SOURCE TARGET OPTIONS\n"), 2;
  must(call6(SYS_mount, (long)argv[2], (long)argv[3], (long)argv[1], MS_RDONLY, (long)argv[4], 0), "mount", argv[2]);
  return 0;
}
