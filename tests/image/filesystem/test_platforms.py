"""Images of several platforms: this machine's is taken, and the rest is named."""

from __future__ import annotations

import json

import pytest
from image.archives import Member, layer, layout

from mlkit.errors import BadData
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.platforms import here
from mlkit.image.proof.findings import of_index

FOREIGN = {"os": "linux", "architecture": "riscv64"}
ATTESTATION = {
    "platform": {"os": "unknown", "architecture": "unknown"},
    "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
}


def index(tmp_path, *more, own=True):
    """Write a layout whose index has further entries, each before the image of this machine."""
    layout(tmp_path, layer(Member("a", "1")), config={"Cmd": ["/a"]})
    place = tmp_path / "index.json"
    (entry,) = json.loads(place.read_text())["manifests"]
    entry["platform"] = {"os": "linux", "architecture": here()}
    entries = [{**entry, **each} for each in more] + ([entry] if own else [])
    place.write_text(json.dumps({"manifests": entries}))
    return tmp_path


def test_the_image_of_this_machine_is_taken_and_the_rest_is_named(tmp_path):
    variant = {"os": "linux", "architecture": "arm", "variant": "v7"}
    path = index(tmp_path, {"platform": FOREIGN}, ATTESTATION, {"platform": variant})
    with open_image(path) as image:
        assert image.others == ("attestation-manifest", "linux/arm/v7", "linux/riscv64")
        (note,) = of_index(image.others)
        assert "linux/riscv64: they are not in the result" in note.observed
    assert of_index(()) == []


def test_an_index_without_an_image_for_this_machine_names_what_it_has(tmp_path):
    windows = {"platform": {"os": "windows", "architecture": here()}}
    path = index(tmp_path, {"platform": FOREIGN}, windows, ATTESTATION, own=False)
    with pytest.raises(BadData, match=f"no image for linux/{here()}") as found, open_image(path):
        pass
    assert f"attestation-manifest, linux/riscv64, windows/{here()}" in str(found.value)


@pytest.mark.parametrize(
    "entry", [7, None, {"platform": 7}, {"annotations": [1], "platform": FOREIGN}, {"digest": 7}]
)
def test_odd_entries_are_bad_data(tmp_path, entry):
    path = index(tmp_path)
    (path / "index.json").write_text(json.dumps({"manifests": [entry]}))
    with pytest.raises(BadData), open_image(path):
        pass
