"""Ensembles for tests: members in network namespaces of their own, or on ports of 127.0.0.1; ours or Apache's.

    net = ensemble.Net(4)                       # hosts 1 to 4; this process moves to the last
    e = ensemble.Ensemble(3, net=net)           # members on hosts 1 to 3
    e.start()
    e.leader().kill()

Net needs nothing of the kernel but namespaces and TUN devices: a process of ours (tests/fault/ensemble/net.c) is the
wire, and cuts, delays and loses. Everything ends with this process, however it ends."""
import atexit
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import zkfs_test as t

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18
CLIENT_PORT, PEER_PORT, ELECTION_PORT = 2181, 2888, 3888
APACHE = os.environ.get("ZKFS_SERVER") == "apache"
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(namespace):
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def _own_mounts():
    """What this process mounts from now on is seen by it and its children only, and goes with them."""
    if _libc.unshare(CLONE_NEWNS) != 0 or _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "a mount namespace")


class Net:
    """`count` hosts, 10.77.0.1 and on. This process, and what it starts, is on the last one from now on, with mounts
    of its own."""

    def __init__(self, count):
        self.count = count
        self.process = subprocess.Popen(
            [os.path.join(t.BUILD, "tests", "fault", "ensemble", "ensemble_net"), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=t._die_with_parent)
        atexit.register(self.close)
        self.namespaces = []
        for _ in range(count):
            line = self.process.stdout.readline().split()
            t.check(len(line) == 4, "the network does not start")
            self.namespaces.append("/proc/%s/fd/%s" % (line[2], line[3]))
        _enter(self.namespaces[-1])
        _own_mounts()

    def command(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        t.check(answer == "ok", "the network's answer to %s: %r" % (words, answer))

    def cut(self, a, b):
        """Nothing comes from host a to host b any more."""
        self.command("cut", a, b)

    def part(self, some, others):
        """Nothing comes through between the two lists of hosts."""
        for a in some:
            for b in others:
                self.cut(a, b)
                self.cut(b, a)

    def slow(self, a, b, ms, permille):
        self.command("slow", a, b, ms, permille)

    def heal(self):
        self.command("heal")

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(10)


class Member:
    """One server. `host` and `port` are where clients find it."""

    def __init__(self, ensemble, number):
        self.ensemble, self.number = ensemble, number
        self.folder = os.path.join(ensemble.folder, "member-%d" % number)
        self.data = os.path.join(self.folder, "data")
        self.config_path = os.path.join(self.folder, "zoo.cfg")
        self.log_path = os.path.join(self.folder, "log.txt")
        self.host, self.port, _, _ = ensemble.place(number)
        self.process = None
        os.makedirs(self.data)
        self.write_myid()
        with open(self.config_path, "w") as f:
            for key, value in ensemble.config(self).items():
                f.write("%s=%s\n" % (key, value))

    def write_myid(self):
        with open(os.path.join(self.data, "myid"), "w") as f:
            f.write("%d\n" % self.number)

    def command(self):
        if self.ensemble.apache:
            return ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
                    "-cp", "/etc/zookeeper/conf:/usr/share/java/*",
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain", self.config_path]
        return [self.ensemble.program, self.config_path]

    def start(self):
        """Starts it and does not wait."""
        net = self.ensemble.net

        def prepare():
            t._die_with_parent()
            if net is not None:
                _enter(net.namespaces[self.number - 1])
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.ensemble.wrapper + self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=prepare)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, timeout=20):
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(timeout)

    def freeze(self):
        """SIGSTOP, until it stands still."""
        self.process.send_signal(signal.SIGSTOP)

        def stands():
            with open("/proc/%d/stat" % self.process.pid) as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "T"
        t.wait_for(stands, 5, "the process standing still", step=0.001)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def lose_data(self):
        """Its disk was replaced."""
        shutil.rmtree(self.data)
        os.mkdir(self.data)
        self.write_myid()

    def word(self, name, timeout=2.0):
        with socket.create_connection((self.host, self.port), timeout=timeout) as s:
            s.settimeout(timeout)
            s.sendall(name.encode())
            return t.recv_all(s).decode(errors="replace")

    def mode(self, timeout=0.5):
        """leader, follower, observer, or None while it does not serve (or only who takes a read-only server)."""
        try:
            found = re.search(r"^Mode: (leader|follower|observer)$", self.word("srvr", timeout), re.M)
        except OSError:
            return None
        return found[1] if found else None

    def ended(self):
        """Why it is not there although it should be, or None."""
        if self.process is None or self.process.poll() is None:
            return None
        return "member %d ended with status %s:\n%s" % (self.number, self.process.returncode, self.tail())

    def wait_serving(self, timeout=60):
        def serving():
            t.check(self.ended() is None, self.ended())
            return self.mode()
        return t.wait_for(serving, timeout, "member %d serving" % self.number, step=0.02)

    def log_lines(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read().splitlines()
        except OSError:
            return []

    def tail(self, lines=25):
        if self.ensemble.apache:
            return ""  # without a logger it says nothing of use
        return "\n".join(self.log_lines()[-lines:])


class Ensemble:
    """Members 1 to `count`, not started. With a net, member I is on host I; without, on ports from `port`
    of 127.0.0.1: I-1 for clients, and above all of these two for each other. `program` is another zkreplica."""
    alive = []

    def __init__(self, count, net=None, port=None, apache=APACHE, config=None, wrapper=(), folder=None,
                 program=os.path.join(t.BUILD, "replica", "zkreplica")):
        self.program = program
        self.count, self.net, self.port, self.apache = count, net, port, apache
        self.more = config or {}
        self.wrapper = list(wrapper)
        self.folder = folder or tempfile.mkdtemp(prefix="zkfs-ensemble-")
        self.members = [Member(self, i + 1) for i in range(count)]
        Ensemble.alive.append(self)
        atexit.register(self.close)

    def place(self, number):
        """(host, client port, peer port, election port)"""
        if self.net is not None:
            return "10.77.0.%d" % number, CLIENT_PORT, PEER_PORT, ELECTION_PORT
        first = self.port + self.count
        return "127.0.0.1", self.port + number - 1, first + 2 * number, first + 2 * number + 1

    def config(self, member):
        keys = {"tickTime": 500, "initLimit": 20, "syncLimit": 4, "dataDir": member.data,
                "clientPort": member.port, "clientPortAddress": member.host, "maxClientCnxns": 0,
                "4lw.commands.whitelist": "*"}
        if self.apache:
            keys["admin.enableServer"] = "false"
        else:
            keys["preAllocSize"] = 1024
        for i in range(self.count):
            host, _, peer, election = self.place(i + 1)
            keys["server.%d" % (i + 1)] = "%s:%d:%d" % (host, peer, election)
        keys.update(self.more)
        return keys

    def servers(self):
        return ",".join("%s:%d" % (m.host, m.port) for m in self.members)

    def start(self, timeout=60):
        for m in self.members:
            if not m.alive():
                m.start()
        self.wait_serving(timeout)

    def wait_serving(self, timeout=60):
        """Until all members serve, and one of them leads."""
        for m in self.members:
            m.wait_serving(timeout)
        return self.leader(timeout)

    def leader(self, timeout=30):
        """The one that says so: one that was frozen may say it too, until it hears of its successor."""
        def look():
            modes = [m.mode() if m.alive() else None for m in self.members]
            leaders = [m for m, mode in zip(self.members, modes) if mode == "leader"]
            return leaders if len(leaders) == 1 else []
        return t.wait_for(look, timeout, "one leader", step=0.02)[0]

    def followers(self):
        leader = self.leader()
        return [m for m in self.members if m is not leader]

    def kill_all(self):
        """As near to one moment as it goes."""
        for m in self.members:
            if m.process is not None:
                m.process.kill()
        for m in self.members:
            m.kill()

    def stop(self):
        """SIGTERM to all; their exit statuses."""
        for m in self.members:
            m.process.terminate()
        return [m.process.wait(30) for m in self.members]

    def tails(self):
        return "\n".join("member %d:\n%s" % (m.number, m.tail(15)) for m in self.members)

    def close(self):
        if self not in Ensemble.alive:
            return
        Ensemble.alive.remove(self)
        for m in self.members:
            if m.alive():
                m.thaw()
        self.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)


class Load:
    """ensemble_load: sessions that write down a history."""

    def __init__(self, ensemble, prefix, clients=20, keys=24, rate=1500, timeout_ms=2000, seed=1):
        self.ensemble, self.prefix, self.keys = ensemble, prefix, keys
        self.history = os.path.join(ensemble.folder, "history-%s" % prefix.strip("/"))
        self.errors = ""
        self.process = subprocess.Popen(
            [os.path.join(t.BUILD, "tests", "fault", "ensemble", "ensemble_load"), self.history,
             ensemble.servers(), str(clients), str(keys), str(rate), str(timeout_ms), prefix, str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=t._die_with_parent)
        self.reader = threading.Thread(target=self.read_errors, daemon=True)
        self.reader.start()

    def read_errors(self):
        self.errors = self.process.stderr.read()

    def ask(self, word):
        """The one line that answers a command."""
        try:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline().strip()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait(10)
            self.reader.join(5)
            raise t.Failed("the load ended with status %s: %s" % (self.process.returncode, self.errors[-3000:]))
        return line

    def count(self):
        """What was done so far, by name."""
        return {k: float(v) for k, v in (x.split("=") for x in self.ask("count").split())}

    def mark(self):
        t.equal(self.ask("mark"), "ok")

    def wait_progress(self, more=20, timeout=30, text="writes going on"):
        """Until so many more writes are acknowledged."""
        before = self.count()["acknowledged"]
        t.wait_for(lambda: self.count()["acknowledged"] >= before + more, timeout, text, step=0.01)

    def stop(self, timeout=40):
        line = self.ask("stop")
        t.equal(self.process.wait(timeout), 0, "the load's end")
        return {k: float(v) for k, v in (x.split("=") for x in line.split())}

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
