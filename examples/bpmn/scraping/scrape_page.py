"""Read the name and the price from one page."""

import re
from pathlib import Path
from urllib.request import urlopen

try:
    if "://" in shop:
        with urlopen(f"{shop}/{page}", timeout=10) as _answer:
            text = _answer.read().decode()
    else:
        text = (Path(execution.folder) / shop / page).read_text()
except OSError as error:
    raise BpmnError("NO_PAGE", f"{page}: {error}")
_price = re.search(r'class="price">([\d.]+)<', text)
if _price is None:
    raise BpmnError("NO_PRICE", f"{page}: no price on the page")
offer = {"name": re.search(r"<h1>(.*?)</h1>", text)[1], "price": float(_price[1])}
print(offer["name"], offer["price"])
