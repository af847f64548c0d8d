"""Values that are not JSON: stored by the hash of their content, passed by reference.

This file uses the standard library only; data frames of R need pandas and pyreadr.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from typing import Any

if __name__ == "artifacts":  # inside a worker, which has this folder on its path
    from values import File  # type: ignore[import-not-found]
else:
    from mlkit.workers.child.values import File

_READABLE = ("data.frame", "matrix", "array", "named vector")
_UNITS = {"secs": "s", "mins": "min", "hours": "h", "days": "D", "weeks": "W"}


class Damaged(Exception):
    """A stored value is missing, or not what was stored."""


class Artifacts:
    """A folder of stored values.

    Attributes:
        maker: The origin that each reference records: `by`, `attempt`.
        loaded: The hashes of what the task in hand has read.
        verified: The hashes of files that were compared with their content.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.maker: dict[str, Any] = {}
        self.loaded: list[str] = []
        self.frames: dict[str, dict[str, Any]] = {}
        self.verified: set[str] = set()

    def begin(self, element: str, iteration: str, attempt: int) -> None:
        """Begin a task; what it stores will say so."""
        self.maker = {"by": element, "attempt": attempt}
        if iteration:
            self.maker["iteration"] = iteration
        self.loaded = []
        self.frames = {}

    def path(self, reference: dict[str, Any]) -> str:
        """Return the file of a stored value, and note that it was read.

        Raises:
            Damaged: It is missing, or not what was stored.
        """
        name = reference["$artifact"]
        if not name:
            kind = reference.get("kind", "value")
            raise Damaged(f"this {kind} is stored by the engine, and does not travel to workers")
        path = os.path.join(self.folder, name)
        if name not in self.verified:
            _verify(path, reference)
            self.verified.add(name)
        if name not in self.loaded:
            self.loaded.append(name)
        return path

    def load(self, reference: dict[str, Any]) -> Any:
        """Read a stored value."""
        path = self.path(reference)
        if reference.get("format") == "rds":
            return self._load_rds(path, reference)
        if reference.get("format") == "file":
            return _load_file(path, reference)
        with open(path, "rb") as file:
            return pickle.load(file)

    def _load_rds(self, path: str, reference: dict[str, Any]) -> Any:
        import pyreadr  # type: ignore[import-untyped]

        if reference["kind"] not in _READABLE:
            raise TypeError(f"a {reference['kind']} of R cannot be read in Python")
        frame = _shape(_restore(pyreadr.read_r(path)[None], reference), reference)
        # A frame that a script leaves as it is stays the one that R stored.
        self.frames[hashlib.sha256(pickle.dumps(frame, protocol=5)).hexdigest()] = reference
        return frame

    def store(self, value: Any) -> dict[str, Any]:
        """Store a Python value; return the reference to it."""
        content = pickle.dumps(value, protocol=5)
        known = self.frames.get(hashlib.sha256(content).hexdigest())
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return known or self._keep(content, {"kind": kind})

    def store_rds(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Store a file that R wrote; return the reference to it."""
        with open(path, "rb") as file:
            return self._keep(file.read(), {"format": "rds", **fields})

    def store_file(self, content: bytes, name: str, media: str) -> dict[str, Any]:
        """Store a file that somebody uploaded; return the reference to it."""
        return self._keep(content, {"kind": "file", "format": "file", "name": name, "media": media})

    def _keep(self, content: bytes, fields: dict[str, Any]) -> dict[str, Any]:
        name = hashlib.sha256(content).hexdigest()
        path = os.path.join(self.folder, name)
        try:
            os.utime(path)  # Retention leaves what was stored a moment ago.
        except OSError:
            self._write(path, content)
        origin = {**self.maker, "from": list(self.loaded)}
        return {"$artifact": name, "size": len(content), **fields, **origin}

    def _write(self, path: str, content: bytes) -> None:
        os.makedirs(self.folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:  # A full disk must not be filled further.
            os.unlink(temporary)
            raise
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _load_file(path: str, reference: dict[str, Any]) -> Any:
    with open(path, "rb") as file:
        found = File(file.read())
    found.reference = reference
    return found


def _verify(path: str, reference: dict[str, Any]) -> None:
    """Compare a stored value with its hash, before anything of it is read.

    Raises:
        Damaged: It is missing, or another.
    """
    name = str(reference["$artifact"])
    made = f"{reference.get('kind', 'value')} made by {reference.get('by', 'a script')}"
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError as error:
        problem = f"the stored {made} ({path}) cannot be read: {error.strerror}"
        raise Damaged(problem) from error
    if digest.hexdigest() != name:
        raise Damaged(f"the stored {made} ({path}) is not what was stored: its hash differs")


def _restore(frame: Any, reference: dict[str, Any]) -> Any:
    """Return the columns of a data frame of R what pyreadr does not read.

    Whole numbers and truth values with missing ones, zones, durations, and the order of levels.
    """
    import pandas as pd

    columns = {at: frame.iloc[:, at - 1] for at in range(1, frame.shape[1] + 1)}
    for at, each in columns.items():
        kinds = {type(v) for v in each if not pd.isna(v)} if each.dtype == object else set()
        if kinds in ({int}, {bool}):
            frame.isetitem(at - 1, each.astype("Int64" if kinds == {int} else "boolean"))
    for at in reference.get("whole", []):
        frame.isetitem(at - 1, _whole(columns[at]))
    for at, zone in reference.get("zones", {}).items():
        moments = columns[int(at)].astype("datetime64[ns]").dt.round("us").astype("datetime64[us]")
        if zone not in ("", "UTC", "GMT"):
            moments = moments.dt.tz_localize("UTC").dt.tz_convert(zone.removeprefix("Etc/"))
        frame.isetitem(int(at) - 1, moments)
    for at, unit in reference.get("units", {}).items():
        lasting = pd.to_timedelta(columns[int(at)], unit=_UNITS[unit])
        frame.isetitem(int(at) - 1, lasting)
    for at in reference.get("ordered", []):
        frame.isetitem(at - 1, columns[at].cat.as_ordered())
    return frame


def _whole(column: Any) -> Any:
    """Read whole numbers beyond 2^53, which travel as text."""
    import pandas as pd

    exact = [None if pd.isna(each) else int(each) for each in column]
    fits = all(each is None or -(2**63) <= each < 2**63 for each in exact)
    return pd.Series(exact, index=column.index, dtype="Int64" if fits else object)


def _shape(frame: Any, reference: dict[str, Any]) -> Any:
    """Return the array or the vector with names that R wrote as columns."""
    if reference.get("named"):
        return frame["value"].set_axis(list(frame["name"])).rename(None)
    if "dim" in reference:
        return _plain(frame["value"]).reshape(reference["dim"], order="F")
    return frame


def _plain(column: Any) -> Any:
    """Return a column as an array; a truth value that is missing is None, a number NaN."""
    if str(column.dtype) == "boolean" and column.hasnans:
        return column.to_numpy(dtype=object, na_value=None)
    return column.astype(float).to_numpy() if str(column.dtype) == "Int64" else column.to_numpy()


def same(one: Any, other: Any) -> bool:
    """Compare packed values; artifacts by their content, not by their origin."""
    if isinstance(one, dict) and isinstance(other, dict):
        if "$artifact" in one or "$artifact" in other:
            return one.get("$artifact") == other.get("$artifact")
        return one.keys() == other.keys() and all(same(each, other[k]) for k, each in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and type(one) is type(other)
