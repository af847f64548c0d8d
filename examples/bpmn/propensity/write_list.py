"""Write the mailing list of the approved campaign into the run's own folder."""

from pathlib import Path

_target = Path("mailing_list.csv").resolve()
_target.write_text("customer\n" + "\n".join(chosen) + "\n")
mailing_list = str(_target)
print(f"{len(chosen)} customers in {_target.name}")
