"""`mlkit bandit` as a user calls it."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time

import pytest
from processes import started
from scipy import stats

from mlkit.bandit.posteriors import file
from mlkit.cli.main import app

CSV = "context,arm,a,b,pulls\n,good,90,10,98\n,bad [x],10,90,98\n,new,1,1,0\nu,good,1,9,8\n"


@pytest.fixture
def posteriors(tmp_path):
    (tmp_path / "p.csv").write_text(CSV)
    return "p.csv"


@pytest.fixture
def document(mlkit):
    """Return the document that a command prints with --json."""

    def run(*arguments):
        done = mlkit("bandit", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_fit_reads_the_bundled_log(mlkit, repository, tmp_path):
    log = repository / "examples" / "bandit" / "random_men.csv.gz"
    columns = ["--arm", "item_id", "--reward", "click", "--context", "segment"]
    done = mlkit("bandit", "fit", log, *columns, "--prior", "1,99", "-o", "p.parquet")
    assert (done.returncode, done.stdout) == (0, "")
    assert "p.parquet: 34 arms and 139 (context, arm) pairs from 10,000 rewards" in done.stderr
    header = file.read(tmp_path / "p.parquet").header()
    assert (header.model, header.prior, header.shrinkage) == ("p", (1.0, 99.0), 100.0)


def test_fit_from_a_pipe_to_a_pipe(mlkit):
    columns = ["--arm", "arm", "--reward", "reward", "--model", "m"]
    done = mlkit("bandit", "fit", "-", *columns, "-o", "-", input="arm,reward\nx,1\n")
    assert done.stdout.splitlines()[1] == ',"x",2,1,1,"m",1,1,100'


def test_fit_counts_what_it_skips(mlkit, document, tmp_path):
    (tmp_path / "log.csv").write_text("arm,reward\nx,1\nx,?\n")
    columns = ["fit", "log.csv", "--arm", "arm", "--reward", "reward", "-o", "p.csv"]
    done = mlkit("bandit", *columns)
    assert done.returncode == 65
    assert done.stderr.startswith("error: log.csv: line 3: reward is '?'")
    assert not (tmp_path / "p.csv").exists()
    told = document(*columns, "--skip-bad-rows")
    assert (told["rewards"], told["skipped"], told["arms"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.csv", "--arm", "a", "--reward", "r", "-o", "p.csv"], 66, "nowhere.csv"),
        (["log.csv", "--arm", "a", "--reward", "r", "-o", "no/p.csv"], 66, "no does not exist"),
        (["log.csv", "--arm", "x", "--reward", "r", "-o", "p.csv"], 65, "no column 'x'"),
        (["log.csv", "--arm", "a", "-o", "p.csv"], 2, "--arm and --reward"),
        (["log.csv", "-o", "p.csv"], 2, "--arm and --reward"),
        (["log.csv", "--arm", "a", "--reward", "r", "-o", "p.xml"], 2, "unknown format"),
        (["log.csv", "--arm", "a", "--reward", "r", "-o", "log.csv"], 2, "log and the output"),
        (["log.csv", "--arm", "a", "--reward", "r", "-o", "-", "--json"], 2, "--json"),
        (["log.csv", "--arm", "a", "--reward", "r", "-o", "p.csv", "--prior", "1"], 2, "A,B"),
        (["log.csv", "--arm", "a", "--reward", "r", "-o", "p.csv", "--prior", "0,1"], 2, "prior"),
        (["log.csv", "--arm", "a", "--reward", "r", "-o", "p.csv", "--shrinkage", "0"], 2, "shr"),
        (
            ["log.csv", "--arm", "a", "--reward", "r", "-o", "p.csv", "--exclude-arm", ""],
            2,
            "empty",
        ),
    ],
)
def test_fit_says_what_is_wrong(tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text("a,r\nx,1\n")
    with pytest.raises(SystemExit) as left:
        app(["bandit", "fit", *arguments])
    assert left.value.code == code
    written = capsys.readouterr()
    assert message in written.err
    assert written.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_an_interrupted_fit_leaves_nothing(tmp_path):
    command = ["fit", "-", "--arm", "a", "--reward", "r", "-o", "p.parquet"]
    with started(
        [sys.executable, "-m", "mlkit", "bandit", *command],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdin.write(b"a,r\n" + b"x,1\n" * 1_000_000)
        process.stdin.flush()  # more than a pipe holds: the command is reading
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        _, errors = process.communicate(timeout=180)
    assert process.returncode == 130
    assert errors == b"error: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_show_sorts_by_the_probability_of_being_best(document, posteriors):
    told = document("show", posteriors, "--seed", "1")
    arms = {row["arm"]: row for row in told["arms"]}
    assert list(arms) == ["good", "new", "bad [x]"]
    assert sum(row["best"] for row in arms.values()) == pytest.approx(1)
    good = arms["good"]
    assert (good["pulls"], good["mean"]) == (98, 0.9)
    assert (good["low"], good["high"]) == pytest.approx(stats.beta(90, 10).interval(0.95))
    # Uniform against Beta(90, 10): P(new > good) is the mean of 1 - good.
    assert arms["new"]["best"] == pytest.approx(0.1, abs=0.015)


def test_show_fits_a_terminal_of_80_columns(mlkit, posteriors):
    done = mlkit("bandit", "show", posteriors, "--top", "2")
    lines = done.stdout.splitlines()
    assert any("good" in line and "0.9000" in line and "●" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert "1 more arms" in done.stderr


def test_ids_are_shown_as_they_are(mlkit, posteriors):
    assert "bad [x]" in mlkit("bandit", "show", posteriors).stdout


def test_ids_cannot_command_the_terminal(mlkit, tmp_path):
    (tmp_path / "p.csv").write_text("arm,a,b\n\x1b[2Jx,1,1\n")
    done = mlkit("bandit", "sample", "p.csv")
    assert "\x1b" not in done.stdout
    assert "'\\x1b[2Jx'" in done.stdout


def test_a_context_has_its_own_posteriors(document, mlkit, posteriors):
    arms = document("show", posteriors, "--context", "u")["arms"]
    assert {row["arm"]: row["mean"] for row in arms} == {"good": 0.1, "new": 0.5, "bad [x]": 0.1}
    done = mlkit("bandit", "show", posteriors, "--context", "v")
    assert done.returncode == 65
    assert "no posteriors of the context 'v'" in done.stderr


def test_sample_is_repeatable_by_the_seed_that_it_tells(document, posteriors):
    first = document("sample", posteriors, "--draws", "3", "--top", "2")
    again = document("sample", posteriors, "--draws", "3", "--top", "2", "--seed", first["seed"])
    assert again == first
    assert [len(draw) for draw in first["draws"]] == [2, 2, 2]
    for draw in first["draws"]:
        assert draw[0]["score"] >= draw[1]["score"]


def test_sample_chooses_an_arm_as_often_as_it_is_best(document, posteriors):
    draws = document("sample", posteriors, "--draws", "5000", "--top", "1", "--seed", "1")["draws"]
    share = sum(draw[0]["arm"] == "new" for draw in draws) / 5000
    assert share == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("p", [("0.05", "0.95"), ("0.05", "--p", "0.95")])
def test_quantiles_are_those_of_scipy(document, posteriors, p):
    told = document("quantile", posteriors, "--p", *p)
    assert [row["arm"] for row in told["arms"]] == ["new", "good", "bad [x]"]
    assert told["arms"][1]["quantiles"] == pytest.approx(stats.beta(90, 10).ppf([0.05, 0.95]))


@pytest.mark.parametrize("arguments", [["--p", "1.5"], [], ["--p", "x"], ["--p", "nan"]])
def test_quantile_refuses_what_is_no_probability(mlkit, posteriors, arguments):
    done = mlkit("bandit", "quantile", posteriors, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["show", "sample", "quantile"])
def test_a_set_without_arms_is_shown_empty(mlkit, tmp_path, command):
    (tmp_path / "p.csv").write_text("arm,a,b\n")
    p = ["--p", "0.5"] if command == "quantile" else []
    assert mlkit("bandit", command, "p.csv", *p).returncode == 0


@pytest.mark.parametrize("command", ["show", "sample", "quantile"])
def test_a_missing_file_exits_66(mlkit, command):
    p = ["--p", "0.5"] if command == "quantile" else []
    done = mlkit("bandit", command, "nowhere.parquet", *p)
    assert done.returncode == 66
    assert done.stderr.startswith("error: nowhere.parquet: cannot be read")


@pytest.fixture
def damaged(tmp_path):
    """Return a posteriors file of which one byte of a page has changed."""
    arms = "".join(f",arm{i},{i + 1.5},9,{i}\n" for i in range(300))
    (tmp_path / "good.csv").write_text("context,arm,a,b,pulls\n" + arms)
    file.write(file.read(tmp_path / "good.csv"), tmp_path / "damaged.parquet")
    content = bytearray((tmp_path / "damaged.parquet").read_bytes())
    content[200] ^= 255
    (tmp_path / "damaged.parquet").write_bytes(content)
    return "damaged.parquet"


COMMANDS = [
    ["show"],
    ["sample"],
    ["quantile", "--p", "0.5"],
    ["serve", "--state", "st", "--port", "0"],
    ["fit", "--arm", "arm", "--reward", "a", "-o", "p.csv"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_damaged_parquet_file_is_bad_data_at_once(mlkit, damaged, command):
    done = mlkit("bandit", command[0], damaged, *command[1:])
    assert done.returncode == 65, done.stderr
    assert "error: " in done.stderr
    assert "damaged.parquet: damaged Parquet file: " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("damaged.parquet") == 1


def test_bombs_are_refused_until_an_option_lets_them_in(mlkit, tmp_path):
    log = b"arm,reward\n" + (b"x" * 200 + b",1\n") * 400_000
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(log, compresslevel=4))
    fit = ["bandit", "fit", "bomb.csv.gz", "--arm", "arm", "--reward", "reward", "-o", "p.parquet"]
    done = mlkit(*fit)
    assert done.returncode == 65
    assert "bomb.csv.gz: unpacks to more than 200 times its size" in done.stderr
    assert "hint: --max-ratio" in done.stderr
    done = mlkit(*fit, "--max-ratio", "2000")
    assert done.returncode == 0, done.stderr
    assert file.read(tmp_path / "p.parquet").arms["pulls"].to_pylist() == [400_000]
    done = mlkit("bandit", "show", "p.parquet", "--max-unpacked", "0.001")
    assert done.returncode == 0


def test_the_same_log_twice_is_said_or_counts_once(mlkit, tmp_path):
    (tmp_path / "d.csv").write_text("arm;r;id\na;True;1\nb;False;2\n")
    fit = ["bandit", "fit", "d.csv", "d.csv", "--arm", "arm", "--reward", "r", "-o", "o.csv"]
    done = mlkit(*fit)
    assert done.returncode == 0
    assert "warning: d.csv has the same content as d.csv, and counts again" in done.stderr
    assert file.read(tmp_path / "o.csv").arms["pulls"].to_pylist() == [2, 2]
    done = mlkit(*fit, "--event-id", "id", "--separator", ";", "--exclude-arm", "b")
    assert (done.returncode, "warning" in done.stderr) == (0, False)
    assert file.read(tmp_path / "o.csv").arms["pulls"].to_pylist() == [1]
