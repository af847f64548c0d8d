// Start a command line whose only shell feature is $VAR: expand, then become the command.
//   launch LINE
//   launch -script TEXT ARGUMENT...   lines that set variables, and one that starts the command:
//       NAME=WORD, export NAME=WORD, export NAME, exec WORD..., where "$@" stands for ARGUMENT...
// Understood: words, 'text', "text $VAR", $VAR, ${VAR}, ${VAR-text} and ${VAR:-text}; outside
// double quotes a value is split at blanks. Patterns in values are not expanded to file names.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAD_LINE = 64, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

static char** words;
static size_t count;
static char* word;  // the word that is being put together; NULL: none has begun
static size_t size;
static int whole;  // values are not split: they are assigned
static char** arguments;

struct variable {
  char *name, *value;
};
static struct variable* own;  // variables that are not exported
static size_t owned;

static void* must(void* memory) {
  if (!memory) _exit(71);
  return memory;
}

static void add(const char* text, size_t length) {
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

static struct variable* find(const char* name) {
  for (size_t at = 0; at < owned; ++at)
    if (strcmp(own[at].name, name) == 0) return own + at;
  return NULL;
}

static const char* value_of(const char* name) {
  const struct variable* found = find(name);
  return found ? found->value : getenv(name);
}

static void add_split(const char* value) {
  while (*value) {
    size_t length = strcspn(value, " \t\n");
    if (length) add(value, length);
    value += length;
    if (*value) end_word();
    value += strspn(value, " \t\n");
  }
}

// Expand what stands after a dollar sign, and give what follows; NULL: not understood.
static const char* variable(const char* at, int quoted) {
  int braced = *at == '{';
  const char *begin = at += braced, *fallback = "";
  if (isdigit((unsigned char)*at)) return NULL;
  while (isalnum((unsigned char)*at) || *at == '_') ++at;
  if (at == begin) return NULL;
  char* name = must(strndup(begin, (size_t)(at - begin)));
  const char* value = value_of(name);
  free(name);
  if (braced && (*at == '-' || (*at == ':' && at[1] == '-'))) {
    if (*at == ':' && value && !*value) value = NULL;
    begin = at += *at == ':' ? 2 : 1;
    at += strcspn(at, "}");
    fallback = must(strndup(begin, (size_t)(at - begin)));
  }
  if (braced && *at++ != '}') return NULL;
  if (!value) value = fallback;
  if (quoted || whole) add(value, strlen(value));
  else add_split(value);
  return at;
}

static void add_arguments(void) {
  for (char** at = arguments; at && *at; ++at) {
    add(*at, strlen(*at));
    end_word();
  }
}

static const char* double_quoted(const char* at) {
  if (strncmp(at, "$@\"", 3) == 0) {
    add_arguments();
    return at + 3;
  }
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

static const char* single_quoted(const char* at) {
  size_t length = strcspn(at, "'");
  add(at, length);
  return at[length] ? at + length + 1 : NULL;
}

static int split(const char* at) {
  while (at && *at) {
    size_t length = strcspn(at, " \t'\"$");
    if (length) add(at, length);
    at += length;
    switch (*at) {
      case 0:
        break;
      case '\'':
        at = single_quoted(at + 1);
        break;
      case '"':
        at = double_quoted(at + 1);
        break;
      case '$':
        at = variable(at + 1, 0);
        break;
      default:
        end_word();
        ++at;
    }
  }
  end_word();
  return at != NULL;
}

static int start(void) {
  size_t first = count && strcmp(words[0], "exec") == 0;
  if (first >= count) return 0;  // as a shell does with an empty line
  execvp(words[first], words + first);
  int code = errno == ENOENT || errno == ENOTDIR ? NOT_FOUND : NOT_EXECUTABLE;
  fprintf(stderr, "launch: %s: %s\n", words[first], strerror(errno));
  return code;
}

// Set a variable: exported if it was or is to be; the shell keeps the others to itself.
static void set(const char* name, const char* value, int exported) {
  struct variable* found = find(name);
  if (exported || (!found && getenv(name))) {
    if (setenv(name, value, 1) != 0) _exit(71);
    if (found) *found->name = 0;
  } else if (found) {
    found->value = must(strdup(value));
  } else {
    own = must(realloc(own, (owned + 1) * sizeof *own));
    own[owned++] = (struct variable){must(strdup(name)), must(strdup(value))};
  }
}

// NAME=WORD, or NAME alone, which exports what it holds.
static int assign(char* line, int exported) {
  char* equals = strchr(line, '=');
  const struct variable* found = find(line);
  if (!equals) {
    if (found) set(line, found->value, 1);
    return 1;
  }
  *equals = 0;
  whole = 1;
  int understood = split(equals + 1);
  whole = 0;
  set(line, count ? words[0] : "", exported);
  count = 0;
  return understood;
}

static int script(char* line) {
  int exported = strncmp(line, "export ", 7) == 0;
  if (strncmp(line, "exec ", 5) != 0) return assign(line + 7 * exported, exported) ? -1 : BAD_LINE;
  return split(line) ? start() : BAD_LINE;
}

static int run_script(char* text) {
  for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    int code = script(line);
    if (code == BAD_LINE) fprintf(stderr, "launch: not understood: %s\n", line);
    if (code >= 0) return code;
  }
  return 0;
}

int main(int argc, char** argv) {
  if (argc > 2 && strcmp(argv[1], "-script") == 0) {
    arguments = argv + 3;
    return run_script(argv[2]);
  }
  if (argc != 2 || !split(argv[1])) {
    fprintf(stderr, "launch: not understood: %s\n", argc > 1 ? argv[1] : "");
    return BAD_LINE;
  }
  return start();
}
