# A session: loads files and runs their functions for a program that asks, until its pipe is closed.
# Started as `Rscript -e START session.R READ WRITE`, with the numbers of two pipes. A request is a
# length and a value, a list of an operation and its arguments; a reply is a length, a byte (1: done)
# and a value. How values are written is described in mlkit/workers/r_values.py.

KINDS <- c(logical = 1L, integer = 2L, double = 3L, character = 4L, list = 5L, environment = 6L,
           raw = 7L, complex = 8L)

refuse <- function(...) {
  condition <- list(message = paste0(...), call = NULL)
  stop(structure(condition, class = c("refused", "error", "condition")))
}

put <- function(value, out) writeBin(value, out, endian = "little", useBytes = TRUE)

# Which ones are NA, and the texts, each with a zero at its end.
put_text <- function(value, out) {
  value <- as.character(value)
  unknown <- which(is.na(value))
  put(length(unknown), out)
  put(unknown, out)
  put(replace(enc2utf8(value), unknown, ""), out)
}

put_parts <- function(value, out, place) {
  names <- names(value)
  for (at in seq_along(value)) {
    own <- if (is.null(names) || names[[at]] %in% c(NA, "")) paste0("[[", at, "]]")
           else paste0("$", names[[at]])
    put_value(.subset2(value, at), out, paste0(place, own))
  }
}

put_attributes <- function(attributes, out, place) {
  put(length(attributes), out)
  if (length(attributes) == 0) return()
  put_text(names(attributes), out)
  for (each in attributes) put_value(each, out, paste("an attribute of", place))
}

put_value <- function(value, out, place) {
  kind <- if (is.null(value)) 0L else KINDS[typeof(value)]
  # An environment within another value would come back as a copy, and may contain itself.
  if (is.na(kind) || isS4(value) || (kind == 6L && place != "value"))
    refuse(place, ": a ", class(value)[[1]], " cannot be kept")
  attributes <- attributes(value)
  attributes$.internal.selfref <- NULL  # of a data.table, a pointer within this process
  if (kind == 6L) {
    value <- as.list(value, all.names = TRUE, sorted = TRUE)
    attributes <- list(names = names(value))
  }
  put(as.raw(kind), out)
  put(length(value), out)
  if (kind == 4L) put_text(value, out)
  else if (kind %in% 5:6) put_parts(value, out, place)
  else if (kind > 0L) put(as.vector(unclass(value)), out)
  put_attributes(attributes, out, place)
}

take <- function(input, what, count) {
  found <- readBin(input$connection, what, count, endian = "little")
  if (length(found) < count) refuse("the value is damaged")
  found
}

take_count <- function(input) {
  count <- take(input, "integer", 1L)
  if (is.na(count) || count < 0L || count > input$size) refuse("the value is damaged")
  count
}

take_text <- function(input, count) {
  unknown <- take(input, "integer", take_count(input))
  found <- take(input, "character", count)
  Encoding(found) <- "UTF-8"
  found[unknown] <- NA
  found
}

take_attributes <- function(input) {
  count <- take_count(input)
  if (count == 0L) return(NULL)
  names <- take_text(input, count)
  structure(lapply(names, function(each) take_value(input)), names = names)
}

take_value <- function(input) {
  kind <- as.integer(take(input, "raw", 1L))
  if (kind > 8L) refuse("the value is damaged")
  count <- take_count(input)
  parts <- function() lapply(seq_len(count), function(at) take_value(input))
  value <- switch(kind + 1L, NULL, take(input, "logical", count), take(input, "integer", count),
    take(input, "double", count), take_text(input, count), parts(), parts(),
    take(input, "raw", count), take(input, "complex", count))
  attributes <- take_attributes(input)
  if (length(attributes) > 0) attributes(value) <- attributes
  if (kind == KINDS[["environment"]]) list2env(value, parent = globalenv()) else value
}

encoded <- function(value, place) {
  out <- rawConnection(raw(0), "wb")
  on.exit(close(out))
  put_value(value, out, place)
  rawConnectionValue(out)
}

decoded <- function(content) {
  connection <- rawConnection(content, "rb")
  on.exit(close(connection))
  take_value(list(connection = connection, size = length(content)))
}

files <- list()

load <- function(path) {
  scope <- new.env(parent = globalenv())
  sys.source(path, scope, keep.source = TRUE)
  files[[length(files) + 1L]] <<- scope
  defined <- mget(ls(scope), envir = scope)
  list(length(files), names(defined), vapply(defined, mode, "", USE.NAMES = FALSE))
}

call <- function(file, name, arguments)
  do.call(get(name, envir = files[[file]], mode = "function"), arguments, quote = TRUE)

run <- function(...) {
  call(...)
  NULL
}

# One call for each element, so that a batch is one request.
each <- function(file, name, arguments) lapply(arguments, function(one) call(file, name, list(one)))

value <- function(file, name) get0(name, envir = files[[file]], inherits = FALSE)

restore <- function(file, name, value) {
  there <- get0(name, envir = files[[file]], inherits = FALSE)
  if (is.environment(there) && is.environment(value)) {
    # Functions of the file may hold the environment itself: it stays the same one.
    rm(list = ls(there, all.names = TRUE), envir = there)
    list2env(as.list(value, all.names = TRUE), there)
  } else assign(name, value, envir = files[[file]])
  NULL
}

operations <- list(load = load, call = call, run = run, each = each, value = value,
                   restore = restore)

# Where a call was made, as "file.R#12", if it is from a file that was loaded.
location <- function(call) {
  from <- attr(call, "srcref")
  file <- if (!is.null(from)) attr(from, "srcfile")$filename
  if (is.null(file)) NULL else list(file = file, line = as.integer(from)[[1]])
}

# A frame's place is where it was called; the text of a call is that of its first line.
described <- function(calls) {
  places <- lapply(calls, location)
  known <- which(!vapply(places, is.null, NA))
  lines <- vapply(known, function(at) places[[at]]$line, 1L)
  texts <- vapply(known, function(at) deparse(calls[[at]], nlines = 1L)[[1]], "")
  internal <- grepl("^(\\.handleSimpleError|h\\(simpleError)", texts)
  texts[internal] <- "(here)"
  list(lines = lines, files = vapply(known, function(at) places[[at]]$file, ""), calls = texts)
}

perform <- function(request) {
  calls <- NULL
  answer <- tryCatch(
    withCallingHandlers(
      list(TRUE, do.call(operations[[request[[1]]]], request[-1], quote = TRUE)),
      error = function(condition) calls <<- sys.calls()),
    error = function(condition) condition)
  if (!inherits(answer, "condition")) return(answer)
  list(FALSE, c(list(message = conditionMessage(answer), kind = class(answer)[[1]],
                     refused = inherits(answer, "refused")), described(calls)))
}

reply <- function(answer, output) {
  content <- encoded(answer[[2]], "value")
  put(length(content), output)
  put(as.raw(answer[[1]]), output)
  writeBin(content, output)
  flush(output)
}

serve <- function(input, output) repeat {
  size <- readBin(input, "integer", 1L, endian = "little")
  if (length(size) == 0) quit("no")
  request <- tryCatch(decoded(readBin(input, "raw", size)), error = identity)
  answer <- if (!inherits(request, "condition")) perform(request)
            else list(FALSE, list(message = "the value is damaged", kind = "", refused = TRUE))
  tryCatch(reply(answer, output), refused = function(condition)
    reply(list(FALSE, list(message = conditionMessage(condition), kind = "", refused = TRUE)),
          output))
}

pipes <- paste0("/dev/fd/", commandArgs(trailingOnly = TRUE)[2:3])
serve(file(pipes[[1]], "rb", raw = TRUE), file(pipes[[2]], "wb", raw = TRUE))
