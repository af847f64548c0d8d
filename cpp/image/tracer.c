// Report which files the processes of a container look up: a ptrace sidecar in its process
// namespace. Each new fact is one line on standard output, written as it occurs, because the
// sidecar dies with the container's process 1:
//   ready             process 1 is held: let it go
//   open PATH         opened or executed
//   stat PATH         looked at: stat, access, readlink
//   miss PATH         looked for and not there
//   make PATH         could not be made, since its directory is not there
//   orphan PID        getppid() said 1
//   call NAME         a system call; `call foreign` is one of another architecture
//   exit PID STATUS   ended, with the status of wait(2)
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/ptrace.h>

#include "facts.h"

enum { THREADS = 16384 };
enum kind { NOTHING, OPEN, MAKE, STAT, PARENT };

struct call {
  pid_t thread;
  enum kind kind;
  char* path;  // NULL: nothing was read
};

// Indexed by thread id; two threads whose ids agree modulo THREADS may lose a line.
static struct call calls[THREADS];

#if defined(__x86_64__)
enum { ARCHITECTURE = AUDIT_ARCH_X86_64, CALLS = 1024 };  // those of x32 have a bit above that
#elif defined(__aarch64__)
enum { ARCHITECTURE = AUDIT_ARCH_AARCH64, CALLS = 1024 };
#else
enum { ARCHITECTURE = 0, CALLS = 1024 };  // all are foreign
#endif
static const char* const names[CALLS] = {
#include "call_names.inc"
};

// Report which system call this is; one that the headers do not know has no name in a profile either.
static void tell_call(const struct ptrace_syscall_info* info) {
  static unsigned char told[CALLS + 1];
  int native = info->arch == (uint32_t)ARCHITECTURE && info->entry.nr < CALLS;
  size_t slot = native ? (size_t)info->entry.nr : CALLS;
  if (told[slot]) return;
  told[slot] = 1;
  if (!native) tell("call", "foreign");
  else if (names[slot]) tell("call", names[slot]);
}

// Which calls look a path up: the kind, and which arguments are the directory and the path.
static enum kind classify(long number, int* directory, int* path) {
  *directory = 0;
  *path = 1;
  switch (number) {
    case SYS_openat:
    case SYS_execveat:
#ifdef SYS_openat2
    case SYS_openat2:
#endif
      return OPEN;
    case SYS_mkdirat:
      return MAKE;
    case SYS_statx:
    case SYS_faccessat:
    case SYS_readlinkat:
#ifdef SYS_newfstatat
    case SYS_newfstatat:
#endif
#ifdef SYS_faccessat2
    case SYS_faccessat2:
#endif
      return STAT;
  }
  *directory = -1;
  *path = 0;
  switch (number) {
    case SYS_execve:
    case SYS_chdir:
#ifdef SYS_open
    case SYS_open:
#endif
      return OPEN;
#ifdef SYS_mkdir
    case SYS_mkdir:
    case SYS_creat:
      return MAKE;
#endif
    case SYS_statfs:
    case SYS_getxattr:
#ifdef SYS_stat
    case SYS_stat:
    case SYS_lstat:
    case SYS_access:
    case SYS_readlink:
#endif
      return STAT;
    case SYS_getppid:
      *path = -1;
      return PARENT;
  }
  return NOTHING;
}

// Read a string of the traced process, a page at a time: the next page may not be there.
static int read_string(pid_t thread, uint64_t address, char* text, size_t size) {
  size_t have = 0;
  while (have < size) {
    size_t want = 4096 - (address + have) % 4096;
    if (want > size - have) want = size - have;
    struct iovec ours = {text + have, want}, theirs = {(void*)(uintptr_t)(address + have), want};
    ssize_t got = process_vm_readv(thread, &ours, 1, &theirs, 1, 0);
    if (got <= 0) return -1;
    if (memchr(text + have, 0, (size_t)got)) return 0;
    have += (size_t)got;
  }
  return -1;
}

// Make a path absolute, by the process's directory or by the directory that is open there.
static char* read_path(pid_t thread, long directory, uint64_t address) {
  char given[PATH_SIZE], place[64], base[PATH_SIZE], *whole = NULL;
  if (read_string(thread, address, given, sizeof given) != 0 || !given[0]) return NULL;
  if (given[0] == '/') return strdup(given);
  if ((int)directory == AT_FDCWD) snprintf(place, sizeof place, "/proc/%d/cwd", (int)thread);
  else snprintf(place, sizeof place, "/proc/%d/fd/%d", (int)thread, (int)directory);
  ssize_t size = readlink(place, base, sizeof base - 1);
  if (size <= 0 || base[0] != '/') return NULL;
  base[size] = 0;
  if (asprintf(&whole, "%s/%s", base, given) < 0) return NULL;
  return whole;
}

// Whether an open call makes the file where it is not there yet.
static int creates(const struct ptrace_syscall_info* info) {
  switch ((long)info->entry.nr) {
    case SYS_openat:
      return (info->entry.args[2] & O_CREAT) != 0;
#ifdef SYS_open
    case SYS_open:
      return (info->entry.args[1] & O_CREAT) != 0;
#endif
  }
  return 0;
}

static void entered(pid_t thread, struct call* call, const struct ptrace_syscall_info* info) {
  int directory, path;
  tell_call(info);
  free(call->path);
  *call = (struct call){thread, classify((long)info->entry.nr, &directory, &path), NULL};
  if (call->kind == OPEN && creates(info)) call->kind = MAKE;
  if (call->kind == OPEN || call->kind == MAKE || call->kind == STAT) {
    long base = directory < 0 ? AT_FDCWD : (long)info->entry.args[directory];
    call->path = read_path(thread, base, info->entry.args[path]);
  }
}

static void left(pid_t thread, struct call* call, int64_t result) {
  char number[16];
  if (call->thread != thread) return;
  if (call->kind == PARENT && result == 1) {
    snprintf(number, sizeof number, "%d", (int)thread);
    tell("orphan", number);
  } else if (call->path && result >= 0) {
    tell(call->kind == STAT ? "stat" : "open", call->path);
  } else if (call->path && (result == -ENOENT || result == -ENOTDIR)) {
    tell(call->kind == MAKE ? "make" : "miss", call->path);
  } else if (call->path) {
    tell("stat", call->path);  // it is there: EACCES, EINVAL of readlink, and the like
  }
  free(call->path);
  *call = (struct call){0};
}

static void at_syscall(pid_t thread) {
  struct ptrace_syscall_info info = {0};
  struct call* call = &calls[thread % THREADS];
  if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0) return;
  if (info.op == PTRACE_SYSCALL_INFO_ENTRY) entered(thread, call, &info);
  if (info.op == PTRACE_SYSCALL_INFO_EXIT) left(thread, call, info.exit.rval);
}

static void ended(pid_t thread, int status) {
  char text[32];
  snprintf(text, sizeof text, "%d %d", (int)thread, status);
  tell("exit", text);
}

// Handle one stop, and say which signal the thread shall get as it goes on; -1: let it wait.
static int stopped(pid_t thread, int status) {
  int sig = WSTOPSIG(status), event = status >> 16;
  if (sig == (SIGTRAP | 0x80)) {
    at_syscall(thread);
    return 0;
  }
  if (event == PTRACE_EVENT_STOP)
    return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU ? -1 : 0;
  return event ? 0 : sig;
}

int main(void) {
  const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                       PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
  int status;
  if (ptrace(PTRACE_SEIZE, 1, NULL, options) != 0 || ptrace(PTRACE_INTERRUPT, 1, NULL, NULL) != 0) {
    perror("ptrace");
    return 1;
  }
  if (waitpid(1, &status, __WALL) != 1) return 1;
  ptrace(PTRACE_SYSCALL, 1, NULL, 0L);
  if (write(1, "ready\n", 6) != 6) return 1;
  for (;;) {
    pid_t thread = waitpid(-1, &status, __WALL);
    if (thread < 0 && errno == EINTR) continue;
    if (thread < 0) return 0;
    if (!WIFSTOPPED(status)) {
      ended(thread, status);
      continue;
    }
    int sig = stopped(thread, status);
    ptrace(sig < 0 ? PTRACE_LISTEN : PTRACE_SYSCALL, thread, NULL, sig < 0 ? 0L : (long)sig);
  }
}
