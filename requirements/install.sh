#!/bin/sh
# Brings an environment to what the lock files say.
#
#   requirements/install.sh dev        .venv, with everything of ours
#   requirements/install.sh embedded   the same folder, with less: what `make run` needs
#   requirements/install.sh catalog    services/catalog/.venv, with that service, the chassis and what tests it;
#                                      likewise every other service, the gateway and the simulator
#
# The stamp is written last and holds what it stands for, so a killed install is repeated and a finished one
# costs nothing.
set -eu
cd "$(dirname "$0")/.."
locks="requirements/$1.txt"
place=.
ours="chassis deploy/localservers"
case $1 in
dev | embedded)
    ours="chassis services/accounts services/catalog services/cart services/orders services/payments gateway
        simulators/razorpay deploy/localservers deploy/embedded deploy/stack"
    ;;
gateway) place=gateway ;;
simulator)
    place=simulators/razorpay
    locks="$locks requirements/payments.txt" # its tests use the provider's SDK, as payments does
    ;;
payments)
    place=services/payments
    ours="$ours simulators/razorpay" # its tests pay at the stand-in for its provider
    ;;
*) place=services/$1 ;;
esac
if [ "$place" != . ]; then
    locks="$locks requirements/tests.txt"
    ours="$ours $place"
fi
environment=.venv
[ "$place" = . ] || environment=$place/.venv
stamp=$environment/installed-$1

manifests=""
for folder in $ours; do manifests="$manifests $folder/pyproject.toml"; done

wanted() {
    pwd # our packages are linked by path: a moved checkout is linked again
    # shellcheck disable=SC2086  # a list of paths of ours, none of which has spaces
    cat requirements/uv.txt $locks $manifests
}

if wanted | cmp -s - "$stamp"; then exit 0; fi

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Haat needs Python 3.11 or newer as $python. Install it, or name one: make run PYTHON=python3.12" >&2
    exit 1
fi
echo "Installing what $locks lists into $environment (once)…"
uv=.venv/bin/uv
if [ "$place" != . ] && cmp -s requirements/uv.txt .venv/uv.txt; then
    # The common environment is there: its uv is at hand, and makes others in no time.
    [ -x "$environment/bin/python" ] || "$uv" venv --quiet --python "$python" "$environment"
else
    uv=$environment/bin/uv
    if ! "$environment/bin/python" -m pip --version >/dev/null 2>&1; then
        if ! "$python" -m venv "$environment" >/dev/null 2>&1; then
            echo "$python cannot make a virtual environment. On Debian or Ubuntu: apt install python3-venv" >&2
            exit 1
        fi
    fi
    "$environment/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --require-hashes \
        -r requirements/uv.txt
    cp requirements/uv.txt "$environment/uv.txt"
fi

install() { "$uv" pip install --quiet --python "$environment/bin/python" "$@"; }
listed=""
for lock in $locks; do listed="$listed -r $lock"; done
compile=""
[ "$place" != . ] || compile=--compile-bytecode # else Python compiles what is used, which is far less
# shellcheck disable=SC2086  # as above
install --require-hashes $compile $listed
editables=""
for folder in $ours; do editables="$editables -e ./$folder"; done
# shellcheck disable=SC2086  # as above
install --no-deps --no-build-isolation $editables
wanted >"$stamp.new"
mv "$stamp.new" "$stamp"
