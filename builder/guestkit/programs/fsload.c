/*
 * fsload OPERATION …: gives a file system one kind of work, and does nothing else, so that its time is not hidden behind a
 * program's own. Prints one line: operations, bytes, nanoseconds. Files of a folder are f00000, f00001, …
 *
 *   make DIR COUNT BYTES       creates files            stat DIR COUNT        asks for each file's status
 *   open DIR COUNT             opens, reads and closes  list DIR TIMES        reads a folder
 *   fill FILE BYTES            writes by 1 MiB, fsync   read FILE [BYTES]     reads by 1 MiB, or by so much
 *   mapread FILE               reads through a mapping  mapwrite FILE BYTES   writes through a mapping, msync by fsync
 *   randread FILE OPS          reads 4 KiB anywhere     randwrite FILE OPS    writes 4 KiB anywhere
 *   maprand FILE OPS           reads 8 bytes anywhere, through a mapping
 *   ranges FILE                reads 8 bytes of each 2 MiB through a mapping; prints the nanoseconds of each
 *   untar TAR DIR              unpacks a ustar          remove DIR            removes what is in a folder
 *   check FILE BYTES           whether the file holds what fill, mapwrite and randwrite write
 *
 * What is written depends on the place in the file: the 8-byte word at offset n is n times an odd number.
 */
#include "nolibc.h"

enum { UNIT = 1 << 20, PAGE = 4096, RANGE = 2 << 20, DIRENT_BYTES = 32768, MOST_LEVELS = 64, LINE = 64 };
static const u64 FACTOR = 0x9e3779b97f4a7c15ul;

static u8 buffer[UNIT] __attribute__((aligned(PAGE)));
static char dirents[MOST_LEVELS][DIRENT_BYTES] __attribute__((aligned(8)));
static u64 operations, bytes;

static void pattern(u64 *words, u64 offset, u64 count) {
  for (u64 i = 0; i < count; i++) words[i] = (offset + 8 * i) * FACTOR;
}

/* The same numbers in every run: a sequence that looks like chance (xorshift). */
static u64 chance(void) {
  static u64 state = 88172645463325252ul;
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}

static long open_at(int parent, const char *name, int flags) {
  return must(call(SYS_openat, parent, (long)name, flags, 0644), "open", name);
}

static u64 size_of(long fd, const char *name) {
  return must(call(SYS_lseek, fd, 0, 2, 0), "lseek", name);
}

static u8 *map(long fd, u64 size, int protection, const char *name) {
  return (u8 *)must(call6(SYS_mmap, 0, size, protection, MAP_SHARED, fd, 0), "mmap", name);
}

static char *file_name(u64 index) {
  static char name[8] = "f00000";
  digits(index, 5, name + 6);
  return name;
}

static void make(const char *dir, u64 count, u64 size) {
  long parent = open_at(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY);
  pattern((u64 *)buffer, 0, UNIT / 8);
  for (u64 i = 0; i < count; i++, operations++, bytes += size) {
    char *name = file_name(i);
    long fd = open_at(parent, name, O_WRONLY | O_CREAT | O_EXCL);
    must(call(SYS_write, fd, (long)buffer, size, 0), "write", name);
    call(SYS_close, fd, 0, 0, 0);
  }
}

static void stat_all(const char *dir, u64 count) {
  long parent = open_at(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY);
  for (u64 i = 0; i < count; i++, operations++) {
    char *name = file_name(i);
    must(call(SYS_newfstatat, parent, (long)name, (long)buffer, AT_SYMLINK_NOFOLLOW), "stat", name);
  }
}

static void open_all(const char *dir, u64 count) {
  long parent = open_at(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY);
  for (u64 i = 0; i < count; i++, operations++) {
    char *name = file_name(i);
    long fd = open_at(parent, name, O_RDONLY);
    bytes += must(call(SYS_read, fd, (long)buffer, UNIT, 0), "read", name);
    call(SYS_close, fd, 0, 0, 0);
  }
}

static void list(const char *dir, u64 times) {
  for (; times > 0; times--) {
    long got, fd = open_at(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY);
    while ((got = must(call(SYS_getdents64, fd, (long)dirents[0], DIRENT_BYTES, 0), "list", dir)) > 0) {
      bytes += got;
      for (char *at = dirents[0]; at < dirents[0] + got; at += ((struct dirent64 *)at)->reclen) operations++;
    }
    call(SYS_close, fd, 0, 0, 0);
  }
}

static void fill(const char *name, u64 size) {
  long fd = open_at(AT_FDCWD, name, O_WRONLY | O_CREAT);
  for (u64 at = 0; at < size; at += UNIT, operations++) {
    u64 count = size - at < UNIT ? size - at : UNIT;
    pattern((u64 *)buffer, at, (count + 7) / 8);
    bytes += must(call(SYS_pwrite64, fd, (long)buffer, count, at), "write", name);
  }
  must(call(SYS_fsync, fd, 0, 0, 0), "fsync", name);
}

static void read_all(const char *name, u64 unit) {
  long got, fd = open_at(AT_FDCWD, name, O_RDONLY);
  if (!unit || unit > UNIT) unit = UNIT;
  while ((got = must(call(SYS_read, fd, (long)buffer, unit, 0), "read", name)) > 0) bytes += got, operations++;
}

static volatile u64 sink;

/* A word of each cache line: what a program that looks at all data cannot do without. */
static void map_read(const char *name) {
  long fd = open_at(AT_FDCWD, name, O_RDONLY);
  u64 sum = 0, size = bytes = size_of(fd, name);
  u8 *data = map(fd, size, PROT_READ, name);
  for (u64 at = 0; at < size; at += LINE) sum += *(u64 *)(data + at);
  sink = sum;
  operations = (size + UNIT - 1) / UNIT;
}

static void map_write(const char *name, u64 size) {
  long fd = open_at(AT_FDCWD, name, O_RDWR | O_CREAT);
  must(call(SYS_ftruncate, fd, size, 0, 0), "ftruncate", name);
  pattern((u64 *)map(fd, size, PROT_READ | PROT_WRITE, name), 0, size / 8);
  must(call(SYS_fsync, fd, 0, 0, 0), "fsync", name);
  bytes = size;
  operations = (size + UNIT - 1) / UNIT;
}

static void anywhere(const char *name, u64 count, int writing) {
  long fd = open_at(AT_FDCWD, name, writing ? O_WRONLY : O_RDONLY);
  u64 pages = size_of(fd, name) / PAGE;
  /* Without it Linux reads ahead, and what is measured is a guess of how much. */
  call(SYS_fadvise64, fd, 0, 0, POSIX_FADV_RANDOM);
  for (; operations < count; operations++) {
    u64 at = chance() % pages * PAGE;
    if (writing) pattern((u64 *)buffer, at, PAGE / 8);
    bytes += must(call(writing ? SYS_pwrite64 : SYS_pread64, fd, (long)buffer, PAGE, at), "read or write", name);
  }
}

static void map_anywhere(const char *name, u64 count) {
  long fd = open_at(AT_FDCWD, name, O_RDONLY);
  u64 sum = 0, size = size_of(fd, name);
  u8 *data = map(fd, size, PROT_READ, name);
  for (; operations < count; operations++) sum += *(u64 *)(data + chance() % (size / LINE) * LINE);
  sink = sum;
}

static void ranges(const char *name) {
  long fd = open_at(AT_FDCWD, name, O_RDONLY);
  u64 size = size_of(fd, name);
  u8 *data = map(fd, size, PROT_READ, name);
  for (u64 at = 0; at < size; at += RANGE) {
    u64 start = now();
    sink = *(u64 *)(data + at);
    print(now() - start, ' ');
  }
}

static void check(const char *name, u64 size) {
  long fd = open_at(AT_FDCWD, name, O_RDONLY);
  if (size_of(fd, name) != size) fail("wrong size", name, 0);
  for (; bytes < size; operations++) {
    u64 got = must(call(SYS_pread64, fd, (long)buffer, UNIT, bytes), "read", name);
    if (got == 0) fail("short", name, 0);
    for (u64 i = 0; i < got / 8; i++)
      if (((u64 *)buffer)[i] != (bytes + 8 * i) * FACTOR) {
        print(bytes + 8 * i, '\n');
        fail("wrong data", name, 0);
      }
    bytes += got;
  }
}

/* `struct posix_header`, tar(5). Names longer than 100 bytes have a prefix. */
struct header {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[8], owner[64], device[16],
      prefix[155];
};

static void whole_name(const struct header *header, char *name) {
  char *at = name;
  if (header->prefix[0]) {
    for (int i = 0; i < 155 && header->prefix[i]; i++) *at++ = header->prefix[i];
    *at++ = '/';
  }
  for (int i = 0; i < 100 && header->name[i]; i++) *at++ = header->name[i];
  *at = 0;
}

static void unpack_file(int parent, const char *name, const struct header *header, const u8 *data, u64 size) {
  long fd = open_at(parent, name, O_WRONLY | O_CREAT | O_EXCL);
  for (u64 at = 0; at < size;) at += must(call(SYS_write, fd, (long)(data + at), size - at, 0), "write", name);
  struct timespec times[2] = {{number(header->mtime, 8), 0}, {number(header->mtime, 8), 0}};
  must(call(SYS_utimensat, fd, 0, (long)times, 0), "utimensat", name);
  must(call(SYS_fchmod, fd, number(header->mode, 8) & 07777, 0, 0), "fchmod", name);
  must(call(SYS_close, fd, 0, 0, 0), "close", name);
  bytes += size;
}

static void untar(const char *tar, const char *dir) {
  long fd = open_at(AT_FDCWD, tar, O_RDONLY), parent = open_at(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY);
  u64 end = size_of(fd, tar);
  u8 *data = map(fd, end, PROT_READ, tar);
  static char name[300], link[101];
  for (u64 at = 0; at + 512 <= end && data[at]; operations++) {
    const struct header *header = (const struct header *)(data + at);
    u64 size = number(header->size, 8);
    whole_name(header, name);
    memcpy(link, header->link, 100);
    if (at + 512 + size > end) fail("short tar", tar, 0);
    if (same(name, "./")) {
      /* The folder itself, which is there. */
    } else if (header->type == '5') must(call(SYS_mkdirat, parent, (long)name, 0755, 0), "mkdir", name);
    else if (header->type == '2') must(call(SYS_symlinkat, (long)link, parent, (long)name, 0), "symlink", name);
    else if (header->type == '0') unpack_file(parent, name, header, data + at + 512, size);
    else fail("unknown type", name, 0);
    at += 512 + (size + 511) / 512 * 512;
  }
}

static void remove_in(int parent, const char *name, int level) {
  long got, fd = open_at(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (level == MOST_LEVELS) fail("too deep", name, 0);
  /* Removing while reading: from the start again until nothing is left. */
  for (u64 before = ~0ul; before != operations;) {
    before = operations;
    must(call(SYS_lseek, fd, 0, 0, 0), "lseek", name);
    while ((got = must(call(SYS_getdents64, fd, (long)dirents[level], DIRENT_BYTES, 0), "list", name)) > 0)
      for (char *at = dirents[level]; at < dirents[level] + got; at += ((struct dirent64 *)at)->reclen) {
        struct dirent64 *entry = (struct dirent64 *)at;
        const char *n = entry->name;
        if (n[0] == '.' && (!n[1] || (n[1] == '.' && !n[2]))) continue;
        if (entry->type == DT_UNKNOWN) fail("type not told", n, 0);
        if (entry->type == DT_DIR) remove_in(fd, n, level + 1);
        must(call(SYS_unlinkat, fd, (long)n, entry->type == DT_DIR ? AT_REMOVEDIR : 0, 0), "unlink", n);
        operations++;
      }
  }
  call(SYS_close, fd, 0, 0, 0);
}

static int run(int argc, char **argv) {
  const char *what = argc > 2 ? argv[1] : "", *name = argc > 2 ? argv[2] : "";
  u64 first = argc > 3 ? number(argv[3], 10) : 0, second = argc > 4 ? number(argv[4], 10) : 0, start = now();
  if (same(what, "ranges")) return ranges(name), 0;
  if (same(what, "make")) make(name, first, second);
  else if (same(what, "stat")) stat_all(name, first);
  else if (same(what, "open")) open_all(name, first);
  else if (same(what, "list")) list(name, first ? first : 1);
  else if (same(what, "fill")) fill(name, first);
  else if (same(what, "read")) read_all(name, first);
  else if (same(what, "mapread")) map_read(name);
  else if (same(what, "mapwrite")) map_write(name, first);
  else if (same(what, "randread")) anywhere(name, first, 0);
  else if (same(what, "randwrite")) anywhere(name, first, 1);
  else if (same(what, "maprand")) map_anywhere(name, first);
  else if (same(what, "untar") && argc > 3) untar(name, argv[3]);
  else if (same(what, "remove")) remove_in(AT_FDCWD, name, 0);
  else if (same(what, "check")) check(name, first);
  else return say("usage: fsload OPERATION PATH …; see the head of fsload.c\n"), 2;
  u64 end = now();
  print(operations, ' '), print(bytes, ' '), print(end - start, '\n');
  return 0;
}
