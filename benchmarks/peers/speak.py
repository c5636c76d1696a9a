"""How a candidate of a benchmark talks: a command a line on stdin, one JSON object a line on stdout.

First it says what it is: {"ready": name, "threads": n, "versions": {...}, "commands": [...]}.
To each command it answers {"command": line, "seconds": s, "peak_rss_mib": m, ...} or {"command": line, "error": text}.
"quit" or the end of stdin ends it. Standard library only, so that any environment can run it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Action = Callable[[], Mapping[str, Any] | None]


def serve(name: str, commands: Mapping[str, Action], *, versions: Mapping[str, str], threads: int) -> None:
    """Answer commands until told to quit.

    An action is timed from call to return. It may return figures to add to the answer; a "seconds" among them
    replaces the time taken here, for an action with a part that must not count, such as saving its output.
    """
    # Libraries print where they like: from here on, their stdout is our stderr.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _say(replies, {"ready": name, "threads": threads, "versions": dict(versions), "commands": sorted(commands)})
    for line in sys.stdin:
        command = line.strip()
        if command == "quit":
            break
        if command:
            _say(replies, {"command": command, **_answer(command, commands)})


def peak_rss_mib() -> float | None:
    """Largest resident memory of this process in MiB since the last reset (VmHWM); None where Linux's /proc is not."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return None


def reset_peak_rss() -> bool:
    """Let the peak start again from what is resident now (proc(5), clear_refs, value 5); False if not allowed."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _answer(command: str, commands: Mapping[str, Action]) -> dict[str, Any]:
    if command not in commands:
        return {"error": f"unknown command; known: {', '.join(sorted(commands))}"}
    gc.collect()
    reset_peak_rss()
    began = time.perf_counter()
    try:
        figures = commands[command]()
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return {"error": f"{type(error).__name__}: {error}"}
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_rss_mib": peak_rss_mib(), **(figures or {})}


def _say(replies: Any, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()
