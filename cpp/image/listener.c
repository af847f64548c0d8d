// Report which files the processes of a container open: a fanotify sidecar in its process
// namespace, for engines that refuse ptrace. It writes what the tracer writes, as far as it can:
//   ready        process 1 is held: let it go
//   open PATH    opened or executed; the path is where the file is, without links
// It does not see what is only looked at, look-ups that fail, and getppid().
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/fanotify.h>

#include "facts.h"

static void report(const struct fanotify_event_metadata* event) {
  char place[64], path[PATH_SIZE];
  if (event->fd < 0) return;
  snprintf(place, sizeof place, "/proc/self/fd/%d", event->fd);
  ssize_t size = readlink(place, path, sizeof path - 1);
  close(event->fd);
  if (size <= 0 || path[0] != '/') return;
  path[size] = 0;
  tell("open", path);
}

int main(void) {
  static char buffer[1 << 16] __attribute__((aligned(16)));
  const unsigned flags = FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_UNLIMITED_QUEUE;
  const uint64_t events = FAN_OPEN | FAN_OPEN_EXEC | FAN_ONDIR;
  int queue = fanotify_init(flags, O_RDONLY | O_LARGEFILE | O_CLOEXEC);
  if (queue < 0) {
    perror("fanotify_init");
    return 1;
  }
  if (fanotify_mark(queue, FAN_MARK_ADD | FAN_MARK_MOUNT, events, AT_FDCWD, "/proc/1/root") != 0) {
    perror("fanotify_mark");
    return 1;
  }
  if (write(1, "ready\n", 6) != 6) return 1;
  for (;;) {
    ssize_t size = read(queue, buffer, sizeof buffer);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size <= 0) return 1;
    const struct fanotify_event_metadata* event = (const void*)buffer;
    for (; FAN_EVENT_OK(event, size); event = FAN_EVENT_NEXT(event, size)) report(event);
  }
}
