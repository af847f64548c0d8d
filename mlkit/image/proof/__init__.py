"""The proof: how original and result behave, compared, and what a diagnosis finds."""
