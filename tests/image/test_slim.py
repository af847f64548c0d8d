"""Slimming with a real Docker Engine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mlkit.errors import InputMissing
from mlkit.image.filesystem.image_source import take_inventory
from mlkit.image.run.engine.engine import LABEL

pytestmark = pytest.mark.slow
QUICK = ("--watch", "1", "--patience", "60")
EXAMPLES = Path(__file__).parents[2] / "examples" / "image"
SERVER = """
import http.server, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/lazy":
            import decimal, json
            body = json.dumps({"x": str(decimal.Decimal("1.10"))})
        elif self.path == "/tls":
            import ssl
            body = str(len(ssl.create_default_context().get_ca_certs()))
        elif self.path == "/zone":
            import zoneinfo
            body = str(zoneinfo.ZoneInfo("Europe/Berlin"))
        elif self.path == "/user":
            import pwd
            body = pwd.getpwuid(65534).pw_name
        else:
            body = "hello"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *arguments):
        pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""
CURL = """#!/usr/bin/python3
import sys, urllib.request
urllib.request.urlopen(sys.argv[2])
"""
ROUTES = [f"--probe=http:8000{path}" for path in ("/", "/lazy", "/tls", "/zone", "/user")]


def document(done, code=0):
    assert done.returncode == code, told(done)
    return json.loads(done.stdout)


def told(done):
    """Return what a command that ended otherwise than expected says, without the lists of files."""
    try:
        said = json.loads(done.stdout)
    except ValueError:
        return done.stdout + done.stderr
    return json.dumps([said.get("differences"), said.get("warnings")], indent=1) + done.stderr


@pytest.fixture
def mlkit(mlkit):
    """Run `mlkit` with time for containers that have to be killed."""
    return lambda *arguments, **options: mlkit(*arguments, **({"timeout": 500} | options))


@pytest.fixture(scope="module")
def suicidal(build, tmp_path_factory):
    """Return a server whose children end when process 1 is their parent."""
    program = tmp_path_factory.mktemp("c") / "prefork"
    source = EXAMPLES / "prefork.c"
    subprocess.run(["cc", "-O1", "-static", "-o", program, source], check=True)
    return build((EXAMPLES / "Dockerfile").read_text(), prefork=program.read_bytes())


@pytest.fixture(scope="module")
def served(build, debian):
    """Return a Python server with routes that import late."""
    text = f'FROM {debian}\nCOPY app.py /srv/app.py\nEXPOSE 8000\nCMD ["python3", "/srv/app.py"]\n'
    return build(text, app_py=SERVER)


def test_the_suicidal_container_is_diagnosed_and_lives_after_slimming(mlkit, suicidal):
    probe = "--probe=http:3000/"
    found = document(mlkit("image", "doctor", suicidal, probe, *QUICK, "--json"), 1)
    assert [each["code"] for each in found["findings"]] == ["pid1-dies"]
    assert "getppid" in found["findings"][0]["observed"]
    slimmed = document(mlkit("image", "slim", suicidal, probe, *QUICK, "--json"))
    assert slimmed["verdict"] == "improved"
    assert slimmed["command"] == ["/tini", "--", "/prefork"]
    assert slimmed["size"]["after"] < 9e6
    after = mlkit("image", "doctor", f"{suicidal}-slim", probe, *QUICK, "--json")
    assert document(after)["findings"] == []


def test_init_is_put_in_front_or_left_out_as_the_user_says(mlkit, engine, suicidal, served):
    never = mlkit("image", "slim", suicidal, "-t", f"{suicidal}-never", "--init=never",
                  "--probe=http:3000/", *QUICK, "--json")  # fmt: skip
    assert document(never, 1)["verdict"] == "broken"
    with pytest.raises(InputMissing):
        engine.inspect(f"{suicidal}-never")
    always = mlkit("image", "slim", served, "--init=always", "--probe=http:8000/", *QUICK, "--json")
    assert document(always)["command"][:2] == ["/tini", "--"]


def test_a_job_fails_on_a_limit_and_on_a_finding_unless_it_is_known(
    mlkit, engine, suicidal, tmp_path, monkeypatch
):
    name = f"{suicidal}-job"
    command = ("image", "slim", suicidal, "-t", name, "--probe=http:3000/", *QUICK)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    limits = ("--max-size=1kB", "--fail-on=new-finding")
    done = mlkit(*command, *limits, "--ci", "--json")
    failed = document(done, 1)
    assert failed["verdict"] == "improved"
    assert failed["result"] is None
    assert len(failed["failures"]) == 2
    with pytest.raises(InputMissing):
        engine.inspect(name)
    assert "::group::proof\n::endgroup::\n" in done.stderr
    assert done.stderr.count("\n::error ") == 2
    assert "new finding pid1\\-dies" in (tmp_path / "step.md").read_text()
    (tmp_path / "known.json").write_text(done.stdout)
    limits = ("--max-size=9MB", "--fail-on=new-finding", "--known", tmp_path / "known.json")
    passed = mlkit(*command, *limits, "--summary", tmp_path / "summary.md", "--json")
    engine.remove_image(name)
    assert document(passed)["failures"] == []
    assert "improved" in (tmp_path / "summary.md").read_text()


def test_a_volume_is_there_in_all_runs(mlkit, tmp_path, build, debian):
    (tmp_path / "text").write_text("given")
    read = "import sys; print(open('/given/text').read()); sys.exit(7)"
    image = build(f"FROM {debian}\nENTRYPOINT {json.dumps(['python3', '-c', read])}\n")
    command = ("image", "slim", image, "--probe=exit:7", *QUICK, "--json")
    alone = mlkit(*command)
    assert alone.returncode == 65
    assert "--volume" in alone.stderr
    slimmed = document(mlkit(*command, "--volume", f"{tmp_path}:/given:ro"))
    assert slimmed["verdict"] == "equal"
    assert not [path for path in slimmed["kept"] if path.startswith("given/")]


# `test_proof.py` tries the safe profile on a Python that is asked for more; here, it is nightly.
@pytest.mark.parametrize(
    ("profile", "limit"),
    [("balanced", 33e6), pytest.param("safe", 165e6, marks=pytest.mark.nightly)],
)
def test_python_behaves_equally_on_routes_that_were_not_probed(mlkit, served, profile, limit):
    slim = mlkit(
        "image", "slim", served, "--profile", profile, "--probe=http:8000/", *QUICK, "--json"
    )
    found = document(slim)
    assert found["verdict"] in {"equal", "improved"}
    assert found["size"]["after"] < limit
    assert {"libc6", "libpython3.11-stdlib", "python3.11-minimal"} <= set(found["packages"]["kept"])
    with take_inventory(f"{served}-slim") as result:
        python, app = (result.files.get(path) for path in ("usr/bin/python3.11", "srv/app.py"))
        assert python.layer < app.layer == len(result.image.layers) - 1
    compared = mlkit("image", "compare", served, f"{served}-slim", *ROUTES, *QUICK, "--json")
    assert document(compared)["verdict"] == "equal", compared.stdout
    reached = document(compared)["reach"]
    assert (reached["own"], reached["reached"]) == (1, 1)
    assert reached["text"].endswith("1 of 1 files of own code were loaded")


def test_a_comparison_asks_what_a_document_names(mlkit, build, served, tmp_path):
    other = build(f"FROM {served}\nRUN sed -i s/1.10/1.20/ /srv/app.py\n")
    api = {"openapi": "3.0.0", "paths": {"/lazy": {"get": {}}}}
    (tmp_path / "api.json").write_text(json.dumps(api))
    options = ("--openapi=api.json", "--no-explore", "--probe=http:8000/", "--watch=0", "--json")
    found = document(mlkit("image", "compare", served, other, *options), 1)
    broken = [each for each in found["differences"] if each["effect"] == "broken"]
    assert [each["what"] for each in broken] == ["probe http:GET 8000/lazy: body"], broken
    assert "1 of them found by itself" in found["reach"]["text"]


def test_the_same_input_gives_the_same_image_and_nothing_is_left_behind(mlkit, engine, suicidal):
    command = ("image", "slim", suicidal, "--probe=http:3000/", *QUICK, "--json")
    first, second = document(mlkit(*command)), document(mlkit(*command))
    assert first["id"] == second["id"]
    assert document(mlkit("image", "clean", "--json"))["removed"] == []
    assert engine.inspect(f"{suicidal}-slim")["Config"]["Labels"].get(LABEL) is None


@pytest.mark.alone
def test_a_dry_run_keeps_nothing_and_its_trace_can_be_used_again(mlkit, tmp_path, build, debian):
    command = 'CMD ["sh", "-c", "test $FLAG = on && cat /etc/debian_version"]'
    name = build(f"FROM {debian}\n{command}\n")
    (tmp_path / "env").write_text("FLAG=on\n")
    options = ["--env-file", "env", "--probe=exit:0", *QUICK, "--json"]
    found = document(mlkit("image", "slim", name, "--trace-out=t.json", "--dry-run", *options))
    assert found["verdict"] in {"equal", "improved"}
    assert found["result"] is None
    assert mlkit("image", "diff", f"{name}-slim", name).returncode == 66
    trace = json.loads((tmp_path / "t.json").read_text())
    assert "/etc/debian_version" in trace["opened"]
    trace["opened"].append("/etc/issue")
    (tmp_path / "t.json").write_text(json.dumps(trace))
    found = document(mlkit("image", "slim", name, "--trace=t.json", "--sbom=b.json", *options))
    bill = json.loads((tmp_path / "b.json").read_text())
    assert {"libc6", "tzdata"} <= {each["name"] for each in bill["components"]}
    assert found["kept"]["etc/issue"] == "opened"
    told = document(mlkit("image", "explain", f"{name}-slim", "/etc/issue", "--json"))
    assert told["paths"][0]["reason"] == "opened"
    left = document(mlkit("image", "clean", "--dry-run", "--json"))["removed"]
    assert document(mlkit("image", "clean", "--json"))["removed"] == left


def test_nonroot_is_proven_by_running_as_that_user(mlkit, engine, build, debian):
    reads = build(f'FROM {debian}\nCMD ["cat", "/etc/debian_version"]\n')
    options = ("--user=nonroot", "--probe=exit:0", *QUICK, "--json")
    found = document(mlkit("image", "slim", reads, *options))
    assert found["verdict"] in {"equal", "improved"}
    assert engine.inspect(f"{reads}-slim")["Config"]["User"] == "65532:65532"
    writes = build(f'FROM {debian}\nWORKDIR /srv\nCMD ["touch", "/srv/x"]\n')
    found = document(mlkit("image", "slim", writes, *options), 1)
    assert found["verdict"] == "broken"
    assert found["result"] is None


def test_a_server_may_run_as_nonroot_though_the_user_is_another_one(mlkit, served):
    options = ("--user=nonroot", *ROUTES, *QUICK, "--dry-run", "--json")
    found = document(mlkit("image", "slim", served, *options))
    assert found["verdict"] in {"equal", "improved"}
    effects = {each["what"]: each["effect"] for each in found["differences"]}
    assert effects["user"] == "noted"


@pytest.mark.parametrize("profile", ["tight", "balanced"])
def test_what_a_probe_starts_in_the_container_is_kept(mlkit, served, profile):
    probes = ("--probe=exec:cksum /etc/debian_version", '--probe=exec:sh -c "seq 2 | tac"')
    options = (f"--profile={profile}", *probes, *QUICK, "--dry-run", "--json")
    found = document(mlkit("image", "slim", served, *options))
    assert found["verdict"] == "equal", found["differences"]
    assert {found["kept"][f"usr/bin/{each}"] for each in ("cksum", "seq", "tac")} == {"probe"}


def test_a_break_is_reported_and_the_result_is_not_kept(mlkit, engine, served):
    probes = ["--probe=http:8000/", "--probe=http:8000/lazy=200"]
    command = ["image", "slim", served, "-t", f"{served}-broken", *probes, *QUICK, "--json"]
    found = document(mlkit(*command, "--exclude", "/usr/lib/python3.11/decimal.py"), 1)
    assert found["verdict"] == "broken"
    assert found["result"] is None
    missing = mlkit("image", "diff", f"{served}-broken", served)
    assert missing.returncode == 66


def test_an_original_that_does_not_work_is_bad_data(mlkit, build, debian):
    name = build(f'FROM {debian}\nCMD ["/bin/false"]\n')
    done = mlkit("image", "slim", name, *QUICK)
    assert done.returncode == 65
    assert "original itself does not work" in done.stderr


def test_a_shell_form_command_loses_its_shell_only_where_it_can(mlkit, build, debian):
    plain = build(f"FROM {debian}\nENTRYPOINT sleep 100\n")
    found = document(mlkit("image", "slim", plain, *QUICK, "--json"))
    assert found["command"][-2:] == ["sleep", "100"]
    kept = build(f"FROM {debian}\nENV N=100\nENTRYPOINT sleep $N\n")
    found = document(mlkit("image", "slim", kept, *QUICK, "--json"))
    assert found["command"][-2:] == ["/mlkit-launch", "sleep $N"]
    assert found["verdict"] in {"equal", "improved"}


def test_bases_repeat_themselves(mlkit, tmp_path):
    ids = []
    for name in ("a.tar", "b.tar"):
        done = mlkit("image", "base", "build", "base", "-o", tmp_path / name, "--json")
        ids.append(document(done)["image"])
    assert ids[0] == ids[1]
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_health_check_is_kept_true_without_its_shell_and_curl(mlkit, engine, build, debian):
    text = f"FROM {debian}\nCOPY app.py /srv/app.py\nENV PORT=8000\nEXPOSE 8000\n"
    text += "COPY curl /usr/bin/curl\n"
    text += "HEALTHCHECK CMD curl -f http://localhost:$PORT/ || exit 1\n"
    name = build(text + 'CMD ["python3", "/srv/app.py"]\n', app_py=SERVER, curl=CURL)
    slimmed = document(mlkit("image", "slim", name, "--probe=http:8000/", *QUICK, "--json"))
    assert slimmed["verdict"] in {"equal", "improved"}
    assert not {"usr/bin/curl", "usr/bin/dash"} & set(slimmed["kept"])
    test = engine.inspect(f"{name}-slim")["Config"]["Healthcheck"]["Test"]
    assert test == ["CMD", "/mlkit-launch", '/mlkit-health "http://localhost:$PORT/"']
    compared = mlkit("image", "compare", name, f"{name}-slim", *ROUTES, *QUICK, "--json")
    assert document(compared)["verdict"] == "equal", compared.stdout
