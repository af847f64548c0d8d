// A server whose routes load something late, each in another way.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <iconv.h>
#include <locale.h>
#include <netdb.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char body[4096];

static void say(const char *text) { snprintf(body, sizeof body, "%s", text ? text : strerror(errno)); }

static void library(const char *name, const char *function) {
  void *handle = dlopen(name, RTLD_NOW);
  const char *(*call)(void) = handle ? (const char *(*)(void))dlsym(handle, function) : NULL;
  say(call ? call() : dlerror());
}

static void names(void) {
  struct addrinfo *found = NULL;
  struct passwd *user = getpwnam("nobody");
  struct group *group = getgrgid(0);
  int code = getaddrinfo("localhost", "80", NULL, &found);
  snprintf(body, sizeof body, "%d %s %s %d", user ? (int)user->pw_uid : -1,
           group ? group->gr_name : "-", gai_strerror(code), found ? found->ai_family : -1);
  if (found) freeaddrinfo(found);
}

static void charset(void) {
  char in[] = "\xa4\xa2", out[16] = "", *from = in, *to = out;
  size_t have = 2, room = sizeof out - 1;
  iconv_t converter = iconv_open("UTF-8", "EUC-JP");
  if (converter == (iconv_t)-1 || iconv(converter, &from, &have, &to, &room) == (size_t)-1)
    return say(NULL);
  iconv_close(converter);
  say(out);
}

static void spoken(void) {
  struct tm day = {.tm_year = 124, .tm_wday = 1};
  const char *found = setlocale(LC_TIME, "de_DE.UTF-8");
  size_t size = strftime(body, sizeof body, "%A ", &day);
  snprintf(body + size, sizeof body - size, "%s", found ? found : "no locale");
  setlocale(LC_TIME, "C");
}

static void zone(void) {
  time_t then = 1720000000;
  setenv("TZ", "Asia/Tokyo", 1);
  tzset();
  strftime(body, sizeof body, "%F %T %Z", localtime(&then));
}

static void command(void) {
  FILE *pipe = popen("printf 'b\\na\\n' | sort | head -n 1", "r");
  size_t size = pipe ? fread(body, 1, sizeof body - 1, pipe) : 0;
  body[size] = 0;
  if (pipe) pclose(pipe);
}

static void file(const char *path) {
  FILE *stream = fopen(path, "r");
  if (!stream) return say(NULL);
  body[fread(body, 1, sizeof body - 1, stream)] = 0;
  fclose(stream);
}

static void raw(void) {
  int made = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  say(made < 0 ? strerror(errno) : "raw");
  if (made >= 0) close(made);
}

static void links(void) {
  struct stat a = {0}, b = {0};
  if (stat("/opt/late/one", &a) || stat("/opt/late/two", &b)) return say(NULL);
  snprintf(body, sizeof body, "%d %d", (int)a.st_nlink, a.st_ino == b.st_ino);
}

static void answer(const char *route) {
  body[0] = 0;
  if (!strcmp(route, "/soname")) library("libz.so.1", "zlibVersion");
  else if (!strcmp(route, "/path")) library("/usr/local/lib/late/plugin.so", "plugin_name");
  else if (!strcmp(route, "/names")) names();
  else if (!strcmp(route, "/charset")) charset();
  else if (!strcmp(route, "/spoken")) spoken();
  else if (!strcmp(route, "/zone")) zone();
  else if (!strcmp(route, "/command")) command();
  else if (!strcmp(route, "/config")) file("/etc/late/config");
  else if (!strcmp(route, "/package")) file("/usr/share/common-licenses/BSD");
  else if (!strcmp(route, "/raw")) raw();
  else if (!strcmp(route, "/links")) links();
  else say("hello");
}

static void stop(int number) { _exit(number == SIGTERM ? 0 : 1); }

int main(void) {
  int yes = 1, server = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(8000)};
  signal(SIGTERM, stop);
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(server, (void *)&here, sizeof here) || listen(server, 16)) return 2;
  for (;;) {
    char in[4096] = "", route[256] = "/", out[8192];
    int client = accept(server, NULL, NULL);
    if (read(client, in, sizeof in - 1) > 0) {
      sscanf(in, "%*s %255s", route);
      answer(route);
      int size = snprintf(out, sizeof out, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                          strlen(body), body);
      if (write(client, out, (size_t)size) < 0) perror("write");
    }
    close(client);
  }
}
