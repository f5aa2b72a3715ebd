"""What the variables of each process are set to, on this machine and in this data folder."""

import json
from dataclasses import dataclass

from chassis.auth import jwks
from embedded.home import Secrets
from localservers.postgres import PostgresServer
from stack.servers import Broker
from stack.topology import Member, Part

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Premises:
    """What the processes stand on."""

    secrets: Secrets
    server: PostgresServer
    broker: Broker
    processes: dict[str, list[Member]]
    """By part."""
    public_url: str
    simulator_url: str

    def variables(self, process: Member) -> dict[str, str]:
        """Everything that this process is told."""
        facts = {**self._shared(), **self._of(process.part), **_of_process(process)}
        return {variable: facts[fact] for variable, fact in process.part.variables().items()}

    def database_url(self, name: str) -> str:
        return self.server.url(name, user=name, password=self.secrets.database_passwords[name])

    def _shared(self) -> dict[str, str]:
        secrets = self.secrets
        return {
            "env": "demo",
            "host": HOST,
            "public_url": self.public_url,
            "service_keys": jwks(secrets.service_keys.values()).decode(),
            "signing_keys": json.dumps({"keys": secrets.signing_keys}),
            "refresh_key": secrets.refresh_key,
            "simulator_url": self.simulator_url,
            "simulator_page_url": f"{self.simulator_url}/simulator/checkout",
            "razorpay_key_id": secrets.razorpay_key_id,
            "razorpay_key_secret": secrets.razorpay_key_secret,
            "webhook_secret": secrets.webhook_secret,
            **{f"{name}_url": self._addresses(name) for name in self.processes},
        }

    def _of(self, part: Part) -> dict[str, str]:
        facts = {
            "amqp_url": self.broker.url(part.name),
            "service_key": json.dumps(self.secrets.service_keys[part.name]),
        }
        return {**facts, "database_url": self.database_url(part.name)} if part.has_database else facts

    def _addresses(self, name: str) -> str:
        """One address, or several with commas."""
        answering = [process for process in self.processes[name] if process.role != "worker"]
        return ",".join(f"http://{HOST}:{process.port}" for process in answering)


def _of_process(process: Member) -> dict[str, str]:
    return {"port": str(process.port), "management_port": str(process.management_port), "role": process.role}
