// Facts that a tracer tells: lines on standard output, each one once, written as they occur,
// because a sidecar dies with the container's process 1 and would lose its buffers.
#ifndef MLKIT_IMAGE_FACTS_H
#define MLKIT_IMAGE_FACTS_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FACTS = 1 << 18, PATH_SIZE = 4096 };

static uint64_t seen[FACTS];

static int is_new(const char* line) {
  uint64_t hash = 1469598103934665603u;  // FNV-1a
  for (const char* at = line; *at; ++at) hash = (hash ^ (unsigned char)*at) * 1099511628211u;
  for (size_t tries = 0; tries < FACTS; ++tries) {
    uint64_t* slot = &seen[(hash + tries) % FACTS];
    if (*slot == hash) return 0;
    if (*slot == 0) {
      *slot = hash;
      return 1;
    }
  }
  return 1;
}

static void tell(const char* word, const char* text) {
  char line[PATH_SIZE + 64];
  int size = snprintf(line, sizeof line, "%s %s\n", word, text);
  if (size > 0 && (size_t)size < sizeof line && !strchr(text, '\n') && is_new(line))
    if (write(1, line, (size_t)size) < 0) _exit(1);
}

#endif
