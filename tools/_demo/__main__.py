"""What tools/demo runs once its virtual environment is there; with --check, before."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

# With --check this is whatever Python the machine has, without sidekiq_lua: only `demonstrate` needs more.
from stage import ROOT, DemoFailed, demo_only, server, surroundings, worker

BROKEN = {
    "unfinished.py": b"def unfinished(:\n    pass\n",
    "not_utf8.py": b'city = "M\xfcnchen"\n',
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def directory_of(options: argparse.Namespace) -> Path:
    named = options.directory
    directory = options.origin / named if named else Path(sysconfig.get_path("stdlib"))
    if not directory.exists():
        raise DemoFailed(f"there is no directory {directory}")
    if not directory.is_dir():
        raise DemoFailed(f"{directory} is not a directory")
    return Path(directory).resolve()


def sources(directory: Path, skip: tuple[str, ...] = ()) -> Iterator[str]:
    """The path of every `.py` file below it; links to directories are not followed."""
    for folder, below, names in os.walk(directory):
        below[:] = sorted(name for name in below if name not in skip)
        yield from (f"{folder}/{name}" for name in sorted(names) if name.endswith(".py"))


def find(options: argparse.Namespace) -> list[str]:
    directory = directory_of(options)
    # Some Pythons keep what was installed besides inside the standard library's directory.
    files = list(sources(directory, () if options.directory else ("site-packages", "dist-packages")))
    if not files:
        raise DemoFailed(f"there are no .py files in {directory}")
    for path in files:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise DemoFailed(f"{path!r}: a job's arguments are JSON, so the name must be UTF-8") from None
    return files


def demonstrate(options: argparse.Namespace) -> str:
    """Run it all; answers the report."""
    directory, home = directory_of(options), options.home.absolute()
    with demo_only(home) as lock, server(home):
        (home / "broken").mkdir()
        for name, content in BROKEN.items():
            (home / "broken" / name).write_bytes(content)
        files = [*find(options), *sources(home / "broken")]
        print(f"indexing {len(files):,} files, from {directory} and {home / 'broken'}", flush=True)
        surroundings(home)

        from report import report
        from run import Run

        run = Run(files, options.timeout)
        with worker(home, lock) as process:
            run.wait(process)
            # A worker may hold back the last counts for some milliseconds, but not over its end.
            process.end()
        run.account()
        return report(run, directory, home, len(BROKEN))


def interrupt(number: int, frame: object) -> NoReturn:
    # What follows takes some seconds, and is not to be cut short by a second Ctrl-C.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/demo", usage="tools/demo [--timeout SECONDS] [DIRECTORY]")
    parser.add_argument("directory", nargs="?")
    parser.add_argument("--timeout", type=float, default=90.0)
    parser.add_argument("--home", type=Path, default=ROOT / ".demo")
    parser.add_argument("--from", dest="origin", type=Path, default=Path())
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    try:
        if options.check:
            find(options)
            return 0
        for number in SIGNALS:
            signal.signal(number, interrupt)
        print(demonstrate(options))
    except DemoFailed as error:
        print(f"tools/demo: {error}", file=sys.stderr)
        return 1
    except SystemExit as end:
        print("tools/demo: interrupted; its worker and its server have been stopped", file=sys.stderr)
        return int(end.code or 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
