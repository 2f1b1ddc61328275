"""The parts and pieces of one upload that commits have recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tuspy_server.ports import Stored, StoredPart, StoredPiece


@dataclass(slots=True)
class Recorded:
    """See `ports.Stored`."""

    parts: dict[int, StoredPart] = field(default_factory=dict)
    tries: int = 0
    _pieces: dict[str, StoredPiece] = field(default_factory=dict)
    _covered: set[str] = field(default_factory=set)

    @property
    def piece_keys(self) -> Sequence[str]:
        """Of all pieces, covered ones too."""
        return list(self._pieces)

    def pieces(self) -> Sequence[StoredPiece]:
        """Those that no part and no other piece covers, in order."""
        live = [piece for key, piece in self._pieces.items() if key not in self._covered]
        return sorted(live, key=lambda piece: piece.start)

    def add(self, stored: Stored, part_bytes: int) -> None:
        """Record what a commit brings, also if it has come before."""
        for piece in stored.pieces:
            if piece.key not in self._pieces:
                self._pieces[piece.key] = piece
                self._cover(piece.start, piece.stop, piece.key)
        for part in stored.parts:
            self.parts[part.part_number] = part
            start = (part.part_number - 1) * part_bytes
            self._cover(start, start + part_bytes, "")

    def _cover(self, start: int, stop: int, by: str) -> None:
        for key, piece in self._pieces.items():
            if key != by and start <= piece.start and piece.stop <= stop:
                self._covered.add(key)
