// A preforking server: its children end when they take themselves for orphans.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
static void serve(void) {
  int yes = 1, server = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(3000)};
  setsockopt(server, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
  if (bind(server, (void *)&a, sizeof a) || listen(server, 16)) exit(2);
  alarm(0);
  for (;;) {
    if (getppid() == 1) _exit(1);
    int c = accept(server, NULL, NULL);
    char in[4096]; const char *out = "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
    if (read(c, in, sizeof in) > 0 && write(c, out, strlen(out)) < 0) perror("write");
    close(c);
  }
}
int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  for (int i = 0; i < 2; ++i) if (fork() == 0) { usleep(200000); serve(); }
  printf("master pid %d\n", getpid());
  int status; wait(&status);
  puts("exit status 1");
  return 1;
}
