"""ZooKeeper's client protocol by hand: bytes in, bytes out, nothing hidden by a client library."""

import socket
import struct
import time

OPS = {"create": 1, "delete": 2, "exists": 3, "getData": 4, "setData": 5, "getACL": 6, "setACL": 7,
       "getChildren": 8, "sync": 9, "ping": 11, "getChildren2": 12, "check": 13, "multi": 14,
       "create2": 15, "checkWatches": 17, "removeWatches": 18, "createContainer": 19, "createTTL": 21,
       "auth": 100, "setWatches": 101, "getEphemerals": 103,
       "setWatches2": 105, "addWatch": 106, "close": -11}
WORLD = [(31, "world", "anyone")]
AUTH = [(31, "auth", "")]


def i32(v):
    return struct.pack(">i", v)


def i64(v):
    return struct.pack(">q", v)


def blob(v):
    """A string or a buffer; None is null."""
    if v is None:
        return i32(-1)
    if isinstance(v, str):
        v = v.encode()
    return i32(len(v)) + v


def boolean(v):
    return b"\x01" if v else b"\x00"


def strings(v):
    return i32(-1) if v is None else i32(len(v)) + b"".join(map(blob, v))


def acls(v):
    if v is None:
        return i32(-1)
    return i32(len(v)) + b"".join(i32(p) + blob(s) + blob(i) for p, s, i in v)


# Request records.
def create(path, data=b"", acl=WORLD, flags=0):
    return blob(path) + blob(data) + acls(acl) + i32(flags)


def versioned(path, version=-1):
    return blob(path) + i32(version)


def watched(path, watch=False):
    return blob(path) + boolean(watch)


def set_data(path, data, version=-1):
    return blob(path) + blob(data) + i32(version)


def set_acl(path, acl, version=-1):
    return blob(path) + acls(acl) + i32(version)


def set_watches(zxid, data=(), exist=(), child=()):
    return i64(zxid) + strings(list(data)) + strings(list(exist)) + strings(list(child))


def set_watches2(zxid, persistent=(), recursive=(), data=(), exist=(), child=()):
    return set_watches(zxid, data, exist, child) + strings(list(persistent)) + strings(list(recursive))


def typed(path, kind):
    """addWatch with its mode, checkWatches and removeWatches with their type."""
    return blob(path) + i32(kind)


def auth(scheme, secret):
    return i32(0) + blob(scheme) + blob(secret)


def multi(*ops):
    """ops: (name, record)."""
    out = b"".join(i32(OPS[n]) + boolean(False) + i32(-1) + r for n, r in ops)
    return out + i32(-1) + boolean(True) + i32(-1)


class Closed(Exception):
    """The server closed the connection."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise ValueError(f"truncated at {self.at} of {len(self.data)}")
        self.at += n
        return self.data[self.at - n:self.at]

    def i32(self):
        return struct.unpack(">i", self.take(4))[0]

    def i64(self):
        return struct.unpack(">q", self.take(8))[0]

    def boolean(self):
        return self.take(1) != b"\x00"

    def blob(self):
        n = self.i32()
        return None if n == -1 else self.take(n)

    def string(self):
        b = self.blob()
        return None if b is None else b.decode()

    def strings(self):
        n = self.i32()
        return None if n == -1 else [self.string() for _ in range(n)]

    def acls(self):
        n = self.i32()
        return None if n == -1 else [(self.i32(), self.string(), self.string()) for _ in range(n)]

    def stat(self):
        names = ("czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion",
                 "ephemeralOwner", "dataLength", "numChildren", "pzxid")
        return dict(zip(names, struct.unpack(">qqqqiiiqiiq", self.take(68))))

    def rest(self):
        return self.take(len(self.data) - self.at)


class Raw:
    """A socket that sends and takes frames."""

    def __init__(self, port, timeout=10):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self.sock.sendall(data)

    def send_frame(self, body):
        self.send(i32(len(body)) + body)

    def take(self, n):
        out = b""
        while len(out) < n:
            try:
                part = self.sock.recv(n - len(out))
            except ConnectionResetError as e:
                raise Closed() from e
            if not part:
                raise Closed()
            out += part
        return out

    def frame(self):
        n = struct.unpack(">i", self.take(4))[0]
        return self.take(n)

    def quiet(self, seconds=0.3):
        """True when nothing comes for that long."""
        self.sock.settimeout(seconds)
        try:
            return not self.sock.recv(1, socket.MSG_PEEK) and False
        except (socket.timeout, TimeoutError):
            return True
        finally:
            self.sock.settimeout(10)

    def close(self):
        self.sock.close()


class Session(Raw):
    """A connection with a session on it."""

    def __init__(self, port, timeout_ms=10000, session=0, passwd=bytes(16), last_zxid=0, flag=True, timeout=10):
        super().__init__(port, timeout)
        self.xid = 0
        body = i32(0) + i64(last_zxid) + i32(timeout_ms) + i64(session) + blob(passwd)
        self.send_frame(body + (b"\x00" if flag else b""))
        self.answer = self.frame()
        r = Reader(self.answer)
        self.protocol, self.timeout_ms, self.session = r.i32(), r.i32(), r.i64()
        self.passwd, self.tail = r.blob(), r.rest()

    def request(self, op, record=b"", xid=None):
        """Sends; the xid."""
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send_frame(i32(xid) + i32(OPS.get(op, op)) + record)
        return xid

    def reply(self):
        """(xid, zxid, err, Reader of the record)."""
        r = Reader(self.frame())
        return r.i32(), r.i64(), r.i32(), r

    def call(self, op, record=b"", xid=None):
        self.request(op, record, xid)
        return self.reply()

    def end(self):
        """closeSession, and wait until the server hangs up."""
        self.call("close")
        try:
            while True:
                self.take(1)
        except Closed:
            pass
        self.close()


def wait_for(condition, seconds=10):
    """Asks again until it is true; False when the time is over."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
