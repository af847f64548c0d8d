# Drawdowns in R: how far each close is below the highest close of its ticker so far.
#
#   mlkit pairs job test drawdowns.R --on prices.csv
#   mlkit pairs job run drawdowns.R --in bars --out drawdowns --log live/log

state <- list() # the highest close of each ticker; kept with the offsets and the output

below_peak <- function(ticker, close) {
  peaks <- cummax(c(state[[ticker]], close))
  state[[ticker]] <<- tail(peaks, 1)
  1 - close / tail(peaks, length(close))
}

# data is a data.frame of new records, with NA where a record has no value.
process <- function(data) {
  data <- data[!is.na(data$close), ]
  for (ticker in unique(data$ticker)) {
    rows <- data$ticker == ticker
    data$drawdown[rows] <- below_peak(ticker, data$close[rows])
  }
  data[c("time", "ticker", "close", "drawdown")]
}
