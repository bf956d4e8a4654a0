/*
 * System calls and what little else programs for guests need, without libc and its headers:
 *     gcc -O2 -static -nostdlib -ffreestanding -fno-stack-protector -o PROGRAM PROGRAM.c
 * x86-64 Linux only. The program defines `int run(int argc, char **argv)`, whose result is its exit status.
 */
typedef unsigned long u64;
typedef unsigned char u8;

enum { SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_lseek = 8, SYS_mmap = 9, SYS_munmap = 11, SYS_pread64 = 17,
       SYS_pwrite64 = 18, SYS_fsync = 74, SYS_ftruncate = 77, SYS_fchmod = 91, SYS_fadvise64 = 221, SYS_getdents64 = 217,
       SYS_clock_gettime = 228, SYS_exit_group = 231, SYS_openat = 257, SYS_mkdirat = 258, SYS_newfstatat = 262,
       SYS_unlinkat = 263, SYS_symlinkat = 266, SYS_utimensat = 280 };
enum { AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100, AT_REMOVEDIR = 0x200 };
enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0100, O_EXCL = 0200, O_TRUNC = 01000, O_DIRECT = 040000,
       O_DIRECTORY = 0200000, O_NOFOLLOW = 0400000 };
enum { PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1 };
enum { POSIX_FADV_RANDOM = 1 };
enum { DT_UNKNOWN = 0, DT_DIR = 4 };
enum { CLOCK_MONOTONIC = 1 };

/* struct linux_dirent64: getdents64(2) */
struct dirent64 {
  u64 ino;
  long off;
  unsigned short reclen;
  u8 type;
  char name[];
};

struct timespec {
  long seconds, nanoseconds;
};

static long call6(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static long call(long number, long a, long b, long c, long d) {
  return call6(number, a, b, c, d, 0, 0);
}

static u64 length(const char *text) {
  u64 n = 0;
  while (text[n]) n++;
  return n;
}

static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static u64 now(void) {
  struct timespec time;
  call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&time, 0, 0);
  return time.seconds * 1000000000ul + time.nanoseconds;
}

/* Writes the digits of `value`, at least `width` of them, ending before `end`; returns where they start. */
static char *digits(u64 value, int width, char *end) {
  char *at = end;
  do *--at = '0' + value % 10;
  while ((value /= 10) || end - at < width);
  return at;
}

static u64 number(const char *text, unsigned base) {
  u64 value = 0;
  for (; *text >= '0' && *text < (char)('0' + base); text++) value = value * base + (*text - '0');
  return value;
}

static void print(u64 value, char behind) {
  char text[24];
  text[23] = behind;
  char *at = digits(value, 1, text + 23);
  call(SYS_write, 1, (long)at, text + 24 - at, 0);
}

static void say(const char *text) {
  call(SYS_write, 2, (long)text, length(text), 0);
}

/* Ends the program: what could not be done, with which file, and the error's number. */
static void fail(const char *what, const char *name, long result) {
  char text[24];
  text[23] = 0;
  say(what), say(" "), say(name), say(": error "), say(digits(result < 0 ? -result : 0, 1, text + 23)), say("\n");
  call(SYS_exit_group, 1, 0, 0, 0);
}

/* The result of a call that must not fail. */
static long must(long result, const char *what, const char *name) {
  if (result < 0) fail(what, name, result);
  return result;
}

/* The compiler calls these for copies and fills of its own. */
void *memset(void *to, int value, u64 bytes) {
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
  return to;
}
void *memcpy(void *to, const void *from, u64 bytes) {
  void *start = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
  return start;
}

static int run(int argc, char **argv);

__attribute__((used)) static void begin(long *stack) {
  call(SYS_exit_group, run((int)stack[0], (char **)(stack + 1)), 0, 0, 0);
}

/* The kernel starts a program with argc and argv on the stack: psABI 3.4.1. */
__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call begin\n");
