# Read by tools/demo and tools/test: finds Python, and makes .venv with this checkout in it. The current directory is the top.

say() { printf '%s: %s\n' "$tool" "$*"; }
die() {
    say "$*" >&2
    exit 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || die "PYTHON=$PYTHON is not Python 3.11 or newer"
        printf '%s\n' "$PYTHON"
        return
    fi
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if new_enough "$name"; then
            printf '%s\n' "$name"
            return
        fi
    done
    die "no Python 3.11 or newer on the PATH; install one, or name it: PYTHON=/path/to/python3 $tool"
}

# A .venv whose making was cut short may have no pip.
usable() { new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }

# Two lines that tell whether .venv still fits: where it was made and by what; what it holds.
fingerprint() {
    "$1" -c 'import os, sys; print(os.getcwd(), sys.version.split()[0], os.path.realpath(sys.executable))'
    cat pyproject.toml sidekiq_lua/version.py | cksum
}

# make_venv PYTHON EXTRAS STAMP: .venv with this checkout and those extras; the file STAMP in it says that it has them.
make_venv() {
    wanted=$(fingerprint "$1")
    stamp=.venv/$3
    made=$(cat "$stamp" 2>/dev/null || true)
    if [ "$made" = "$wanted" ]; then return; fi
    "$1" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$1 cannot make virtual environments; on Debian: apt-get install python3-venv"
    # A .venv that somebody else made is kept if it works; one of ours is renewed when Python or the place changed.
    if ! usable ||
        { [ -n "$made" ] && [ "$(echo "$made" | head -n 1)" != "$(echo "$wanted" | head -n 1)" ]; }; then
        say "making $PWD/.venv with $("$1" -V)"
        "$1" -m venv --clear .venv
    fi
    rm -f "$stamp"
    say "installing sidekiq-lua[$2] into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".[$2]" ||
        die "pip could not install it; what it needs comes from the Python Package Index"
    printf '%s\n' "$wanted" >"$stamp"
}
