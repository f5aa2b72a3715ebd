#!/bin/sh
# Brings .venv to what a lock file says: `requirements/install.sh embedded`, or `dev`, which contains it.
# The stamp is written last and holds what it stands for, so a killed install is repeated and a finished one
# costs nothing.
set -eu
cd "$(dirname "$0")/.."
lock=requirements/$1.txt
stamp=.venv/installed-$1
ours="chassis services/accounts services/catalog services/cart services/orders services/payments gateway
    simulators/razorpay deploy/localservers deploy/embedded deploy/stack"

manifests=""
for folder in $ours; do manifests="$manifests $folder/pyproject.toml"; done

wanted() {
    pwd # our packages are linked by path: a moved checkout is linked again
    # shellcheck disable=SC2086  # a list of paths of ours, none of which has spaces
    cat requirements/uv.txt "$lock" $manifests
}

if wanted | cmp -s - "$stamp"; then exit 0; fi

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Haat needs Python 3.11 or newer as $python. Install it, or name one: make run PYTHON=python3.12" >&2
    exit 1
fi
echo "Installing what $lock lists into .venv (once)…"
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    if ! "$python" -m venv .venv >/dev/null 2>&1; then
        echo "$python cannot make a virtual environment. On Debian or Ubuntu: apt install python3-venv" >&2
        exit 1
    fi
fi
.venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt

install() { .venv/bin/uv pip install --quiet --python .venv/bin/python "$@"; }
install --require-hashes --compile-bytecode -r "$lock"
editables=""
for folder in $ours; do editables="$editables -e ./$folder"; done
# shellcheck disable=SC2086  # as above
install --no-deps --no-build-isolation $editables
wanted >"$stamp.new"
mv "$stamp.new" "$stamp"
