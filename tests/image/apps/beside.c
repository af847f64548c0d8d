// A server whose routes read and start what lies beside it, or what it names in parts.
#include <dlfcn.h>
#include <libgen.h>
#include <libintl.h>
#include <locale.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char answer[4096], here[1024];

static void stop(int number) {
  (void)number;
  _exit(0);
}

static void take(FILE *stream, int (*close)(FILE *)) {
  size_t size = stream ? fread(answer, 1, sizeof answer - 8, stream) : 0;
  answer[size] = 0;
  if (!stream || close(stream) || !size) strcat(answer, "FAILED");
}

static void file(const char *path) { take(fopen(path, "r"), fclose); }
static void start(const char *line) { take(popen(line, "r"), pclose); }

static void plugin(const char *path) {
  void *library = dlopen(path, RTLD_NOW);
  const char *(*name)(void) = library ? (const char *(*)(void))dlsym(library, "plugin_name") : NULL;
  strcpy(answer, name ? name() : "FAILED");
}

static void translated(int mine) {
  setlocale(LC_ALL, "de_DE.UTF-8");
  bindtextdomain("later", "/usr/share/locale");
  strcpy(answer, mine ? dgettext("later", "hello") : strerror(2));
  setlocale(LC_ALL, "C");
}

static void route(const char *name) {
  char path[1200];
  strcpy(answer, "hello");
  if (!strcmp(name, "sibling")) snprintf(path, sizeof path, "%s/../share/text", here), file(path);
  if (!strcmp(name, "plugin")) snprintf(path, sizeof path, "%s/../lib/plug.so", here), plugin(path);
  if (!strcmp(name, "helper")) snprintf(path, sizeof path, "%s/helper", here), start(path);
  if (!strcmp(name, "parts")) snprintf(path, sizeof path, "/etc/%s.d/%s", "beside", "one"), file(path);
  if (!strcmp(name, "translated")) translated(1);
  if (!strcmp(name, "message")) translated(0);
  if (!strcmp(name, "pipe")) start("seq 3 | paste -sd+ - | tr 3 4");
  if (!strcmp(name, "python")) start("python3 -c 'import json, decimal; print(json.dumps(1))'");
}

int main(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(8000)};
  ssize_t size = readlink("/proc/self/exe", here, sizeof here - 1);
  here[size > 0 ? size : 0] = 0;
  dirname(here);
  signal(SIGTERM, stop);
  signal(SIGPIPE, SIG_IGN);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&place, sizeof place) || listen(listener, 8)) return 1;
  for (;;) {
    int client = accept(listener, NULL, NULL);
    char request[2048] = "", name[64] = "", head[128];
    if (read(client, request, sizeof request - 1) > 0) {
      sscanf(request, "GET /%63[a-z]", name);
      route(name);
      int failed = strstr(answer, "FAILED") != NULL;
      int length = snprintf(head, sizeof head, "HTTP/1.0 %d Answer\r\nContent-Length: %zu\r\n\r\n",
                            failed ? 500 : 200, strlen(answer));
      if (write(client, head, (size_t)length) < 0 || write(client, answer, strlen(answer)) < 0)
        perror("write");
    }
    close(client);
  }
}
