"""Real servers for tests, started from the scripts in tests/servers; each can be killed and started again."""

import contextlib
import random
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import psutil

from tests.support.require import REPOSITORY, missing

SCRIPTS = REPOSITORY / "tests" / "servers"
NOT_INSTALLED = 3
START_SECONDS = 180
"""What a server may take to answer on a busy machine."""
# A server dies with the thread that started it, so that none outlives a test run that was killed: this
# thread lives as long as the process, which a test's own threads do not.
STARTER = ThreadPoolExecutor(1, thread_name_prefix="servers")


def free_ports(number: int) -> list[int]:
    """Return ports that nothing listens on, outside the range that outgoing connections are given.

    A killed server finds its port free again, since no connection of another process can sit on it.
    """
    ports: list[int] = []
    while len(ports) < number:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(port)
    return ports


class Server:
    """One server on loopback with its own folder; `url` stays the same through kill() and start()."""

    script: ClassVar[str]
    port_options: ClassVar[tuple[str, ...]]
    options: tuple[str, ...] = ()
    url: str

    def __init__(self) -> None:
        fetched = subprocess.run(
            [SCRIPTS / self.script, "fetch"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if fetched.returncode == NOT_INSTALLED:
            missing(fetched.stderr.strip().splitlines()[-1])
        assert fetched.returncode == 0, fetched.stderr
        # Not pytest's own temporary folder: only its owner may enter that, and some servers refuse to run as root.
        self.folder = Path(tempfile.mkdtemp(prefix=f"hark-{self.script}-"))
        self.folder.chmod(0o755)
        self.ports = free_ports(len(self.port_options))
        self.log = self.folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def ready(self) -> bool:
        """Say whether the server answers."""
        raise NotImplementedError

    def start(self, wait_seconds: float = START_SECONDS) -> None:
        """Start the server on its data and return when it answers; nothing happens when it runs already."""
        if self.process is not None:
            return
        command = [SCRIPTS / self.script, "run", "--dir", self.folder / "server"]
        for option, port in zip(self.port_options, self.ports, strict=True):
            command += [option, str(port)]
        command += self.options
        with self.log.open("wb") as log:
            self.process = STARTER.submit(
                subprocess.Popen,
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).result()
        deadline = time.monotonic() + wait_seconds
        while not self.ready():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                what = "ended while starting" if ended else f"does not answer after {wait_seconds:.0f} s"
                raise RuntimeError(f"{self.script} {what}:\n" + self.log.read_text(errors="replace")[-4000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """Send SIGKILL to the server and all its processes; return when they are gone. The data stays."""
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            family = [parent, *parent.children(recursive=True)]
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(family, timeout=30)
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process = None

    def remove(self) -> None:
        """Kill the server and delete its data."""
        self.kill()
        shutil.rmtree(self.folder)


class KafkaServer(Server):
    """Apache Kafka, one node; `url` is the bootstrap string host:port. Topics are not created by themselves."""

    script = "kafka-server"
    port_options = ("--port", "--controller-port")

    def __init__(self) -> None:
        super().__init__()
        self.url = f"127.0.0.1:{self.ports[0]}"

    def ready(self) -> bool:
        return "Kafka Server started" in self.log.read_text(errors="replace")


class SecureKafkaServer(KafkaServer):
    """Kafka with one more listener, at `secure_url`: TLS by a certificate made for it, and a login.

    `certificate` is the file of its own authority too; it is good for two days.
    """

    port_options = (*KafkaServer.port_options, "--secure-port")
    user, password = "ana", "s3cret-and-long"

    def __init__(self) -> None:
        if shutil.which("openssl") is None:
            missing("openssl is not here: install it, it makes a certificate")
        super().__init__()
        self.secure_url = f"127.0.0.1:{self.ports[2]}"
        key, self.certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=kafka -keyout {key} -out {self.certificate}"
        subprocess.run(
            [*make.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True
        )
        both = self.folder / "both.pem"
        both.write_bytes(key.read_bytes() + self.certificate.read_bytes())
        self.options = ("--certificate", str(both), "--user", self.user, "--password", self.password)


class ElasticsearchServer(Server):
    """Elasticsearch, one node; `url` is its http address."""

    script = "elasticsearch-server"
    port_options = ("--port", "--transport-port")

    def __init__(self) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{self.ports[0]}"

    def ready(self) -> bool:
        health = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=2s"
        try:
            with urllib.request.urlopen(health, timeout=5) as answer:
                return b'"timed_out":false' in answer.read()
        except (urllib.error.URLError, OSError):
            return False


class PostgresServer(Server):
    """PostgreSQL; `url` names the database `hark` of the user `hark`, who may create others."""

    script = "postgres-server"
    port_options = ("--port",)

    def __init__(self) -> None:
        super().__init__()
        self.url = f"postgresql://hark@127.0.0.1:{self.ports[0]}/hark"

    def ready(self) -> bool:
        return (
            "ready to accept connections"
            in self.log.read_text(errors="replace").rsplit("starting PostgreSQL", 1)[-1]
        )
