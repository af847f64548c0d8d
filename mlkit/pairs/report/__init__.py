"""Reports: one self-contained HTML page of a fit, a backtest or a sweep.

The pictures are SVG by matplotlib, the page is Jinja2. Nothing is fetched and no script runs.
"""
