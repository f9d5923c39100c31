"""Dialogues about znodes, watches, ACLs and multi; see raw.py."""

import wire
from wire import AUTH, WORLD, Session, blob, i32, i64

DIGEST_BOB = "bob:fyVmFCwVbTJYrznoSu1koqYEYF0="


def creates(s, first):
    for step, op, record in (
            ("null data", "create", wire.create("/raw/null", None)),
            ("empty data", "create", wire.create("/raw/empty", b"")),
            ("data", "create2", wire.create("/raw/data", b"\x00\xff value")),
            ("create2 null", "create2", wire.create("/raw/null2", None)),
            ("exists", "create", wire.create("/raw/data", b"")),
            ("create2 exists", "create2", wire.create("/raw/data", b"")),
            ("no parent", "create", wire.create("/raw/none/a", b"")),
            ("the root", "create", wire.create("/", b"")),
            ("empty path", "create", wire.create("", b"")),
            ("null path", "create", wire.create(None, b"")),
            ("no slash", "create", wire.create("raw/x", b"")),
            ("slash at the end", "create", wire.create("/raw/x/", b"")),
            ("empty component", "create", wire.create("/raw//x", b"")),
            ("a dot", "create", wire.create("/raw/./x", b"")),
            ("two dots", "create", wire.create("/raw/../x", b"")),
            ("a control character", "create", wire.create("/raw/x\x01", b"")),
            ("DEL", "create", wire.create("/raw/x\x7f", b"")),
            ("NUL", "create", wire.create("/raw/x\x00", b"")),
            ("U+F000", "create", wire.create("/raw/x\uf000", b"")),
            ("three dots", "create", wire.create("/raw/...", b"")),
            ("a blank", "create", wire.create("/raw/a b", b"")),
            ("UTF-8", "create", wire.create("/raw/zn\u00f6de \u20ac", b"")),
            ("beyond the BMP", "create", wire.create("/raw/\U0001f600", b"")),
            ("a slash behind a znode", "create", wire.create("/raw/data/", b"")),
            ("two slashes behind a znode", "create", wire.create("/raw/data//x", b"")),
            ("a dot below a znode", "create", wire.create("/raw/data/.", b"")),
            ("null ACL", "create", wire.create("/raw/x", b"", acl=None)),
            ("empty ACL", "create", wire.create("/raw/x", b"", acl=[])),
            ("flags 9", "create", wire.create("/raw/x", b"", flags=9)),
            ("flags -1", "create", wire.create("/raw/x", b"", flags=-1)),
            ("1,000,000 bytes", "create", wire.create("/raw/big", b"x" * 1000000)),
    ):
        s.do(f"create: {step}", first, op, record)
    for name in ("null", "empty", "data", "null2", "none", "zn\u00f6de \u20ac"):
        s.do(f"getData of {name}", first, "getData", wire.watched(f"/raw/{name}"))


def sequences(s, first):
    s.do("seq: parent", first, "create", wire.create("/raw/seq", b""))
    for step, op, path, flags in (
            ("persistent", "create", "/raw/seq/a-", 2), ("ephemeral", "create2", "/raw/seq/a-", 3),
            ("no prefix", "create", "/raw/seq/", 2), ("after a plain one", "create", "/raw/seq/plain", 0),
            ("next", "create", "/raw/seq/b-", 2)):
        s.do(f"seq: {step}", first, op, wire.create(path, b"", flags=flags))
    s.do("seq: delete one", first, "delete", wire.versioned("/raw/seq/plain"))
    s.do("seq: a failed create", first, "create", wire.create("/raw/seq/a-0000000000", b""))
    s.do("seq: after a delete", first, "create", wire.create("/raw/seq/c-", b"", flags=2))
    s.do("seq: no parent", first, "create", wire.create("/raw/none/c-", b"", flags=2))
    s.do("seq: children", first, "getChildren2", wire.watched("/raw/seq"))
    s.do("seq: root", first, "create", wire.create("/rawseq-", b"", flags=3))


def versions(s, first):
    s.do("version: create", first, "create2", wire.create("/raw/v", b"0"))
    for step, op, record in (
            ("set 0", "setData", wire.set_data("/raw/v", b"1", 0)),
            ("set 0 again", "setData", wire.set_data("/raw/v", b"2", 0)),
            ("set any", "setData", wire.set_data("/raw/v", b"", -1)),
            ("set null", "setData", wire.set_data("/raw/v", None, 2)),
            ("get null", "getData", wire.watched("/raw/v")),
            ("set -2", "setData", wire.set_data("/raw/v", b"2", -2)),
            ("set of none", "setData", wire.set_data("/raw/none", b"2", -1)),
            ("set of a bad path", "setData", wire.set_data("raw", b"2", -1)),
            # Apache never answers a check that holds; so there is none here.
            ("check alone, wrong", "check", wire.versioned("/raw/v", 9)),
            ("delete wrong", "delete", wire.versioned("/raw/v", 0)),
            ("delete right", "delete", wire.versioned("/raw/v", 3)),
            ("delete again", "delete", wire.versioned("/raw/v", 3)),
            ("delete of a parent", "delete", wire.versioned("/raw/seq", -1)),
            ("delete of the root", "delete", wire.versioned("/", -1)),
            ("delete of a bad path", "delete", wire.versioned("raw", -1)),
            ("delete of a path with a slash", "delete", wire.versioned("/raw/", -1)),
    ):
        s.do(f"version: {step}", first, op, record)


def reads(s, first):
    for path in ("/raw/none", "raw", "", None, "/raw/", "/raw//data", "/"):
        for op in ("exists", "getData", "getChildren", "getChildren2"):
            if path == "/" and op != "getChildren":
                continue
            c = s.session("c")
            s.do(f"{op} {path!r}", c, op, wire.watched(path))
            c.end()
    for path in ("/raw/none", "/raw", "", None, "raw"):
        s.do(f"sync {path!r}", first, "sync", blob(path))
    s.do("children of /zookeeper", first, "getChildren", wire.watched("/zookeeper"))
    s.do("children of /zookeeper/quota", first, "getChildren2", wire.watched("/zookeeper/quota"))
    s.do("delete of /zookeeper", first, "delete", wire.versioned("/zookeeper"))
    s.do("delete of /zookeeper/quota", first, "delete", wire.versioned("/zookeeper/quota"))
    s.do("create below /zookeeper", first, "create", wire.create("/zookeeper/zkfs", b""))
    s.do("delete below /zookeeper", first, "delete", wire.versioned("/zookeeper/zkfs"))


def ephemerals(s, first):
    c = s.session("owner")
    s.do("eph: create", c, "create2", wire.create("/raw/eph", b"e", flags=1))
    s.do("eph: a child", c, "create", wire.create("/raw/eph/c", b""))
    s.do("eph: a child of another", first, "create", wire.create("/raw/eph/c", b""))
    s.do("eph: seen", first, "exists", wire.watched("/raw/eph", True))
    s.do("eph: list", first, "getChildren2", wire.watched("/raw", True))
    c.request("close")
    s.show("eph: close", c, "close")
    s.show("eph: event 1", first, None)
    s.show("eph: event 2", first, None)
    s.do("eph: gone", first, "exists", wire.watched("/raw/eph"))


def events(s, step, w):
    """Prints what has come for w: all that was caused before stands before the answer to a ping."""
    w.request("ping", xid=-2)
    n = 0
    while True:
        xid, zxid, err, r = w.reply()
        if xid == -2:
            s.say(step, f"{n} events")
            return
        n += 1
        s.say(f"{step}: event {n}", f"xid={xid} zxid={s.event_zxid(zxid)} err={err} type={r.i32()} "
                                    f"state={r.i32()} {r.string()} left {r.rest().hex()!r}")


def watches(s, first):
    """Each kind against each cause: set by `w`, caused by `first`."""
    w = s.session("w")
    path, child = "/raw/w", "/raw/w/k"
    first.call("create", wire.create(path, b""))

    def arm(*kinds):
        for op, on in kinds:
            s.do(f"watch: arm {op} {on}", w, op, wire.watched(on, True))

    def cause(step, op, record):
        xid, zxid, err, r = first.call(op, record)
        s.say(f"watch: {step}", f"zxid={s.zxid(zxid)} err={err}")
        events(s, f"watch: {step}", w)

    arm(("getData", path), ("getChildren", path), ("exists", path), ("exists", child))
    cause("setData", "setData", wire.set_data(path, b"1"))
    cause("setData again", "setData", wire.set_data(path, b"2"))
    cause("create of a child", "create", wire.create(child, b""))
    arm(("getChildren", path), ("getData", child), ("getChildren", child), ("exists", child))
    cause("setData of the child", "setData", wire.set_data(child, b"1"))
    arm(("getData", child))
    cause("delete of the child", "delete", wire.versioned(child))
    arm(("getChildren2", path), ("exists", "/raw/nope"), ("getData", "/raw/nope"), ("getChildren", "/raw/nope"))
    cause("create of nope", "create", wire.create("/raw/nope", b""))
    cause("delete of nope", "delete", wire.versioned("/raw/nope"))
    cause("setACL fires nothing", "setACL", wire.set_acl(path, WORLD))
    cause("a failed setData fires nothing", "setData", wire.set_data(path, b"", 77))
    arm(("getData", path), ("getData", path), ("exists", path))
    cause("one event for a watch set thrice", "setData", wire.set_data(path, b"3"))
    arm(("getData", path), ("getChildren", path), ("getChildren", "/raw"))
    cause("delete", "delete", wire.versioned(path))
    own_watch(s, w)
    multi_watch(s, first, w)
    w.end()


def own_watch(s, w):
    """One's own change: the event comes before its reply."""
    s.do("watch: own: arm", w, "exists", wire.watched("/raw/own", True))
    w.request("create2", wire.create("/raw/own", b""))
    s.show("watch: own: first", w, "create2")
    s.show("watch: own: second", w, "create2")
    w.call("delete", wire.versioned("/raw/own"))


def multi_watch(s, first, w):
    """The events of one multi, in its order."""
    for op, path in (("exists", "/raw/m1"), ("exists", "/raw/m2"), ("getChildren", "/raw"), ("getData", "/raw")):
        w.call(op, wire.watched(path, True))
    first.call("multi", wire.multi(
        ("create", wire.create("/raw/m1", b"")), ("setData", wire.set_data("/raw", b"m")),
        ("create", wire.create("/raw/m2", b"")), ("setData", wire.set_data("/raw/m1", b"1")),
        ("delete", wire.versioned("/raw/m1")), ("delete", wire.versioned("/raw/m2"))))
    events(s, "watch: multi", w)


def set_watches(s, first):
    """What a client says after a reconnect, and the events it has missed."""
    for name in ("same", "changed", "gone", "kids", "kidsgone", "again"):
        first.call("create", wire.create(f"/raw/s-{name}", b""))
    seen = first.call("sync", blob("/raw"))[1]
    first.call("setData", wire.set_data("/raw/s-changed", b"1"))
    first.call("delete", wire.versioned("/raw/s-gone"))
    first.call("create", wire.create("/raw/s-kids/k", b""))
    first.call("delete", wire.versioned("/raw/s-kidsgone"))
    first.call("create", wire.create("/raw/s-new", b""))
    first.call("delete", wire.versioned("/raw/s-again"))
    first.call("create", wire.create("/raw/s-again", b""))
    c = s.session("c")
    data = [f"/raw/s-{n}" for n in ("same", "changed", "gone", "again")]
    exist = [f"/raw/s-{n}" for n in ("new", "not", "same")]
    child = [f"/raw/s-{n}" for n in ("kids", "kidsgone", "same")]
    c.request("setWatches", wire.set_watches(seen, data, exist, child), xid=-8)
    lines = []
    while True:
        xid, zxid, err, r = c.reply()
        if xid == -8:
            s.say("setWatches reply", f"zxid={s.zxid(zxid)} err={err} left {r.rest().hex()!r}")
            break
        lines.append(f"zxid={s.event_zxid(zxid)} err={err} type={r.i32()} state={r.i32()} {r.string()}")
    for line in lines:
        s.say("setWatches event", line)
    # What had not changed is armed now.
    first.call("setData", wire.set_data("/raw/s-same", b"1"))
    s.show("setWatches: armed data", c, None)
    first.call("create", wire.create("/raw/s-same/k", b""))
    s.show("setWatches: armed child", c, None)
    first.call("create", wire.create("/raw/s-not", b""))
    s.show("setWatches: armed exist", c, None)
    first.call("setData", wire.set_data("/raw/s-changed", b"2"))
    events(s, "setWatches: a fired one is not armed", c)
    s.do("setWatches: empty", c, "setWatches", wire.set_watches(seen), xid=-8)
    c.end()


def acls(s, first):
    bob, ann = s.session("bob"), s.session("ann")
    s.do("acl: bob is known", bob, "auth", wire.auth("digest", "bob:secret"), xid=-4)
    s.do("acl: create with auth", bob, "create", wire.create("/raw/acl", b"s", acl=AUTH))
    s.do("acl: getACL", bob, "getACL", blob("/raw/acl"))
    for who, c in (("bob", bob), ("ann", ann)):
        for op, record in (("getData", wire.watched("/raw/acl")), ("setData", wire.set_data("/raw/acl", b"t")),
                           ("getChildren", wire.watched("/raw/acl")), ("exists", wire.watched("/raw/acl")),
                           ("create", wire.create("/raw/acl/c", b"")),
                           ("delete", wire.versioned("/raw/acl/c")), ("getACL", blob("/raw/acl"))):
            s.do(f"acl: {who}: {op}", c, op, record)
    s.do("acl: ann cannot set", ann, "setACL", wire.set_acl("/raw/acl", WORLD))
    shared = [(31, "digest", DIGEST_BOB), (1, "world", "anyone")]
    s.do("acl: set", bob, "setACL", wire.set_acl("/raw/acl", shared, 0))
    s.do("acl: set with the old version", bob, "setACL", wire.set_acl("/raw/acl", shared, 0))
    s.do("acl: ann reads now", ann, "getData", wire.watched("/raw/acl"))
    s.do("acl: ann sees no digest", ann, "getACL", blob("/raw/acl"))
    s.do("acl: ann cannot write", ann, "setData", wire.set_data("/raw/acl", b""))
    s.do("acl: delete asks the parent", ann, "delete", wire.versioned("/raw/acl"))
    for step, acl in (
            ("unknown scheme", [(31, "nosuch", "x")]), ("auth of nobody", AUTH), ("world:else", [(31, "world", "x")]),
            ("digest without a colon", [(31, "digest", "x")]), ("ip", [(31, "ip", "127.0.0.1")]),
            ("bad ip", [(31, "ip", "x")]), ("ip/bits", [(31, "ip", "127.0.0.0/8")]),
            ("ip/bad bits", [(31, "ip", "127.0.0.0/99")]), ("another ip", [(31, "ip", "10.1.2.3")]),
            ("IPv6", [(31, "ip", "::1")]), ("no permission", [(0, "world", "anyone")]),
            ("all bits", [(-1, "world", "anyone")]), ("twice the same", WORLD + WORLD),
            ("null id", [(31, "digest", None)]), ("null scheme", [(31, None, "x")])):
        name = step.replace("/", "-").replace(" ", "-")
        s.do(f"acl: create {step}", ann, "create", wire.create(f"/raw/acl-{name}", b"", acl=acl))
        s.do(f"acl: getACL {step}", ann, "getACL", blob(f"/raw/acl-{name}"))
        s.do(f"acl: getData {step}", ann, "getData", wire.watched(f"/raw/acl-{name}"))
    s.do("acl: auth with two ids", bob, "auth", wire.auth("digest", "cy:x"), xid=-4)
    s.do("acl: create by two", bob, "create", wire.create("/raw/acl-two", b"", acl=[(3, "auth", "")]))
    s.do("acl: getACL by two", bob, "getACL", blob("/raw/acl-two"))
    s.do("acl: of none", first, "getACL", blob("/raw/none"))
    s.do("acl: set of none", first, "setACL", wire.set_acl("/raw/none", WORLD))
    s.do("acl: set empty", first, "setACL", wire.set_acl("/raw/data", []))
    s.do("acl: a watch where reading is not allowed", ann, "exists", wire.watched("/raw/acl-two", True))
    bob.end()
    ann.end()


def multis(s, first):
    good = [("create", wire.create("/raw/mm", b"1")), ("create2", wire.create("/raw/mm/a", None)),
            ("setData", wire.set_data("/raw/mm", b"2", 0)), ("check", wire.versioned("/raw/mm", 1)),
            ("create", wire.create("/raw/mm/s-", b"", flags=2)), ("delete", wire.versioned("/raw/mm/a", 0))]
    s.do("multi: all good", first, "multi", wire.multi(*good))
    s.do("multi: the znode", first, "getData", wire.watched("/raw/mm"))
    s.do("multi: its children", first, "getChildren2", wire.watched("/raw/mm"))
    ops = [("setData", wire.set_data("/raw/mm", b"3")), ("create", wire.create("/raw/mm/b", b"")),
           ("check", wire.versioned("/raw/mm", 2)), ("delete", wire.versioned("/raw/mm/b"))]
    bad = {"setData": wire.set_data("/raw/mm", b"", 99), "create": wire.create("/raw/mm", b""),
           "check": wire.versioned("/raw/none", 0), "delete": wire.versioned("/raw", -1),
           "create2": wire.create("/raw/none/x", b"")}
    for position in range(len(ops) + 1):
        for name, record in bad.items():
            s.do(f"multi: bad {name} at {position}", first, "multi",
                 wire.multi(*(ops[:position] + [(name, record)] + ops[position:])))
    s.do("multi: nothing was done", first, "getData", wire.watched("/raw/mm"))
    s.do("multi: empty", first, "multi", wire.multi())
    for name, record in (("getData", wire.watched("/raw/mm")), ("setACL", wire.set_acl("/raw/mm", WORLD)),
                         ("sync", blob("/raw/mm")), ("multi", wire.multi())):
        c = s.session("c")
        if s.do(f"multi: with {name}", c, "multi", wire.multi(ops[0], (name, record))):
            s.do(f"multi: with {name}, then", c, "exists", wire.watched("/raw/none"))
        c.close()
        Session(s.port, session=c.session, passwd=c.passwd).end()
    c = s.session("c")
    s.do("multi: ephemeral and a child of it", c, "multi", wire.multi(
        ("create", wire.create("/raw/me", b"", flags=1)), ("create", wire.create("/raw/me/c", b""))))
    s.do("multi: ephemerals", c, "multi", wire.multi(
        ("create", wire.create("/raw/me", b"", flags=1)), ("create2", wire.create("/raw/me-", b"", flags=3))))
    s.do("multi: bad ACL", c, "multi", wire.multi(
        ops[0], ("create", wire.create("/raw/mf", b"", acl=[]))))
    s.do("multi: bad path", c, "multi", wire.multi(ops[0], ("create", wire.create("raw/mf", b""))))
    s.do("multi: no auth", c, "multi", wire.multi(
        ops[0], ("setData", wire.set_data("/raw/acl-no-permission", b"x"))))
    c.end()


PARTS = [creates, sequences, versions, reads, ephemerals, watches, set_watches, acls, multis]
