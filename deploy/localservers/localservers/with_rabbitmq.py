"""Runs a command with a real RabbitMQ beside it: `python -m localservers.with_rabbitmq pytest …`.

One broker serves every worker of a parallel run; the command finds it in TEST_AMQP_URL.
"""

import os
import subprocess
import sys
from pathlib import Path

from localservers.postgres_binaries import NoPostgresFound, find_binaries
from localservers.rabbitmq import NoRabbitMQ, provide_rabbitmq


def main(command: list[str]) -> int:
    try:
        postgres = find_binaries()
        broker = provide_rabbitmq(Path(".cache") / "rabbitmq")
    except (NoPostgresFound, NoRabbitMQ) as missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    try:
        sys.stdout.write(f"PostgreSQL {postgres.version} from {postgres.source}\n")
        sys.stdout.write(f"RabbitMQ {broker.version} from {broker.source}\n")
        sys.stdout.flush()
        environment = {**os.environ, "TEST_AMQP_URL": broker.amqp_url}
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        broker.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
