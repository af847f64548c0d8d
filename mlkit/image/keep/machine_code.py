"""Literals of compiled programs: Go and Rust keep theirs joined, with no zero byte between them.

Where a literal begins, and how long it is, only the code that uses it shows: it loads an address,
and near by a length. Pointers in data have the length beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, cast

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from numpy.typing import NDArray

LONGEST = 400
"""Bytes of a literal; command lines and paths are shorter."""
BEFORE, AFTER = 16, 32
"""Bytes of code around an address in which its length is looked for."""
LARGEST = 400 << 20
"""Bytes of a program that is read for literals."""
Bytes = NDArray[np.uint8]


def literals(file: IO[bytes], most: int = LONGEST) -> set[bytes]:
    """List the literals that the code of an x86-64 program may use; more than it does.

    Args:
        file: An ELF file.
        most: Their longest.

    Returns:
        None of another architecture, of a damaged file, or of one that is too large.
    """
    try:
        return set(_literals(file, most))
    except (ELFError, ValueError, KeyError, IndexError, UnicodeDecodeError, OverflowError,
            TypeError, AttributeError, OSError):  # fmt: skip
        return set()


def _literals(file: IO[bytes], most: int) -> Iterator[bytes]:
    parsed = cast(Any, ELFFile(file))
    if parsed["e_machine"] != "EM_X86_64" or file.seek(0, 2) > LARGEST:
        return
    loads = [each for each in parsed.iter_segments() if each["p_type"] == "PT_LOAD"]
    images = [(int(each["p_vaddr"]), _bytes(file, each), int(each["p_flags"])) for each in loads]
    pairs = [_in_code(base, data) for base, data, flags in images if flags & 1]
    pairs += [_in_data(base, data) for base, data, flags in images if not flags & 1]
    pairs += list(_find_relocated(parsed, images))
    for base, data, flags in images:
        if flags & 2:  # what may be written is not a literal
            continue
        text = data.tobytes()
        for places, sizes in pairs:
            begin = places - base
            inside = (begin >= 0) & (sizes > 0) & (sizes <= most) & (begin + sizes <= len(data))
            if inside.any():
                both = np.unique(np.stack([begin[inside], sizes[inside]], axis=1), axis=0)
                for at, size in both.tolist():
                    yield text[at : at + size]


def _bytes(file: IO[bytes], segment: Any) -> Bytes:
    file.seek(segment["p_offset"])
    return np.frombuffer(file.read(segment["p_filesz"]), np.uint8)


Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def _in_code(base: int, code: Bytes) -> Pairs:
    """Find `lea register, [rip + place]` with small numbers near by."""
    if len(code) < BEFORE + AFTER + 8:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rex, lea, modrm = code[:-6], code[1:-5], code[2:-4]
    at = np.flatnonzero((lea == 0x8D) & ((rex & 0xFB) == 0x48) & ((modrm & 0xC7) == 0x05))
    at = at[(at >= BEFORE) & (at < len(code) - AFTER - 8)].astype(np.int64)
    target = base + at + 7 + _words(code, at + 3).astype(np.int32).astype(np.int64)
    places, sizes = [], []
    for shift in (*range(-BEFORE, -3), *range(7, AFTER)):
        size = _words(code, at + shift).astype(np.int64)
        small = (size > 0) & (size <= LONGEST)
        places.append(target[small])
        sizes.append(size[small])
    return np.concatenate(places), np.concatenate(sizes)


def _words(data: Bytes, at: NDArray[np.int64]) -> NDArray[np.uint32]:
    found = np.zeros(len(at), np.uint32)
    for byte in range(4):
        found |= data[at + byte].astype(np.uint32) << np.uint32(8 * byte)
    return found


def _in_data(base: int, data: Bytes) -> Pairs:
    """Find pointers with a small number behind them."""
    skip = -base % 8
    words = data[skip : skip + (len(data) - skip) // 8 * 8].view(np.int64)
    return words[:-1], words[1:]


def _find_relocated(parsed: Any, images: list[tuple[int, Bytes, int]]) -> Iterator[Pairs]:
    """Find pointers that the loader fills in, with the length that lies behind them."""
    section = parsed.get_section_by_name(".rela.dyn")
    if section is None:
        return
    table = np.frombuffer(section.data()[: section.data_size // 24 * 24], np.int64).reshape(-1, 3)
    table = table[(table[:, 1] & 0xFFFFFFFF) == 8]  # R_X86_64_RELATIVE
    for base, data, _ in images:
        begin = table[:, 0] - base + 8
        inside = (begin >= 0) & (begin + 8 <= len(data))
        at = begin[inside]
        low, high = _words(data, at).astype(np.int64), _words(data, at + 4).astype(np.int64)
        yield table[inside, 2], np.where(high == 0, low, 0)
