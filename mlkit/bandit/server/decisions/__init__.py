"""From a request for a prediction to what is shown, and what is logged of it."""
