# Run one script: `Rscript driver.R FOLDER`. The folder holds job.json, and gets result.json.

read_frame <- function(reference) {
  frame <- readRDS(reference[["$rds"]])
  for (name in unlist(reference$times)) frame[[name]] <- as.POSIXct(frame[[name]], tz = "UTC")
  for (name in unlist(reference$dates)) frame[[name]] <- as.Date(frame[[name]])
  frame
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
      "$time" = content)
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

scalar <- function(value) {
  if (is.na(value) && !is.nan(value)) return(NULL)
  if (!is.numeric(value) || is.integer(value)) return(jsonlite::unbox(value))
  if (is.nan(value)) return(tagged("$float", "nan"))
  if (is.infinite(value)) return(tagged("$float", if (value > 0) "inf" else "-inf"))
  if (value == round(value) && abs(value) < 1e15) return(jsonlite::unbox(value))
  # toJSON writes 15 digits; a double has 17.
  tagged("$float", sprintf("%.17g", value))
}

to_json <- function(value, name) {
  if (is.null(value)) return(NULL)
  if (inherits(value, "Date") && length(value) == 1) return(tagged("$date", format(value)))
  if (inherits(value, "POSIXct") && length(value) == 1)
    return(tagged("$datetime", format(value, "%Y-%m-%dT%H:%M:%OS6+00:00", tz = "UTC")))
  if (is.factor(value)) value <- as.character(value)
  plain <- is.character(value) || is.numeric(value) || is.logical(value)
  if (plain && is.null(attributes(value))) {
    if (length(value) == 1) return(scalar(value))
    return(lapply(value, scalar))
  }
  if (is.list(value) && !is.object(value)) {
    parts <- lapply(value, to_json, name = NULL)
    nested <- !any(vapply(parts, inherits, logical(1), what = "unstorable"))
    if (nested) return(parts)
  }
  if (is.null(name)) return(structure(list(), class = "unstorable"))
  path <- file.path(folder, paste0(name, ".rds"))
  saveRDS(value, path)
  list("$rds" = jsonlite::unbox(path), kind = jsonlite::unbox(class(value)[1]))
}

bpmn_error <- function(code, message = code) {
  condition <- list(message = message, call = NULL, code = code)
  stop(structure(condition, class = c("bpmn_error", "error", "condition")))
}

folder <- commandArgs(trailingOnly = TRUE)[[1]]
job <- jsonlite::fromJSON(file.path(folder, "job.json"), simplifyVector = FALSE)
scope <- new.env(parent = globalenv())
for (name in names(job$variables))
  assign(name, from_json(job$variables[[name]]), envir = scope)
before <- as.list(scope)
execution <- list(
  id = job$instance, element = job$element, attempt = job$attempt, key = job$key,
  folder = job$folder,
  getVariable = function(name) get0(name, envir = scope, inherits = FALSE),
  setVariable = function(name, value) assign(name, value, envir = scope))

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
