"""Several platforms in one call: one index of all results, or none."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlkit.cli.image import slim_result
from mlkit.cli.image.ci import remarks_of
from mlkit.cli.image.side_outputs import SideOutputs
from mlkit.cli.image.slim_run import Outcome, slim_index
from mlkit.errors import BadData
from mlkit.image.filesystem import build
from mlkit.image.filesystem.index import Dropped, Listed, Selection
from mlkit.image.filesystem.output import Output
from mlkit.image.filesystem.platforms import Refused
from mlkit.image.report.gate import read_known
from mlkit.image.report.markdown import summary
from mlkit.image.result import Built
from mlkit.image.run.trace import Trace

BAD = {"what": "/", "original": "200", "candidate": "500", "effect": "broken"}
FINDING = {"code": "pid1-dies", "observed": "it dies", "cure": "an init"}


@dataclass(frozen=True)
class Done(Outcome):
    """What a slimming came to, of which only the verdict matters."""

    verdict: str = "equal"

    def fields(self, image, place):
        assert place is None
        return {
            "image": image, "result": None, "digest": None, "attached": None, "id": None,
            "verdict": self.verdict, "failures": self.failures, "warnings": [],
            "findings": [FINDING], "differences": [BAD] if self.verdict == "broken" else [],
            "size": {"before": 200, "after": 20}, "packages": {"before": 9, "kept": []},
            "reach": {"text": "1 asked"}, "vulnerabilities": None,
        }  # fmt: skip


@dataclass(frozen=True)
class Job:
    """Slims images as told: by a verdict or an error for each platform."""

    folder: Path
    outcomes: dict[str, Any]
    target: Output
    beside: SideOutputs
    image: str = "app"
    compression: str = "none"
    dry_run: bool = False

    @contextlib.contextmanager
    def slim(self, platform, phase):
        phase("proof")
        told = self.outcomes[platform.name]
        if isinstance(told, Exception):
            raise told
        layer = build.write_layer([build.file("app", b"1")], self.folder / "layer.tar")
        document = build.document([layer], {}, platform.platform["architecture"])
        result = SimpleNamespace(
            built=Built(document, [layer], "sha256:1", "none", None), trace=Trace()
        )
        good = told == "equal"
        yield Done(None, None, result, [], good, '{"bill": 1}', None, None, told)


def platform(architecture):
    return Listed({"os": "linux", "architecture": architecture}, {})


SELECTION = Selection(
    [platform("amd64"), platform("arm64")],
    [Refused("linux/s390x", "no emulator")],
    [Dropped("attestation-manifest", "sha256:2", "linux/amd64")],
)


@pytest.fixture
def job(tmp_path):
    beside = SideOutputs(trace=tmp_path / "t.json", sbom=tmp_path / "bill.cdx.json")
    both = dict.fromkeys(("linux/amd64", "linux/arm64"), "equal")
    return Job(tmp_path, both, Output("oci", str(tmp_path / "out"), "app:s"), beside)


def test_all_results_are_in_one_index(job, tmp_path):
    phases = []
    fields = slim_index(job, SELECTION, phases.append)
    assert phases == ["linux/amd64 proof", "linux/arm64 proof", "index"]
    assert (fields["verdict"], fields["result"]) == ("equal", f"oci:{tmp_path / 'out'}")
    assert fields["size"] == {"before": 400, "after": 40}
    written = {each.name for each in (tmp_path / "out").iterdir()}
    assert written == {"blobs", "index.json", "oci-layout"}, "nothing of ours is in the layout"
    (root,) = json.loads((tmp_path / "out" / "index.json").read_text())["manifests"]
    assert root["digest"] == fields["digest"]
    index = json.loads((tmp_path / "out" / "blobs" / root["digest"].replace(":", "/")).read_text())
    digests = [each["digest"] for each in fields["platforms"]]
    assert [each["digest"] for each in index["manifests"]] == digests
    names = {"t-linux-amd64.json", "t-linux-arm64.json"}
    names |= {"bill.cdx-linux-amd64.json", "bill.cdx-linux-arm64.json"}
    assert {each.name for each in tmp_path.glob("*.json")} == names


@pytest.mark.parametrize("dry_run", [True, False])
def test_there_is_no_index_if_one_result_is_broken(job, tmp_path, dry_run):
    verdicts = {"linux/amd64": "equal", "linux/arm64": "equal" if dry_run else "broken"}
    job = replace(job, outcomes=verdicts, dry_run=dry_run)
    fields = slim_index(job, SELECTION, lambda _: None)
    assert fields["verdict"] == verdicts["linux/arm64"], "the worst of all"
    assert fields["result"] is None
    assert [each["result"] for each in fields["platforms"]] == [None, None]
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("bill*")), "no bill of what is not kept"
    assert len(list(tmp_path.glob("t-linux-*.json"))) == 2


def test_an_original_that_does_not_work_ends_the_call_by_its_platform(job, tmp_path):
    job = replace(job, outcomes=job.outcomes | {"linux/arm64": BadData("app: it does not work")})
    with pytest.raises(BadData, match="linux/arm64: app: it does not work") as found:
        slim_index(job, SELECTION, lambda _: None)
    assert "--platform" in found.value.hint
    assert not (tmp_path / "out").exists()


def test_what_is_reported_names_each_platform_and_those_that_were_refused(job, tmp_path, capsys):
    job = replace(job, outcomes=job.outcomes | {"linux/arm64": "broken"})
    fields = slim_index(job, SELECTION, lambda _: None)
    said = [(each.level, each.title, each.text) for each in remarks_of(fields)]
    assert said[0] == ("error", "app for linux/arm64: broken", "/: 200 -> 500")
    assert ("warning", "app", "linux/s390x not slimmed: no emulator") in said
    text = summary(fields)
    assert "## ❌ app: broken" in text
    assert "### ✅ app for linux/amd64: equal" in text
    assert "- linux/s390x\\: no emulator" in text
    slim_result.show_index({**fields, "platforms": []}, json=False)
    shown = capsys.readouterr().out
    assert "not slimmed: no emulator" in shown
    assert "not carried over: attestation-manifest of linux/amd64" in shown
    assert "result: not kept" in shown
    slim_result.show_index(fields, json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mlkit.image.slim.index"
    (tmp_path / "known.json").write_text(json.dumps(document))
    assert read_known(tmp_path / "known.json") == {"pid1-dies"}
