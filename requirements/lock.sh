#!/bin/sh
# Writes the lock files: names, versions and hashes. Ours are path sources, so no registry is asked for them.
# dev.txt comes first and constrains the others: one version of everything, whichever file it is installed from.
# `requirements/lock.sh --upgrade` takes newer versions; without it a version moves only when it must.
set -eu
upgrade=${1:-}
cd "$(dirname "$0")/.."
uv=.venv/bin/uv

ours="accounts cart catalog chassis embedded gateway localservers orders payments razorpay-simulator stack"
not_ours=""
for name in $ours; do not_ours="$not_ours --no-emit-package haat-$name"; done

compile() {
    target=requirements/$1.txt
    shift
    # shellcheck disable=SC2086  # the words of $not_ours and $upgrade are options
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links $not_ours $upgrade --output-file "$target" "$@"
    echo "wrote $target"
}

locked="--constraint requirements/dev.txt"
compile dev requirements/dev.in requirements/build.in deploy/embedded/pyproject.toml deploy/stack/pyproject.toml \
    chassis/pyproject.toml --extra telemetry --extra testing
# shellcheck disable=SC2086
{
    compile uv requirements/uv.in
    compile kubectl requirements/kubectl.in --no-deps
    compile embedded requirements/build.in deploy/embedded/pyproject.toml $locked
    compile simulator requirements/build.in simulators/razorpay/pyproject.toml $locked
    compile tests requirements/tests.in requirements/build.in simulators/razorpay/pyproject.toml \
        chassis/pyproject.toml --extra testing $locked
    compile gateway requirements/build.in gateway/pyproject.toml --extra telemetry $locked
    for service in accounts catalog cart orders payments; do
        compile "$service" requirements/build.in "services/$service/pyproject.toml" --extra telemetry $locked
    done
}
