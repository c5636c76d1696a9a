"""What was found right once need not be hashed again: a small record beside the files of a set."""

from __future__ import annotations

import json
from pathlib import Path

from galenic.core.files import sha256

RECORD = ".galenic-verified.json"


class Verified:
    """Digests of files, trusted while size and time of change stay as they were. A damaged record is an empty one."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.changed = False
        self._known: dict[str, list[object]] = {}
        try:
            known = json.loads((home / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if isinstance(known, dict):
            self._known = {path: fact for path, fact in known.items() if isinstance(fact, list) and len(fact) == 3}

    def digest(self, path: str) -> str:
        """SHA-256 of a file of the set, from the record or by reading it."""
        file = self.home / path
        status = file.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        known = self._known.get(path)
        if known is not None and known[:2] == stamp:
            return str(known[2])
        found = sha256(file)
        self._known[path] = [*stamp, found]
        self.changed = True
        return found

    def forget(self, path: str) -> None:
        self.changed |= self._known.pop(path, None) is not None

    def save(self) -> None:
        """Write the record if it has news; a folder that can't be written keeps none."""
        if not self.changed:
            return
        aside = self.home / f"{RECORD}.aside"
        try:
            aside.write_text(json.dumps(self._known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
            aside.replace(self.home / RECORD)
        except OSError:
            if aside.exists():
                aside.unlink(missing_ok=True)
            return
        self.changed = False
