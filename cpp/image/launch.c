// Start a command line whose only shell feature is $VAR: expand, then become the command.
//   launch LINE
// Understood: words, 'text', "text $VAR", $VAR, ${VAR}, ${VAR-text} and ${VAR:-text}; outside
// double quotes a value is split at blanks. Patterns in values are not expanded to file names.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAD_LINE = 64, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

static char **words;
static size_t count;
static char *word;  // the word that is being put together; NULL: none has begun
static size_t size;

static void *must(void *memory) {
  if (!memory) _exit(71);
  return memory;
}

static void add(const char *text, size_t length) {
  word = must(realloc(word, size + length + 1));
  memcpy(word + size, text, length);
  size += length;
  word[size] = 0;
}

static void end_word(void) {
  if (!word) return;
  words = must(realloc(words, (count + 2) * sizeof *words));
  words[count++] = word;
  words[count] = NULL;
  word = NULL;
  size = 0;
}

static void add_split(const char *value) {
  while (*value) {
    size_t length = strcspn(value, " \t\n");
    if (length) add(value, length);
    value += length;
    if (*value) end_word();
    value += strspn(value, " \t\n");
  }
}

// Expand what stands after a dollar sign, and give what follows; NULL: not understood.
static const char *variable(const char *at, int quoted) {
  int braced = *at == '{';
  const char *begin = at += braced, *fallback = "";
  if (isdigit((unsigned char)*at)) return NULL;
  while (isalnum((unsigned char)*at) || *at == '_') ++at;
  if (at == begin) return NULL;
  char *name = must(strndup(begin, (size_t)(at - begin)));
  const char *value = getenv(name);
  free(name);
  if (braced && (*at == '-' || (*at == ':' && at[1] == '-'))) {
    if (*at == ':' && value && !*value) value = NULL;
    begin = at += *at == ':' ? 2 : 1;
    at += strcspn(at, "}");
    fallback = must(strndup(begin, (size_t)(at - begin)));
  }
  if (braced && *at++ != '}') return NULL;
  if (!value) value = fallback;
  if (quoted)
    add(value, strlen(value));
  else
    add_split(value);
  return at;
}

static const char *double_quoted(const char *at) {
  add("", 0);
  while (at && *at != '"') {
    size_t length = strcspn(at, "$\"");
    add(at, length);
    at += length;
    if (!*at) return NULL;
    if (*at == '$') at = variable(at + 1, 1);
  }
  return at ? at + 1 : NULL;
}

static const char *single_quoted(const char *at) {
  size_t length = strcspn(at, "'");
  add(at, length);
  return at[length] ? at + length + 1 : NULL;
}

static int split(const char *at) {
  while (at && *at) {
    size_t length = strcspn(at, " \t'\"$");
    if (length) add(at, length);
    at += length;
    switch (*at) {
      case 0: break;
      case '\'': at = single_quoted(at + 1); break;
      case '"': at = double_quoted(at + 1); break;
      case '$': at = variable(at + 1, 0); break;
      default: end_word(); ++at;
    }
  }
  end_word();
  return at != NULL;
}

int main(int argc, char **argv) {
  if (argc != 2 || !split(argv[1])) {
    fprintf(stderr, "launch: not understood: %s\n", argc > 1 ? argv[1] : "");
    return BAD_LINE;
  }
  size_t first = count && strcmp(words[0], "exec") == 0;
  if (first >= count) return 0;  // as a shell does with an empty line
  execvp(words[first], words + first);
  int code = errno == ENOENT || errno == ENOTDIR ? NOT_FOUND : NOT_EXECUTABLE;
  fprintf(stderr, "launch: %s: %s\n", words[first], strerror(errno));
  return code;
}
