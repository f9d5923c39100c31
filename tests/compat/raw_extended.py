"""Dialogues about containers and TTL znodes. Both servers have TTLs on, and look a few times a second for
what is due.

Usage: raw_extended.py PORT."""

import sys

import wire
from raw import Script
from wire import blob

ROOT = "/extended"
MOST = (1 << 40) - 1
# Long enough for all of this.
LONG = 10000000
CONTAINER, TTL, TTL_SEQUENTIAL = 4, 5, 6


def ttl(path, ms, flags=TTL, acl=wire.WORLD):
    return wire.create(path, b"t", acl, flags) + wire.i64(ms)


def single(s, first):
    for flags in range(-1, 8):
        s.do(f"createContainer: flags {flags}", first, "createContainer",
             wire.create(f"{ROOT}/c{flags}", b"c", flags=flags))
        s.do(f"create: flags {flags}", first, "create", wire.create(f"{ROOT}/p{flags}", b"c", flags=flags))
        s.do(f"create2: flags {flags}", first, "create2", wire.create(f"{ROOT}/q{flags}", b"c", flags=flags))
        s.do(f"createTTL: flags {flags}", first, "createTTL", ttl(f"{ROOT}/t{flags}", LONG, flags))
    for ms in (0, -1, 1 << 40, (1 << 63) - 1, -1 << 63, MOST):
        s.do(f"createTTL: {ms} ms", first, "createTTL", ttl(f"{ROOT}/ms{ms}", ms))
    for op, record in (("createContainer", lambda p, **a: wire.create(p, b"", flags=CONTAINER, **a)),
                       ("createTTL", lambda p, **a: ttl(p, LONG, **a))):
        for what, path in (("exists", f"{ROOT}/c4"), ("no parent", f"{ROOT}/none/a"), ("the root", "/"),
                           ("bad path", f"{ROOT}/"), ("empty path", "")):
            s.do(f"{op}: {what}", first, op, record(path))
        s.do(f"{op}: no ACL", first, op, record(f"{ROOT}/acl", acl=[]))
        s.do(f"{op}: short", first, op, record(f"{ROOT}/short")[:-1])
    s.do("null data", first, "createContainer", wire.create(f"{ROOT}/null", None, flags=CONTAINER))


def life(s, first):
    """They are ordinary but for their end."""
    s.do("exists: container", first, "exists", wire.watched(f"{ROOT}/c4"))
    s.do("exists: ttl", first, "exists", wire.watched(f"{ROOT}/t5"))
    c = s.session("c")
    s.do("of another session", c, "createContainer", wire.create(f"{ROOT}/other", b"", flags=CONTAINER))
    s.do("ttl of another session", c, "createTTL", ttl(f"{ROOT}/others", LONG))
    s.do("a child", c, "create", wire.create(f"{ROOT}/others/x"))
    s.do("an ephemeral child", c, "create", wire.create(f"{ROOT}/others/e", flags=1))
    s.do("ephemerals", c, "getEphemerals", blob("/"))
    c.end()
    s.do("a child behind that", first, "exists", wire.watched(f"{ROOT}/others/x"))
    s.do("set", first, "setData", wire.set_data(f"{ROOT}/t5", b"new"))
    s.do("delete of a parent", first, "delete", wire.versioned(f"{ROOT}/others"))
    s.do("delete", first, "delete", wire.versioned(f"{ROOT}/t5"))
    s.do("children", first, "getChildren", wire.watched(ROOT))


def multis(s, first):
    good = [("createContainer", wire.create(f"{ROOT}/m1", b"", flags=CONTAINER)),
            ("create", wire.create(f"{ROOT}/m2", b"", flags=CONTAINER)),
            ("create2", wire.create(f"{ROOT}/m3", b"", flags=CONTAINER)),
            ("createContainer", wire.create(f"{ROOT}/m4", b"", flags=0)),
            ("createContainer", wire.create(f"{ROOT}/m5-", b"", flags=2)),
            ("createTTL", ttl(f"{ROOT}/m6", LONG)), ("createTTL", ttl(f"{ROOT}/m7-", LONG, TTL_SEQUENTIAL)),
            ("createTTL", ttl(f"{ROOT}/m8", LONG, 0)), ("createTTL", ttl(f"{ROOT}/m9", LONG, CONTAINER)),
            ("createTTL", ttl(f"{ROOT}/m10", -1, 0)), ("create", wire.create(f"{ROOT}/m1/x", b""))]
    s.do("multi: all good", first, "multi", wire.multi(*good))
    for name, op in (("TTL 0", ("createTTL", ttl(f"{ROOT}/b", 0))), ("too long", ("createTTL", ttl(f"{ROOT}/b", 1 << 40))),
                     ("flags 9", ("createTTL", ttl(f"{ROOT}/b", LONG, 9))),
                     ("container flags 9", ("createContainer", wire.create(f"{ROOT}/b", b"", flags=9))),
                     ("exists", ("createContainer", wire.create(f"{ROOT}/m1", b"", flags=CONTAINER)))):
        s.do(f"multi: {name}", first, "multi", wire.multi(op, good[0]))
    # Apache forgets to take back what stood before these.
    for name in ("create", "create2", "createContainer"):
        for flags in (TTL, TTL_SEQUENTIAL):
            s.do(f"multi: {name} with flags {flags}", first, "multi",
                 wire.multi((name, wire.create(f"{ROOT}/b", b"", flags=flags))))
    s.do("multi: children", first, "getChildren", wire.watched(ROOT))


def ends(s, first):
    """What is due goes, and what watches it hears of that."""
    for name, op, record in (
            ("container", "createContainer", wire.create(f"{ROOT}/end", b"", flags=CONTAINER)),
            ("a container of a multi", "multi", wire.multi(("create", wire.create(f"{ROOT}/end", b"", flags=CONTAINER))))):
        s.do(f"end: {name}", first, op, record)
        s.do(f"end: {name}: a child", first, "create", wire.create(f"{ROOT}/end/x"))
        s.do(f"end: {name}: watched", first, "exists", wire.watched(f"{ROOT}/end", True))
        s.do(f"end: {name}: its last child", first, "delete", wire.versioned(f"{ROOT}/end/x"))
        s.show(f"end: {name}: gone", first, None)
        s.do(f"end: {name}: behind it", first, "exists", wire.watched(f"{ROOT}/end"))
    for name, op, record in (
            ("ttl", "createTTL", ttl(f"{ROOT}/end", 100)),
            ("a ttl of a multi", "multi", wire.multi(("createTTL", ttl(f"{ROOT}/end", 100))))):
        s.do(f"end: {name}", first, op, record)
        s.do(f"end: {name}: watched", first, "exists", wire.watched(f"{ROOT}/end", True))
        s.do(f"end: {name}: list watched", first, "getChildren2", wire.watched(ROOT, True))
        s.show(f"end: {name}: gone", first, None)
        s.show(f"end: {name}: gone from the list", first, None)
    # One that is deleted shows that the server has looked at all that came before it.
    first.call("create", wire.create(f"{ROOT}/p4/x"))
    first.call("delete", wire.versioned(f"{ROOT}/p4/x"))
    for _ in range(2):
        first.call("createTTL", ttl(f"{ROOT}/last", 1))
        first.call("exists", wire.watched(f"{ROOT}/last", True))
        s.show("end: the last", first, None)
    s.do("end: what is left", first, "getChildren", wire.watched(ROOT))


def main():
    s = Script(int(sys.argv[1]))
    first = s.session()
    s.base = first.call("create", wire.create(ROOT, None))[1]
    for part in (single, life, multis, ends):
        part(s, first)
    first.end()


if __name__ == "__main__":
    main()
