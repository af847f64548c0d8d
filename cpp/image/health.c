// Ask a server of this container whether it is well, as curl and wget do in health checks:
//   health [-any] [-head|-spider] [-follow] [-time SECONDS] http://HOST[:PORT][/PATH]
// HOST is localhost or an address. -spider asks with HEAD, and with GET where that is not allowed.
// Exit 0: a status below 400, or any with -any; else 1.
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOPS = 20, HEAD = 16384, NAME = 256 };

struct target {
  char host[NAME], port[6], path[4096];
};

static int any, head_only, spider, follow;

// Read http://HOST[:PORT][/PATH], or a path on the same server.
static int read_url(const char* url, struct target* target) {
  if (url[0] == '/' && target->host[0])
    return snprintf(target->path, sizeof target->path, "%s", url) < (int)sizeof target->path;
  if (strncasecmp(url, "http://", 7) != 0) return 0;
  url += 7;
  size_t length;
  int bracketed = *url == '[';
  url += bracketed;
  length = strcspn(url, bracketed ? "]" : ":/?#");
  if (length == 0 || length >= sizeof target->host) return 0;
  snprintf(target->host, sizeof target->host, "%.*s", (int)length, url);
  url += length + (size_t)(bracketed && url[length] == ']');
  snprintf(target->port, sizeof target->port, "80");
  if (*url == ':') {
    length = strspn(url + 1, "0123456789");
    if (length == 0 || length >= sizeof target->port) return 0;
    snprintf(target->port, sizeof target->port, "%.*s", (int)length, url + 1);
    url += 1 + length;
  }
  length = strcspn(url, "#");
  const char* slash = *url == '/' ? "" : "/";
  int size = snprintf(target->path, sizeof target->path, "%s%.*s", slash, (int)length, url);
  return size < (int)sizeof target->path;
}

static int connected(int family, const void* address, socklen_t size) {
  int server = socket(family, SOCK_STREAM, 0);
  if (server >= 0 && connect(server, address, size) == 0) return server;
  if (server >= 0) close(server);
  return -1;
}

static int reach4(const char* host, const char* port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) return -1;
  return connected(AF_INET, &address, sizeof address);
}

static int reach6(const char* host, const char* port) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET6, host, &address.sin6_addr) != 1) return -1;
  return connected(AF_INET6, &address, sizeof address);
}

static int reach(const struct target* target) {
  int local = strcasecmp(target->host, "localhost") == 0;
  int server = reach6(local ? "::1" : target->host, target->port);
  return server >= 0 ? server : reach4(local ? "127.0.0.1" : target->host, target->port);
}

static int ask(int server, const struct target* target) {
  char text[HEAD];
  const char *left = strchr(target->host, ':') ? "[" : "", *right = *left ? "]" : "";
  const char* colon = strcmp(target->port, "80") ? ":" : "";
  int size = snprintf(text, sizeof text,
                      "%s %s HTTP/1.1\r\nHost: %s%s%s%s%s\r\nUser-Agent: mlkit-health\r\n"
                      "Accept: */*\r\nConnection: close\r\n\r\n",
                      head_only ? "HEAD" : "GET", target->path, left, target->host, right, colon,
                      *colon ? target->port : "");
  return size < (int)sizeof text && send(server, text, (size_t)size, MSG_NOSIGNAL) == size;
}

// Read the answer's head: all that is needed, whatever follows.
static int read_head(int server, char* text) {
  size_t have = 0;
  while (have < HEAD - 1) {
    ssize_t got = recv(server, text + have, HEAD - 1 - have, 0);
    if (got <= 0) break;
    text[have += (size_t)got] = 0;
    if (strstr(text, "\r\n\r\n")) return 1;
  }
  text[have] = 0;
  return 0;
}

static int status_of(const char* text) {
  int status = 0;
  return sscanf(text, "HTTP/%*d.%*d %3d", &status) == 1 ? status : 0;
}

static int moved(char* text, struct target* target) {
  char* line = strcasestr(text, "\r\nlocation:");
  if (!line) return 0;
  line += strlen("\r\nlocation:");
  line += strspn(line, " \t");
  line[strcspn(line, " \t\r\n")] = 0;
  return read_url(line, target);
}

static int well(struct target* target) {
  static char text[HEAD];
  for (int hop = 0; hop <= HOPS; ++hop) {
    int server = reach(target);
    int answered = server >= 0 && ask(server, target) && read_head(server, text);
    if (server >= 0) close(server);
    int status = answered ? status_of(text) : 0;
    if (!status) return 0;
    if (spider && head_only && (status == 405 || status == 501)) {
      head_only = 0;
      continue;
    }
    if (status >= 400) return any;
    if (!follow || status < 300) return 1;
    if (!moved(text, target)) return 0;
  }
  return 0;
}

int main(int argc, char** argv) {
  struct target target = {0};
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; ++at) {
    if (strcmp(argv[at], "-any") == 0) any = 1;
    else if (strcmp(argv[at], "-head") == 0) head_only = 1;
    else if (strcmp(argv[at], "-spider") == 0) spider = head_only = 1;
    else if (strcmp(argv[at], "-follow") == 0) follow = 1;
    else if (strcmp(argv[at], "-time") == 0 && at + 1 < argc) alarm((unsigned)atoi(argv[++at]));
    else return 64;
  }
  if (at != argc - 1 || !read_url(argv[at], &target)) {
    fprintf(stderr, "health: not understood: %s\n", at < argc ? argv[at] : "");
    return 64;
  }
  signal(SIGPIPE, SIG_IGN);
  return well(&target) ? 0 : 1;
}
