"""Where an optional package is missing, the error names the extra that installs it."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from mlkit import streams
from mlkit.bpmn.expressions import javascript
from mlkit.bpmn.server import telemetry
from mlkit.errors import PackageMissing
from mlkit.image import compose
from mlkit.pairs import cluster
from mlkit.pairs.prices import workbook
from mlkit.streams import influx
from mlkit.unpacking import UnpackLimits
from mlkit.web import oidc

# Without fonts a character of another script is a box; the last four are for developers.
WITHOUT_ERROR = {"fonts", "all", "test", "docs", "dev"}


# These need their package at their head.
POSTGRES, REDIS, S3 = AT_HEAD = (
    "mlkit.storage.postgresql", "mlkit.bandit.stores.redis.connection", "mlkit.storage.s3",
)  # fmt: skip

CASES = {
    "compose": ("yaml", lambda: compose.read(Path(__file__), "app")),
    "dask": ("distributed", lambda: cluster.connect("dask://127.0.0.1:1").__enter__()),
    "influx": ("influxdb", lambda: influx.writer("http://127.0.0.1:1/prices")),
    "javascript": ("quickjs", lambda: javascript.check("1 + 1")),
    "kafka": ("confluent_kafka", lambda: streams.open("kafka://127.0.0.1:1")),
    "oidc": (
        "joserfc",
        lambda: oidc.Provider(oidc.Client("https://login.example.org", "mlkit"), ""),
    ),
    "otel": ("opentelemetry", lambda: telemetry.require_endpoint("http://127.0.0.1:1")),
    "postgres": ("psycopg", lambda: importlib.import_module(POSTGRES)),
    "redis": ("redis", lambda: importlib.import_module(REDIS)),
    "s3": ("obstore", lambda: importlib.import_module(S3)),
    "xlsx": (
        "python_calamine",
        lambda: workbook.sheets(b"", "prices.xlsx", "prices", UnpackLimits()),
    ),
}


@pytest.mark.parametrize("extra", CASES)
def test_a_missing_package_is_asked_for_by_its_extra(monkeypatch, extra):
    package, use = CASES[extra]
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    for name in AT_HEAD:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(PackageMissing) as caught:
        use()
    assert caught.value.exit_code == 69
    assert caught.value.hint.startswith(f"pip install 'mlkit[{extra}]'")


def test_each_extra_that_a_command_needs_is_tried():
    document = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    extras = document["project"]["optional-dependencies"].keys()
    assert CASES.keys() == extras - WITHOUT_ERROR
