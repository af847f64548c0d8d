"""Add the amounts up by shop."""

totals = {}
for _shop, _amount in sales:
    totals[_shop] = round(totals.get(_shop, 0) + _amount, 2)
_lines = [f"{shop:<10} {total:>10.2f}" for shop, total in sorted(totals.items())]
report = "\n".join(["Sales by shop", *_lines, f"{'all':<10} {sum(totals.values()):>10.2f}"])
print(report)
