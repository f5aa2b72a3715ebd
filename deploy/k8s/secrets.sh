#!/bin/sh
# The secrets of a shop in Kubernetes, made by the same program as those of compose. Nothing of them is ever committed.
#   deploy/k8s/secrets.sh demo      makes them up, once, as the files that overlays/local reads
#   deploy/k8s/secrets.sh invent    prints fresh ones as lines for a file .env of your own
#   deploy/k8s/secrets.sh           from the variables of that file: prints one Secret per part, for `kubectl apply -f -`
# Where the servers are: DATABASE_PLACE, READ_DATABASE_PLACE, BROKER_PLACE; those of components/database and
# components/broker when not set.
set -eu
cd "$(dirname "$0")/../.."
export DEFINITIONS=deploy/rabbitmq/definitions.json PYTHONPATH=.

[ -x .venv/bin/python ] || requirements/install.sh embedded >&2
hand_out() { .venv/bin/python deploy/compose/hand_out.py "$@"; }
secret() { kubectl create secret generic "$@" --namespace haat --dry-run=client --output yaml && echo ---; }

case ${1:-} in
demo)
    export SECRETS_FOLDER=deploy/k8s/overlays/local/secrets SIMULATOR_PUBLIC_URL=http://localhost:8090
    (umask 077 && mkdir -p "$SECRETS_FOLDER/demo")
    hand_out demo
    hand_out
    ;;
invent)
    hand_out invent
    ;;
*)
    SECRETS_FOLDER=$(mktemp -d)
    trap 'rm -rf "$SECRETS_FOLDER"' EXIT
    export SECRETS_FOLDER HAAT_ENV=production
    export DATABASE_PLACE="${DATABASE_PLACE:-{service\}-db-rw.haat.svc:5432}"
    export READ_DATABASE_PLACE="${READ_DATABASE_PLACE-{service\}-db-r.haat.svc:5432}"
    export BROKER_PLACE="${BROKER_PLACE:-rabbitmq.haat.svc:5672}"
    hand_out
    for part in accounts catalog cart orders payments gateway; do
        secret "$part-secrets" --from-file="$SECRETS_FOLDER/$part"
    done
    for service in accounts catalog cart orders payments; do
        prefix=$(echo "$service" | tr '[:lower:]' '[:upper:]')
        # The first role keeps its password while its service enters by the second one.
        eval "user=\${${prefix}_DATABASE_USER:-$service}"
        [ "$user" = "$service" ] || continue
        secret "$service-db-user" --type kubernetes.io/basic-auth --from-literal=username="$service" \
            --from-file=password="$SECRETS_FOLDER/postgres/${prefix}_DATABASE_PASSWORD"
    done
    secret rabbitmq-secrets --from-file="$SECRETS_FOLDER/rabbitmq"
    ;;
esac
