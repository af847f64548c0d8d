"""The page of `mlkit bandit evaluate --report`: one self-contained HTML file with pictures."""
