// Tell what a container is like from within, in lines `KEY TAB VALUE`; newlines are escaped.
//   inspector processes   from a sidecar in the process namespace of the app:
//       process   PID PPID STATE UID GID SIGCGT SIGBLK
//       command, directory, variable   PID and the text
//   inspector look NAME...   run in the container itself, as its user:
//       certificates, zone, user, and the addresses of localhost, of the host, and of each NAME
//   inspector both   processes, a line `look`, and what `look` reports
#include <ctype.h>
#include <dirent.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char* const BUNDLES[] = {"/etc/ssl/certs/ca-certificates.crt",
                                      "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};
static const time_t INSTANTS[] = {1705320000, 1721044800};  // January and July of 2024

static void say(const char* text, size_t size) {
  for (size_t at = 0; at < size; ++at) {
    if (text[at] == '\n' || text[at] == '\\') printf("\\x%02x", (unsigned char)text[at]);
    else putchar(text[at]);
  }
}

// Read a file of /proc, whose size nobody knows; the caller frees it.
static char* slurp(const char* path, size_t* size) {
  FILE* stream = fopen(path, "r");
  char* data = NULL;
  *size = 0;
  while (stream) {
    char* more = realloc(data, *size + 4097);
    if (!more) exit(1);
    data = more;
    size_t got = fread(data + *size, 1, 4096, stream);
    *size += got;
    data[*size] = 0;
    if (got == 0) break;
  }
  if (stream) fclose(stream);
  return data;
}

static void field(const char* status, const char* name) {
  const char* at = status ? strstr(status, name) : NULL;
  char word[64] = "-";
  if (at) sscanf(at + strlen(name), "%63s", word);
  printf(" %s", word);
}

static void status(const char* pid) {
  static const char* const NAMES[] = {
      "\nPPid:", "\nState:", "\nUid:", "\nGid:", "\nSigCgt:", "\nSigBlk:"};
  char path[300];
  size_t size;
  snprintf(path, sizeof path, "/proc/%s/status", pid);
  char* text = slurp(path, &size);
  if (!text) return;
  printf("process\t%s", pid);
  for (size_t each = 0; each < sizeof NAMES / sizeof *NAMES; ++each) field(text, NAMES[each]);
  putchar('\n');
  free(text);
}

// Print the texts of a file that NUL bytes part, each by itself or joined by spaces.
static void texts(const char* pid, const char* file, const char* key, int joined) {
  char path[300];
  size_t size;
  snprintf(path, sizeof path, "/proc/%s/%s", pid, file);
  char* data = slurp(path, &size);
  for (char* at = data; data && at < data + size; at += strlen(at) + 1) {
    if (!joined || at == data) printf("%s\t%s ", key, pid);
    if (joined && at != data) putchar(' ');
    say(at, strlen(at));
    if (!joined) putchar('\n');
  }
  if (joined && data && size) putchar('\n');
  free(data);
}

static void directory(const char* pid) {
  char path[300], target[4096];
  snprintf(path, sizeof path, "/proc/%s/cwd", pid);
  ssize_t size = readlink(path, target, sizeof target);
  if (size <= 0) return;
  printf("directory\t%s ", pid);
  say(target, (size_t)size);
  putchar('\n');
}

static int processes(void) {
  DIR* folder = opendir("/proc");
  struct dirent* entry;
  if (!folder) return 1;
  while ((entry = readdir(folder))) {
    if (!isdigit((unsigned char)entry->d_name[0]) || atoi(entry->d_name) == getpid()) continue;
    status(entry->d_name);
    texts(entry->d_name, "cmdline", "command", 1);
    texts(entry->d_name, "environ", "variable", 0);
    directory(entry->d_name);
  }
  closedir(folder);
  return 0;
}

static void certificates(void) {
  const char* path = getenv("SSL_CERT_FILE");
  for (size_t each = 0; !path && each < sizeof BUNDLES / sizeof *BUNDLES; ++each)
    if (access(BUNDLES[each], R_OK) == 0) path = BUNDLES[each];
  size_t size = 0;
  int count = 0;
  char* data = path ? slurp(path, &size) : NULL;
  for (char* at = data; at && (at = strstr(at, "-----BEGIN CERTIFICATE-----")); ++at) ++count;
  printf("certificates\t%d\n", count);
  free(data);
}

static void zone(void) {
  char text[64];
  printf("zone\t");
  for (size_t each = 0; each < sizeof INSTANTS / sizeof *INSTANTS; ++each) {
    strftime(text, sizeof text, "%H:%M %z %Z", localtime(&INSTANTS[each]));
    printf(each ? ", %s" : "%s", text);
  }
  putchar('\n');
}

static int before(const void* a, const void* b) { return strcmp(a, b); }

static void address(const char* key, const char* name) {
  struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
  char places[16][64];
  size_t count = 0;
  int code = getaddrinfo(name, NULL, &hints, &found);
  printf("address of %s\t", key);
  if (code) printf("%s", gai_strerror(code));
  for (struct addrinfo* each = found; each && count < 16; each = each->ai_next)
    if (getnameinfo(each->ai_addr, each->ai_addrlen, places[count], sizeof *places, NULL, 0,
                    NI_NUMERICHOST) == 0)
      ++count;
  qsort(places, count, sizeof *places, before);
  for (size_t each = 0; each < count; ++each) printf(each ? " %s" : "%s", places[each]);
  putchar('\n');
  if (found) freeaddrinfo(found);
}

static void user(void) {
  struct passwd* entry = getpwuid(getuid());
  printf("user\t%d %d %s %s\n", (int)getuid(), (int)getgid(), entry ? entry->pw_name : "-",
         entry ? entry->pw_dir : "-");
}

int main(int argc, char** argv) {
  char host[256] = "";
  if (argc == 2 && strcmp(argv[1], "processes") == 0) return processes();
  if (argc == 2 && strcmp(argv[1], "both") == 0) {
    processes();
    puts("look");
    fflush(stdout);  // the libraries of an image may end the search for addresses
  } else if (argc < 2 || strcmp(argv[1], "look") != 0) {
    return 64;
  }
  certificates();
  zone();
  user();
  address("localhost", "localhost");
  if (gethostname(host, sizeof host - 1) == 0) address("the host", host);
  for (int each = 2; each < argc; ++each) address(argv[each], argv[each]);
  return 0;
}
