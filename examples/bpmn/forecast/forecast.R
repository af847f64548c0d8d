# Fit a trend with a yearly season, and predict the next months.
.known <- data.frame(month = seq_along(visitors), visitors = unlist(visitors))
.season <- visitors ~ month + sin(2 * pi * month / 12) + cos(2 * pi * month / 12)
.fit <- lm(.season, .known)
.ahead <- data.frame(month = nrow(.known) + seq_len(months))
forecast <- as.list(round(unname(predict(.fit, .ahead))))
r_squared <- round(summary(.fit)$r.squared, 4)
cat("R squared", r_squared, "\n")
