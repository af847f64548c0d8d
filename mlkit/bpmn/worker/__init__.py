"""External tasks done on another machine, by the isolated worker processes of mlkit."""
