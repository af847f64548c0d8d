"""Find the product pages that the shop's index links to; `shop` is an address or a folder."""

import re
from pathlib import Path
from urllib.request import urlopen

if "://" in shop:
    with urlopen(f"{shop}/index.html", timeout=10) as _answer:
        _index = _answer.read().decode()
else:
    _index = (Path(execution.folder) / shop / "index.html").read_text()
pages = re.findall(r'class="product" href="([^"]+)"', _index)
print(f"{len(pages)} pages")
