# Run one script: `Rscript -e START driver.R FOLDER`, where START reads this file into an environment
# of its own, out of the script's sight. The folder holds job.json, and gets result.json.

# Columns are known by their number: names may be empty, or twice the same.
read_frame <- function(reference) {
  frame <- readRDS(reference[["$rds"]])
  attr(frame, "datalabel") <- attr(frame, "var.labels") <- NULL
  change <- function(numbers, made) for (at in unlist(numbers)) frame[[at]] <<- made(frame[[at]])
  seconds <- function(column) as.difftime(replace(column, is.na(column), NA), units = "secs")
  change(reference$dates, as.Date)
  change(reference$integers, as.integer)
  change(reference$durations, seconds)
  change(reference$ordered, function(column) structure(column, class = c("ordered", "factor")))
  change(reference$whole, exact)
  for (at in names(reference$zones)) change(as.integer(at), function(column)
    structure(as.POSIXct(column, tz = "UTC"), tzone = reference$zones[[at]]))
  if (isTRUE(reference$named)) return(setNames(frame[[2]], frame[[1]]))
  if (!is.null(reference$dim)) return(array(frame[[1]], unlist(reference$dim)))
  frame
}

# Whole numbers beyond 2^53, which no double holds: integer64 where R has it and they fit.
exact <- function(texts) {
  fit <- all(is.na(texts) | abs(as.numeric(texts)) < 2^63)
  if (fit && requireNamespace("bit64", quietly = TRUE)) return(bit64::as.integer64(texts))
  as.character(texts)
}

from_json <- function(value) {
  if (is.null(value) || !is.list(value)) return(value)
  tag <- names(value)
  if ("$rds" %in% tag) return(read_frame(value))
  if (length(value) == 1 && !is.null(tag)) {
    content <- value[[1]]
    read <- switch(tag,
      "$date" = as.Date(content),
      "$datetime" = as.POSIXct(sub("([+-]\\d\\d):(\\d\\d)$", "\\1\\2", content), tz = "UTC",
                               tryFormats = c("%Y-%m-%dT%H:%M:%OS%z", "%Y-%m-%dT%H:%M:%OS")),
      "$decimal" = as.numeric(content),
      "$duration" = as.difftime(content, units = "secs"),
      "$float" = as.numeric(sub("inf", "Inf", sub("nan", "NaN", content))),
      "$time" = content,
      "$whole" = exact(vapply(content, function(each) c(each, NA_character_)[[1]], "")))
    if (!is.null(read)) return(read)
  }
  parts <- lapply(value, from_json)
  if (!is.null(tag) || length(parts) == 0) return(parts)
  plain <- vapply(parts, function(each) is.atomic(each) && length(each) <= 1, logical(1))
  parts_known <- Filter(Negate(is.null), parts)
  kinds <- unique(vapply(parts_known, function(each) class(each)[1], ""))
  numbers <- all(kinds %in% c("integer", "numeric"))
  if (!all(plain) || (length(kinds) > 1 && !numbers)) return(parts)
  # A list of values of one kind is a vector; null is NA.
  do.call(c, lapply(parts, function(each) if (is.null(each)) NA else each))
}

tagged <- function(tag, text) setNames(list(jsonlite::unbox(text)), tag)

whole <- function(text) if (is.na(text)) NULL else tagged("$integer", text)

scalar <- function(value) {
  if (is.na(value) && !is.nan(value)) return(NULL)
  if (!is.numeric(value) || is.integer(value)) return(jsonlite::unbox(value))
  if (is.nan(value)) return(tagged("$float", "nan"))
  if (is.infinite(value)) return(tagged("$float", if (value > 0) "inf" else "-inf"))
  if (value == round(value) && abs(value) < 1e15) return(jsonlite::unbox(value))
  # toJSON writes 15 digits; a double has 17.
  if (value == round(value) && abs(value) <= 2^53) return(whole(sprintf("%.0f", value)))
  tagged("$float", sprintf("%.17g", value))
}

moment <- function(value) {
  if (is.na(value)) return(NULL)
  if (inherits(value, "Date")) return(tagged("$date", format(value)))
  if (inherits(value, "difftime"))
    return(list("$duration" = jsonlite::unbox(as.numeric(value, units = "secs"))))
  tagged("$datetime", format(value, "%Y-%m-%dT%H:%M:%OS6+00:00", tz = "UTC"))
}

vector_to_json <- function(value, write, single) {
  parts <- lapply(seq_along(value), function(number) write(value[number]))
  if (single) parts[[1]] else parts
}

# What Python must know of the columns of a frame, for pyreadr does not read it.
columns <- function(frame) {
  of <- function(kind) unname(which(vapply(frame, inherits, logical(1), what = kind)))
  having <- function(kind, name) setNames(lapply(of(kind), function(at)
    jsonlite::unbox(c(attr(frame[[at]], name), "")[[1]])), of(kind))
  list(zones = having("POSIXct", "tzone"), units = having("difftime", "units"),
       ordered = of("ordered"), whole = of("integer64"))
}

# What R stores of a value that Python can read, and what the reference records of it: vectors with
# names and arrays are written as the columns of a data frame, for pyreadr reads these.
stored <- function(value) {
  if (is.data.frame(value)) {
    known <- columns(value)
    for (at in known$whole) value[[at]] <- as.character(value[[at]])
    return(list(value, c(list(kind = jsonlite::unbox("data.frame")), known)))
  }
  plain <- !is.object(value) && (is.character(value) || is.numeric(value) || is.logical(value))
  has <- names(attributes(value))
  kind <- if (plain && identical(has, "names")) "named vector" else class(value)[1]
  kept <- list(value, list(kind = jsonlite::unbox(kind)))
  if (!plain || length(value) == 0) return(kept)
  made <- function(...) data.frame(..., stringsAsFactors = FALSE)
  if (identical(has, "dim"))
    return(list(made(value = as.vector(value)), c(kept[[2]], list(dim = dim(value)))))
  if (!identical(has, "names")) return(kept)
  parts <- made(name = names(value), value = unname(value))
  list(parts, c(kept[[2]], list(named = jsonlite::unbox(TRUE))))
}

to_json <- function(value, name) {
  if (is.null(value)) return(NULL)
  if (is.factor(value)) value <- as.character(value)
  single <- length(value) == 1
  if (inherits(value, "AsIs")) {  # I(x), as jsonlite has it: a list also of one value
    class(value) <- setdiff(class(value), "AsIs")
    single <- FALSE
  }
  if (inherits(value, c("Date", "POSIXct", "difftime")) && is.null(dim(value)))
    return(vector_to_json(value, moment, single))
  if (inherits(value, "integer64") && is.null(dim(value)) && is.null(names(value)))
    return(vector_to_json(as.character(value), whole, single))
  plain <- is.character(value) || is.numeric(value) || is.logical(value)
  if (plain && is.null(attributes(value))) return(vector_to_json(value, scalar, single))
  if (is.list(value) && !is.object(value) && !any(startsWith(c(names(value), ""), "$"))) {
    parts <- lapply(value, to_json, name = NULL)
    nested <- !any(vapply(parts, inherits, logical(1), what = "unstorable"))
    if (nested) return(parts)
  }
  if (is.null(name)) return(structure(list(), class = "unstorable"))
  path <- file.path(folder, paste0(match(name, ls(scope)), ".out"))
  kept <- stored(value)
  saveRDS(kept[[1]], path)
  c(list("$rds" = jsonlite::unbox(path)), kept[[2]])
}

bpmn_error <- function(code, message = code) {
  condition <- list(message = message, call = NULL, code = code)
  stop(structure(condition, class = c("bpmn_error", "error", "condition")))
}

folder <- commandArgs(trailingOnly = TRUE)[[2]]
job <- jsonlite::fromJSON(file.path(folder, "job.json"), simplifyVector = FALSE)
offered <- new.env(parent = globalenv())
scope <- new.env(parent = offered)
for (name in names(job$variables)) tryCatch(
  assign(name, from_json(job$variables[[name]]), envir = scope),
  error = function(condition)
    message("warning: ", name, " is not passed to R: ", conditionMessage(condition)))
before <- as.list(scope)
offered$bpmn_error <- bpmn_error
access <- list(
  getVariable = function(name) get0(name, envir = scope, inherits = FALSE),
  setVariable = function(name, value) assign(name, value, envir = scope),
  hasVariable = function(name) exists(name, envir = scope, inherits = FALSE))
offered$execution <- c(access, job$execution, list(
  id = job$instance, processInstanceId = job$instance, element = job$element,
  attempt = job$attempt, key = job$key, folder = job$folder))
if (!is.null(job$task)) offered$task <- c(access, job$task)

result <- tryCatch({
  withCallingHandlers(
    eval(parse(text = job$source, keep.source = FALSE), envir = scope),
    error = function(condition) if (!inherits(condition, "bpmn_error"))
      message("Error: ", conditionMessage(condition)))
  published <- list()
  for (name in ls(scope)) {
    value <- get(name, envir = scope)
    if (is.function(value) || (name %in% names(before) && identical(before[[name]], value))) next
    published[name] <- list(to_json(value, name))
  }
  list(outcome = jsonlite::unbox("completed"), variables = published)
}, bpmn_error = function(condition) list(
  outcome = jsonlite::unbox("error"), code = jsonlite::unbox(as.character(condition$code)),
  message = jsonlite::unbox(conditionMessage(condition))
), error = function(condition) list(
  outcome = jsonlite::unbox("failed"), message = jsonlite::unbox(conditionMessage(condition))))
if (length(result$variables) == 0) result$variables <- NULL
text <- jsonlite::toJSON(result, null = "null", na = "null", digits = 15)
writeLines(text, file.path(folder, "result.json"), useBytes = TRUE)
