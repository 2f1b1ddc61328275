"""A disk that loses its power: what no sync has covered is gone, or half gone.

The log is made of the system calls themselves. A file's bytes are durable from a sync that began after they were
written; a name is durable from a sync of its folder. Of everything else the disk may keep any part, in any order.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class _File:
    durable: bytes = b""
    current: bytearray = field(default_factory=bytearray)


class Disk:
    """Watches all that happens below `root`; `after_power_cut` writes what is left of it to another folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self._root = str(root)
        self._lock = threading.RLock()
        self._descriptors: dict[int, str] = {}
        self._files: dict[str, _File] = {}  # by path: files are never renamed here
        self._names: set[str] = set()
        self._durable_names: set[str] = set()
        for name in ("open", "close", "pwrite", "ftruncate", "fsync", "fdatasync", "mkdir", "unlink"):
            self._watch(monkeypatch, name)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real: Callable[..., Any] = getattr(os, name)
        before: Callable[..., None] = getattr(self, f"_before_{name}", _nothing)
        after: Callable[..., None] = getattr(self, f"_after_{name}", _nothing)

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                before(*args)
                result = real(*args, **kwargs)
                after(result, *args)
                return result

        monkeypatch.setattr(os, name, call)

    # --- the calls -----------------------------------------------------------------------------------------------

    def _after_open(self, result: int, path: Any, flags: int, *_: Any) -> None:
        name = os.fspath(path)
        if not str(name).startswith(self._root):
            return
        self._descriptors[result] = name
        if flags & os.O_CREAT and name not in self._names:
            self._names.add(name)
            self._files[name] = _File()
        if flags & os.O_TRUNC:
            self._files[name].current.clear()

    def _before_close(self, descriptor: int) -> None:
        self._descriptors.pop(descriptor, None)

    def _after_pwrite(self, result: int, descriptor: int, view: Any, position: int) -> None:
        file = self._file(descriptor)
        if file is not None:
            file.current[position : position + result] = bytes(view[:result])

    def _after_ftruncate(self, _: None, descriptor: int, length: int) -> None:
        file = self._file(descriptor)
        if file is not None:
            del file.current[length:]

    def _after_fdatasync(self, _: None, descriptor: int) -> None:
        file = self._file(descriptor)
        if file is not None:
            file.durable = bytes(file.current)

    def _after_fsync(self, _: None, descriptor: int) -> None:
        folder = self._descriptors.get(descriptor)
        if folder is not None:
            inside = {name for name in self._names if _folder_of(name) == folder}
            gone = {name for name in self._durable_names if _folder_of(name) == folder} - inside
            self._durable_names = (self._durable_names | inside) - gone

    def _after_mkdir(self, _: None, path: Any, *__: Any) -> None:
        if os.fspath(path).startswith(self._root):
            self._names.add(os.fspath(path))

    def _after_unlink(self, _: None, path: Any, *__: Any) -> None:
        self._names.discard(os.fspath(path))

    def _file(self, descriptor: int) -> _File | None:
        return self._files.get(self._descriptors.get(descriptor, ""))

    # --- the cut -------------------------------------------------------------------------------------------------

    def after_power_cut(self, target: Path, chance: random.Random) -> None:
        """What the next start finds, in the folder `target`."""
        with self._lock:
            target.mkdir()
            for name, file in self._files.items():
                relative = os.path.relpath(name, self._root)
                there = self._is_durable(name) or (name in self._names and chance.random() < 0.5)
                if there:
                    path = target / relative
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(_some_of(file, chance))

    def _is_durable(self, name: str) -> bool:
        """The name, and that of every folder on the way to it."""
        while name != self._root:
            if name not in self._durable_names:
                return False
            name = _folder_of(name)
        return True


def _some_of(file: _File, chance: random.Random) -> bytes:
    """The durable bytes; of those that changed after, each page or none of it, and any length in between."""
    longest = max(len(file.durable), len(file.current))
    shortest = min(len(file.durable), len(file.current))
    length = chance.choice([len(file.durable), len(file.current), chance.randint(shortest, longest)])
    content = bytearray(file.durable.ljust(longest, b"\0"))
    for start in range(0, len(file.current), 4096):
        if chance.random() < 0.5:
            content[start : start + 4096] = file.current[start : start + 4096]
    return bytes(content[:length])


def _folder_of(name: str) -> str:
    return str(Path(name).parent)


def _nothing(*_: Any) -> None:
    pass
