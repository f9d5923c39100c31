"""What the Python suites share: TAP lines, replicas that are started and surely ended, conditions that are
waited for, and a small client of the raw protocol.

    import os, sys
    sys.path.insert(0, os.path.join(os.environ["ZKFS_SRC"], "tests", "lib"))
    import zkfs_test as t

    @t.test("a replica answers")
    def _():
        with t.Replica(port=23400) as r:
            with t.Session(r.port) as s:
                s.create("/a", b"x")
                t.equal(s.get("/a")[0], b"x")

    t.main()

Sleeping for a result is not offered: wait_for(condition) polls with a limit. Every replica is ended when the
suite ends, whatever way: by `with`, at exit, and by the kernel should the suite be killed.
"""
import atexit
import ctypes
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

BUILD = os.environ.get("ZKFS_BUILD", "")
SRC = os.environ.get("ZKFS_SRC", "")

# --- TAP ---------------------------------------------------------------------------------------------------

_tests = []


def test(name):
    """Names a test by a sentence; main() runs them in order of appearance."""
    def add(fn):
        _tests.append((name, fn))
        return fn
    return add


class Failed(Exception):
    """A test's expectation was not met."""


def check(condition, text="expected to be true"):
    if not condition:
        raise Failed(text)


def equal(got, want, text=""):
    if got != want:
        raise Failed("%s: got %r, want %r" % (text or "not equal", got, want))


def note(text):
    """A line for the reader of the results (numbers measured, seeds)."""
    for line in str(text).splitlines():
        print("# " + line, flush=True)


def wait_for(condition, timeout=10.0, text="the condition", step=0.005):
    """Polls until condition() is true and returns its value; Failed after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed("%s did not come true in %.1f s" % (text, timeout))
        time.sleep(step)


def main():
    """Runs the tests (those whose names contain an argument, if there are arguments); the exit status says
    whether all passed."""
    chosen = [(n, f) for n, f in _tests if not sys.argv[1:] or any(a in n for a in sys.argv[1:])]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs and their children ignore it
    failed = 0
    for number, (name, fn) in enumerate(chosen, 1):
        begin = time.monotonic()
        try:
            fn()
            print("ok %d - %s # %.1f s" % (number, name, time.monotonic() - begin), flush=True)
        except Exception as e:  # whatever it is, the test has failed and the next one runs
            failed += 1
            print("not ok %d - %s" % (number, name), flush=True)
            note(traceback.format_exc() if not isinstance(e, Failed) else "%s\n%s" % (
                e, traceback.format_exc(limit=3)))
            _end_all()
            for lines in Replica.ended_logs:
                note("last log lines of a replica:\n" + "\n".join(lines))
        finally:
            _end_all()
            Replica.ended_logs.clear()
    print("1..%d" % len(chosen), flush=True)
    sys.exit(1 if failed or not chosen else 0)


def _end_all():
    for r in list(Replica.alive):
        r.close()


atexit.register(_end_all)

# --- replicas ----------------------------------------------------------------------------------------------


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Replica:
    """A zkreplica on 127.0.0.1 with a folder of its own. `config` adds or replaces keys of zoo.cfg (None
    takes one away); `wrapper` is a command that runs it (prlimit …). The process's stderr is log_path."""
    alive = []
    ended_logs = []  # last lines of those that ended in this test, for its report

    def __init__(self, port, config=None, directory=None, start=True, wrapper=(), env=None):
        self.port = port
        self.owns_directory = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="zkfs-test-")
        self.data_dir = os.path.join(self.directory, "data")
        self.log_dir = os.path.join(self.data_dir, "log")
        self.config_path = os.path.join(self.directory, "zoo.cfg")
        self.log_path = os.path.join(self.directory, "log.txt")
        self.wrapper = list(wrapper)
        self.env = env
        self.process = None
        Replica.alive.append(self)
        keys = {"dataDir": self.data_dir, "clientPort": port, "clientPortAddress": "127.0.0.1",
                "tickTime": 2000, "4lw.commands.whitelist": "*", "maxClientCnxns": 0}
        keys.update(config or {})
        with open(self.config_path, "w") as f:
            for key, value in keys.items():
                if value is not None:
                    f.write("%s=%s\n" % (key, value))
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self, wait=True):
        """Starts the process; with `wait`, until it accepts connections."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.wrapper + [os.path.join(BUILD, "replica", "zkreplica"), self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                preexec_fn=_die_with_parent)
        if wait:
            self.wait_serving()

    def wait_serving(self, timeout=20.0):
        def serving():
            if self.process.poll() is not None:
                raise Failed("the replica ended with status %d:\n%s" % (
                    self.process.returncode, "\n".join(self.log_lines()[-15:])))
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return True
            except OSError:
                return False
        wait_for(serving, timeout, "the replica serving on port %d" % self.port, step=0.002)

    def kill(self):
        """kill -9."""
        self.process.kill()
        return self.process.wait()

    def stop(self, timeout=20.0):
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(timeout)

    def restart(self):
        self.kill()
        self.start()

    def word(self, word, timeout=10.0):
        """The answer to a four-letter word, as text."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            s.sendall(word.encode())
            return recv_all(s).decode()

    def log_lines(self):
        with open(self.log_path, errors="replace") as f:
            return f.read().splitlines()

    def log_count(self, text):
        return sum(text in line for line in self.log_lines())

    def close(self):
        """Ends the process and removes its folder."""
        if self.process and self.process.poll() is None:
            self.kill()
        if self in Replica.alive:
            Replica.alive.remove(self)
            if os.path.exists(self.log_path):
                Replica.ended_logs.append(self.log_lines()[-15:])
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)


# --- the raw protocol --------------------------------------------------------------------------------------

CREATE, DELETE, EXISTS, GET, SET, CHILDREN, SYNC, PING, CLOSE = 1, 2, 3, 4, 5, 8, 9, 11, -11
OK, NONODE, BADVERSION, NODEEXISTS = 0, -101, -103, -110
OPEN_ACL = struct.pack(">ii", 1, 31) + struct.pack(">i5si6s", 5, b"world", 6, b"anyone")
EPHEMERAL = 1


class Lost(Exception):
    """The connection is gone."""


class Refused(Exception):
    """The server does not know the session, or its password is wrong."""


class ZkError(Exception):
    def __init__(self, code):
        super().__init__("error %d" % code)
        self.code = code


def recv_all(sock):
    parts = []
    while True:
        try:
            part = sock.recv(65536)
        except ConnectionError:
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


def recv_exactly(sock, n):
    data = b""
    while len(data) < n:
        try:
            part = sock.recv(n - len(data))
        except ConnectionError as e:
            raise Lost(str(e)) from e
        if not part:
            raise Lost("end of file")
        data += part
    return data


def recv_frame(sock):
    length, = struct.unpack(">i", recv_exactly(sock, 4))
    return recv_exactly(sock, length)


def frame(body):
    return struct.pack(">i", len(body)) + body


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def connect_frame(timeout_ms, session_id=0, passwd=b"\0" * 16, last_zxid=0):
    return frame(struct.pack(">iqiq", 0, last_zxid, timeout_ms, session_id) + text(passwd) + b"\0")


def parse_connect(body):
    """(timeout_ms, session_id, passwd); Refused when there is no session."""
    _, timeout_ms, session_id, length = struct.unpack_from(">iiqi", body)
    if timeout_ms <= 0:
        raise Refused()
    return timeout_ms, session_id, body[20:20 + length]


def request_frame(xid, op, body=b""):
    return frame(struct.pack(">ii", xid, op) + body)


def create_body(path, data=b"", flags=0):
    return text(path) + text(data) + OPEN_ACL + struct.pack(">i", flags)


def parse_reply(body):
    """(xid, zxid, err, rest)."""
    xid, zxid, err = struct.unpack_from(">iqi", body)
    return xid, zxid, err, body[16:]


class Session:
    """One blocking session on one socket. Its methods raise ZkError, Lost or Refused."""

    def __init__(self, port, timeout_ms=30000, session_id=0, passwd=b"\0" * 16, last_zxid=0,
                 socket_timeout=30.0, host="127.0.0.1"):
        self.xid = 0
        self.zxid = last_zxid
        self.events = []
        try:
            self.sock = socket.create_connection((host, port), timeout=socket_timeout)
        except OSError as e:
            raise Lost(str(e)) from e
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.send(connect_frame(timeout_ms, session_id, passwd, last_zxid))
            self.timeout_ms, self.session_id, self.passwd = parse_connect(recv_frame(self.sock))
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Lost(str(e)) from e

    def send_request(self, op, body=b""):
        self.xid += 1
        self.send(request_frame(self.xid, op, body))
        return self.xid

    def recv_reply(self):
        """(xid, zxid, err, rest) of the next reply; events are put aside."""
        while True:
            try:
                reply = parse_reply(recv_frame(self.sock))
            except socket.timeout as e:
                raise Lost("no reply in time") from e
            if reply[1] > 0:
                self.zxid = max(self.zxid, reply[1])
            if reply[0] != -1:
                return reply
            self.events.append(reply)

    def call(self, op, body=b""):
        xid = self.send_request(op, body)
        reply = self.recv_reply()
        while reply[0] == -2 and op != PING:
            reply = self.recv_reply()
        check(reply[0] == xid, "reply to xid %d where %d was asked" % (reply[0], xid))
        if reply[2] != 0:
            raise ZkError(reply[2])
        return reply[3]

    def ping(self):
        self.send(request_frame(-2, PING))

    def create(self, path, data=b"", flags=0):
        body = self.call(CREATE, create_body(path, data, flags))
        return body[4:].decode()

    def delete(self, path, version=-1):
        self.call(DELETE, text(path) + struct.pack(">i", version))

    def set(self, path, data, version=-1):
        """The new version."""
        return stat_version(self.call(SET, text(path) + text(data) + struct.pack(">i", version)))

    def get(self, path):
        """(data, version)."""
        body = self.call(GET, text(path) + b"\0")
        length, = struct.unpack_from(">i", body)
        data = None if length < 0 else body[4:4 + length]
        return data, stat_version(body[4 + max(length, 0):])

    def get_with_mzxid(self, path):
        """(data, version, mzxid)."""
        body = self.call(GET, text(path) + b"\0")
        length, = struct.unpack_from(">i", body)
        stat = body[4 + max(length, 0):]
        return None if length < 0 else body[4:4 + length], stat_version(stat), stat_mzxid(stat)

    def exists(self, path):
        try:
            self.call(EXISTS, text(path) + b"\0")
            return True
        except ZkError as e:
            if e.code == NONODE:
                return False
            raise

    def children(self, path):
        body = self.call(CHILDREN, text(path) + b"\0")
        count, = struct.unpack_from(">i", body)
        at, names = 4, []
        for _ in range(count):
            length, = struct.unpack_from(">i", body, at)
            names.append(body[at + 4:at + 4 + length].decode())
            at += 4 + length
        return names

    def sync(self, path="/"):
        self.call(SYNC, text(path))

    def close_session(self):
        self.call(CLOSE)
        self.sock.close()


def stat_mzxid(stat):
    """`mzxid` of an encoded Stat."""
    return struct.unpack_from(">qq", stat)[1]


def stat_version(stat):
    """`version` of an encoded Stat."""
    return struct.unpack_from(">qqqqi", stat)[4]
