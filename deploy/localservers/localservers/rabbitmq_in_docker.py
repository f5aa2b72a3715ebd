"""A RabbitMQ in a container, where a Docker engine answers."""

import os
import time
from pathlib import Path
from typing import Any

from localservers.broker import BrokerUnavailable, RunningBroker
from localservers.ports import free_port
from localservers.rabbitmq_readiness import answers_amqp

_IMAGE = "rabbitmq:4.1"
_READY_WITHIN = 120.0
_USER = "haat"


class ContainerBroker(RunningBroker):
    def __init__(self, container: Any, *, port: int) -> None:
        self._container = container
        self._port = port
        self.amqp_url = f"amqp://{_USER}:{_USER}@127.0.0.1:{port}/"
        self.version = _IMAGE.partition(":")[2]
        self.source = f"Docker image {_IMAGE}"

    def wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        while not answers_amqp(self._port):
            if time.monotonic() > deadline:
                self.close()
                raise BrokerUnavailable(f"{self.source} did not answer within {_READY_WITHIN:.0f} s")
            time.sleep(0.2)

    def stop(self) -> None:
        self._container.stop()

    def close(self) -> None:
        self._container.remove(force=True, v=True)

    def kill(self) -> None:
        self._container.kill()

    def restart(self) -> None:
        self._container.restart()
        self.wait_ready()

    def pause(self) -> None:
        self._container.pause()

    def resume(self) -> None:
        self._container.unpause()

    def ctl(self, *args: str) -> str:
        code, printed = self._container.exec_run(["rabbitmqctl", *args])
        text: str = printed.decode()
        if code != 0:
            raise RuntimeError(text)
        return text


def start_in_docker() -> RunningBroker:
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        raise BrokerUnavailable("no Docker engine answers")
    # A heavy import that most machines never need.
    import docker
    from testcontainers.core.container import DockerContainer

    try:
        docker.from_env(timeout=5).ping()
    except (docker.errors.DockerException, OSError):
        raise BrokerUnavailable("no Docker engine answers") from None
    port = free_port()
    container = DockerContainer(_IMAGE).with_bind_ports(5672, port)
    container = container.with_env("RABBITMQ_DEFAULT_USER", _USER).with_env("RABBITMQ_DEFAULT_PASS", _USER)
    try:
        container.start()
    except docker.errors.DockerException as refusal:
        raise BrokerUnavailable(f"Docker cannot run {_IMAGE}: {refusal}") from None
    broker = ContainerBroker(container.get_wrapped_container(), port=port)
    broker.wait_ready()
    return broker
