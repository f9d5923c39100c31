"""Starts and stops the two servers that are compared: Apache's, from Debian's package, and ours."""

import os
import shutil
import signal
import socket
import subprocess
import time

CONFIG = """tickTime=2000
dataDir={data}
clientPort={port}
clientPortAddress=127.0.0.1
maxClientCnxns=100
admin.enableServer=false
4lw.commands.whitelist=*
extendedTypesEnabled=true
"""
CONTAINER_CHECK_MS = 200
START_SECONDS = 60


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def word(port, name, timeout=5):
    """The answer to a four-letter word, or what came of it until the connection ended."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(name.encode())
        out = b""
        while True:
            part = s.recv(65536)
            if not part:
                return out.decode(errors="replace")
            out += part


class Server:
    """One server; its data live in `folder` and outlast stop()."""

    name = ""

    def __init__(self, folder, port):
        self.folder = os.path.join(folder, self.name)
        self.port = port
        self.process = None
        data = os.path.join(self.folder, "data")
        os.makedirs(data)
        self.config = os.path.join(self.folder, "zoo.cfg")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(data=data, port=port))

    def command(self):
        raise NotImplementedError

    def begin(self):
        """Starts it without waiting."""
        if not port_is_free(self.port):
            raise RuntimeError(f"port {self.port} is in use: {self.name} cannot be started")
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, start_new_session=True)

    def wait(self):
        """Waits until it serves."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            try:
                if "Mode:" in word(self.port, "srvr"):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not serve:\n{self.tail()}")

    def start(self):
        self.begin()
        self.wait()

    def stop(self):
        """SIGTERM, then SIGKILL; its exit status."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        status, self.process = self.process.returncode, None
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def tail(self, lines=15):
        try:
            with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Apache(Server):
    name = "apache"

    def command(self):
        # No key of zoo.cfg: it has no "zookeeper." in front.
        return ["java", "-Xmx512m", f"-Dznode.container.checkIntervalMs={CONTAINER_CHECK_MS}", "-cp", "/etc/zookeeper/conf:/usr/share/java/*",
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", self.config]


class Ours(Server):
    name = "ours"

    def __init__(self, folder, port):
        super().__init__(folder, port)
        with open(self.config, "a", encoding="utf-8") as f:
            f.write(f"znode.container.checkIntervalMs={CONTAINER_CHECK_MS}\n")

    def command(self):
        return [os.path.join(os.environ["ZKFS_BUILD"], "replica/zkreplica"), self.config]
