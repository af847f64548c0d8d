// Carry bytes between standard input and output and a TCP port of this network namespace.
//   relay PORT   until the server closes
//   relay        wait forever, to keep a container up
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int write_all(int target, const char* data, ssize_t size) {
  while (size > 0) {
    ssize_t written = write(target, data, (size_t)size);
    if (written <= 0) return -1;
    data += written;
    size -= written;
  }
  return 0;
}

static void carry(int server) {
  static char buffer[65536];
  struct pollfd ends[2] = {{server, POLLIN, 0}, {0, POLLIN, 0}};
  while (poll(ends, 2, -1) > 0) {
    for (int end = 0; end < 2; ++end) {
      if (!ends[end].revents) continue;
      ssize_t size = read(ends[end].fd, buffer, sizeof buffer);
      if (size <= 0) {
        if (end == 0) return;
        ends[1].fd = -1;  // our side has said all: wait for the answer
        shutdown(server, SHUT_WR);
      } else if (write_all(end == 0 ? 1 : server, buffer, size) != 0) {
        return;
      }
    }
  }
}

int main(int argc, char** argv) {
  if (argc < 2)
    for (;;) pause();
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int server = socket(AF_INET, SOCK_STREAM, 0);
  if (server < 0 || connect(server, (struct sockaddr*)&address, sizeof address) != 0) return 1;
  if (write_all(1, "+", 1) != 0) return 1;
  carry(server);
  return 0;
}
