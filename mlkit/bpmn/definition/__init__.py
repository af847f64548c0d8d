"""What is drawn: the frozen definitions of a diagram, and the parser that reads them."""
