"""The script of operations through kazoo. Usage: kz.py PORT[,PORT...]. See client.h for what is printed."""

import logging
import socket
import sys
import threading

from kazoo.exceptions import ConnectionLoss, KazooException
from kazoo.protocol.states import EventType, KazooState
from kazoo.security import make_acl, make_digest_acl

import wire
from kz_again import Client

logging.basicConfig(level=logging.CRITICAL)


class Script:
    def __init__(self, ports):
        self.hosts = ",".join(f"127.0.0.1:{port}" for port in ports.split(","))
        self.base = None
        self.zk = self.client()
        self.owners = {0: "0", self.zk.client_id[0]: "me"}
        self.events = []

    def client(self, **more):
        zk = Client(hosts=self.hosts, timeout=10, **more)
        zk.start(timeout=15)
        return zk

    def zxid(self, z):
        return "0" if z == 0 else f"{z - self.base:+d}"

    def stat(self, s):
        return (f"c{self.zxid(s.czxid)} m{self.zxid(s.mzxid)} p{self.zxid(s.pzxid)} v={s.version} "
                f"cv={s.cversion} av={s.aversion} eo={self.owners.get(s.ephemeralOwner, 'unknown')} "
                f"dl={s.dataLength} nc={s.numChildren}")

    def text(self, value):
        if hasattr(value, "czxid"):
            return self.stat(value)
        if isinstance(value, KazooException):
            return type(value).__name__
        if isinstance(value, tuple):
            return " ".join(self.text(v) for v in value)
        if isinstance(value, list):
            if all(isinstance(v, str) for v in value):
                value = sorted(value)
            return "[" + ", ".join(self.text(v) for v in value) + "]"
        return repr(value)

    def do(self, step, function, *args, **named):
        try:
            print(f"{step}: {self.text(function(*args, **named))}", flush=True)
        except KazooException as e:
            print(f"{step}: {type(e).__name__}", flush=True)

    def watch(self, event):
        if event.type == EventType.NONE:
            return  # of the connection; it comes at any moment
        self.events.append(f"{event.type} {event.state} {event.path}")

    def event(self, step):
        wire.wait_for(lambda: self.events, 5)
        print(f"{step}: {self.events.pop(0) if self.events else 'no event came'}", flush=True)


def data(s):
    zk = s.zk
    s.do("create", zk.create, "/kz/a", b"value")
    s.do("create with stat", zk.create, "/kz/b", b"", include_data=True)
    s.do("create exists", zk.create, "/kz/a", b"")
    s.do("create without a parent", zk.create, "/kz/x/y", b"")
    s.do("create with parents", zk.create, "/kz/x/y/z", b"", makepath=True)
    s.do("create ephemeral", zk.create, "/kz/e", b"", ephemeral=True)
    s.do("create below it", zk.create, "/kz/e/c", b"")
    s.do("create sequential", zk.create, "/kz/s-", b"", sequence=True)
    s.do("create both", zk.create, "/kz/s-", b"", sequence=True, ephemeral=True)
    s.do("ensure_path", zk.ensure_path, "/kz/p/q/r")
    s.do("exists", zk.exists, "/kz/s-0000000004")
    s.do("exists none", zk.exists, "/kz/none")
    s.do("get", zk.get, "/kz/a")
    s.do("get none", zk.get, "/kz/none")
    s.do("set", zk.set, "/kz/a", b"two")
    s.do("set version", zk.set, "/kz/a", b"three", version=1)
    s.do("set wrong version", zk.set, "/kz/a", b"four", version=1)
    s.do("set none", zk.set, "/kz/none", b"")
    s.do("get after", zk.get, "/kz/a")
    s.do("children", zk.get_children, "/kz")
    s.do("children with stat", zk.get_children, "/kz", include_data=True)
    s.do("children of none", zk.get_children, "/kz/none")
    s.do("sync", zk.sync, "/kz")
    s.do("delete wrong version", zk.delete, "/kz/a", version=0)
    s.do("delete a parent", zk.delete, "/kz/x")
    s.do("delete a tree", zk.delete, "/kz/x", recursive=True)
    s.do("delete", zk.delete, "/kz/a", version=2)
    s.do("delete none", zk.delete, "/kz/a")


def acls(s):
    zk, other = s.zk, s.client(auth_data=[("digest", "ann:secret")])
    acl = [make_digest_acl("ann", "secret", all=True), make_acl("world", "anyone", read=True)]
    s.do("create with ACL", zk.create, "/kz/acl", b"s", acl=acl)
    s.do("get_acls", zk.get_acls, "/kz/acl")
    other.sync("/kz")  # it may be on another server, that is a little behind
    s.do("get_acls with ADMIN", other.get_acls, "/kz/acl")
    s.do("set without WRITE", zk.set, "/kz/acl", b"x")
    s.do("set with WRITE", other.set, "/kz/acl", b"x")
    zk.sync("/kz")
    s.do("set_acls without ADMIN", zk.set_acls, "/kz/acl", acl)
    s.do("set_acls", other.set_acls, "/kz/acl", [make_acl("world", "anyone", all=True)], version=0)
    s.do("set_acls wrong version", other.set_acls, "/kz/acl", acl, version=0)
    zk.sync("/kz")
    s.do("set after it", zk.set, "/kz/acl", b"y")
    s.do("add_auth", zk.add_auth, "digest", "bob:pw")
    s.do("create with auth", zk.create, "/kz/acl2", b"", acl=[make_acl("auth", "", all=True)])
    s.do("get_acls of auth", zk.get_acls, "/kz/acl2")
    other.sync("/kz")
    s.do("get by another", other.get, "/kz/acl2")
    other.stop()
    other.close()


def watches(s):
    zk, w = s.zk, s.client()
    for step, arm, cause in (
            ("create", lambda: w.exists("/kz/w", watch=s.watch), lambda: zk.create("/kz/w", b"")),
            ("set by exists", lambda: w.exists("/kz/w", watch=s.watch), lambda: zk.set("/kz/w", b"1")),
            ("set by get", lambda: w.get("/kz/w", watch=s.watch), lambda: zk.set("/kz/w", b"2")),
            ("child created", lambda: w.get_children("/kz/w", watch=s.watch), lambda: zk.create("/kz/w/k", b"")),
            ("child deleted", lambda: w.get_children("/kz/w", watch=s.watch), lambda: zk.delete("/kz/w/k")),
            ("delete by get", lambda: w.get("/kz/w", watch=s.watch), lambda: zk.delete("/kz/w"))):
        w.sync("/kz")
        arm()
        cause()
        s.event(f"watch, {step}")
    print(f"watch, nothing more: {s.events}", flush=True)
    w.stop()
    w.close()


def transactions(s):
    zk = s.zk

    def commit(step, *ops):
        t = zk.transaction()
        for name, *args in ops:
            getattr(t, name)(*args)
        s.do(step, zk.again, t.commit)

    zk.create("/kz/t", b"0")
    commit("multi", ("create", "/kz/t/a", b"1"), ("set_data", "/kz/t", b"1", 0), ("check", "/kz/t", 1),
           ("delete", "/kz/t/a", 0))
    commit("multi fails at the first", ("check", "/kz/t", 7), ("create", "/kz/t/b", b""))
    commit("multi fails in the middle", ("create", "/kz/t/b", b""), ("set_data", "/kz/none", b""),
           ("delete", "/kz/t/b"))
    commit("multi fails at the last", ("create", "/kz/t/b", b""), ("delete", "/kz/t"))
    s.do("multi left nothing", zk.get_children, "/kz/t", include_data=True)


def pipelined(s):
    calls = []
    for n in range(200):
        calls.append((n, s.zk.set_async("/kz/t", str(n).encode()), s.zk.get_async("/kz/t")))
    wrong = 0
    try:
        for n, put, got in calls:
            value, stat = got.get(timeout=20)
            wrong += put.get(timeout=20).version != stat.version or value != str(n).encode()
    except ConnectionLoss:
        s.zk.say_lost()
    print(f"pipelined: {len(calls)} pairs, {wrong} wrong", flush=True)


def cut(s):
    """The connection is cut; the session, its ephemerals and its watches outlive that."""
    zk, states = s.zk, []
    back = threading.Event()

    def listen(state):
        states.append(state)
        if state == KazooState.CONNECTED:
            back.set()

    zk.add_listener(listen)
    session = zk.client_id
    zk.get("/kz/t", watch=s.watch)
    zk.get_children("/kz/t", watch=s.watch)
    zk.exists("/kz/t/later", watch=s.watch)
    zk._connection._socket.shutdown(socket.SHUT_RDWR)  # pylint: disable=protected-access
    print(f"cut: back {back.wait(15)}, states {states}, same session {session == zk.client_id}", flush=True)
    zk.remove_listener(listen)
    s.do("cut, ephemeral", zk.exists, "/kz/e")
    # kazoo tells its watchers of the lost connection and forgets them: a recipe arms again.
    zk.get("/kz/t", watch=s.watch)
    s.do("cut, set", zk.set, "/kz/t", b"after")
    s.event("cut, event")


def sessions(s):
    first = s.client()
    first.create("/kz/owned", b"", ephemeral=True)
    s.zk.sync("/kz")
    identity = first.client_id
    s.owners[identity[0]] = "first"
    # No closeSession: the connection just ends. Its own thread must not come back with the same id.
    first._stopped.set()  # pylint: disable=protected-access
    first._connection._socket.shutdown(socket.SHUT_RDWR)  # pylint: disable=protected-access
    s.do("its ephemeral stays", s.zk.exists, "/kz/owned")
    second = s.client(client_id=identity)
    print(f"second client has the session: {second.client_id == identity}", flush=True)
    second.sync("/kz")
    s.do("its ephemeral is seen by it", second.exists, "/kz/owned")
    second.stop()
    second.close()
    s.zk.sync("/kz")
    s.do("its ephemeral goes with the session", s.zk.exists, "/kz/owned")
    late = s.client(client_id=identity)
    print(f"a closed session is not given again: {late.client_id[0] != identity[0]}", flush=True)
    late.stop()
    late.close()
    # Apache's server drops the connection of the rightful owner here, before it looks at the password.
    owner = s.client()
    identity = owner.client_id
    forged = s.client(client_id=(identity[0], b"x" * 16))
    print(f"a wrong password gets another session: {forged.client_id[0] != identity[0]}", flush=True)
    for zk in (forged, owner):
        zk.stop()
        zk.close()


def main():
    s = Script(sys.argv[1])
    path, stat = s.zk.create("/kz", b"", include_data=True)
    s.base = stat.czxid
    print(f"create {path}: {s.stat(stat)}")
    for part in (data, acls, watches, transactions, pipelined, cut, sessions):
        part(s)
    s.zk.stop()
    s.zk.close()


if __name__ == "__main__":
    main()
