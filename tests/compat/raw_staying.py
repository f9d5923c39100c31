"""Dialogues about watches that stay, where ours and 3.8 agree. Where they do not: 3.8 has no types of
their own for them, forgets what they missed, and a one-shot watch takes the place of a persistent one
of its path.

Usage: raw_staying.py PORT."""

import sys

import wire
from raw import Script
from raw_data import events
from wire import blob

PERSISTENT, RECURSIVE = 0, 1
CHILDREN, DATA, ANY = 1, 2, 3
ROOT = "/staying"


def changes(s, w, first, step):
    """A znode and a child of it come, change and go; `w` hears of it or not."""
    for what, op, record in (
            ("create", "create", wire.create(f"{ROOT}/a", b"")),
            ("set", "setData", wire.set_data(f"{ROOT}/a", b"1")),
            ("create below", "create", wire.create(f"{ROOT}/a/b", b"")),
            ("set below", "setData", wire.set_data(f"{ROOT}/a/b", b"1")),
            ("setACL", "setACL", wire.set_acl(f"{ROOT}/a", wire.WORLD)),
            ("create beside", "create", wire.create(f"{ROOT}/ab", b"")),
            ("delete beside", "delete", wire.versioned(f"{ROOT}/ab")),
            ("multi", "multi", wire.multi(
                ("create", wire.create(f"{ROOT}/a/c", b"")), ("delete", wire.versioned(f"{ROOT}/a/b")),
                ("delete", wire.versioned(f"{ROOT}/a/c")))),
            ("delete", "delete", wire.versioned(f"{ROOT}/a"))):
        first.call(op, record)
        events(s, f"{step}: {what}", w)


def both_kinds(s, first):
    for name, mode, path in (("persistent", PERSISTENT, "a"), ("recursive", RECURSIVE, "a"),
                             ("recursive above", RECURSIVE, "")):
        w = s.session("w")
        s.do(f"{name}: arm", w, "addWatch", wire.typed(f"{ROOT}/{path}".rstrip("/"), mode))
        for turn in ("first", "second"):
            changes(s, w, first, f"{name}, {turn} time")
        w.end()


def together(s, first):
    """One session that watches in several ways, each change once; and one's own change."""
    w = s.session("w")
    for path, mode in ((ROOT, RECURSIVE), (f"{ROOT}/a", RECURSIVE), ("/", RECURSIVE), (f"{ROOT}/b", PERSISTENT)):
        s.do(f"together: arm {path} {mode}", w, "addWatch", wire.typed(path, mode))
    s.do("together: again", w, "addWatch", wire.typed(ROOT, RECURSIVE))
    changes(s, w, first, "together")
    w.request("create", wire.create(f"{ROOT}/b", b""))
    s.show("together: own, first", w, "create")
    s.show("together: own, second", w, "create")
    w.call("delete", wire.versioned(f"{ROOT}/b"))
    w.end()


def taken_away(s, first):
    w = s.session("w")
    for mode in (PERSISTENT, RECURSIVE):
        for op in ("checkWatches", "removeWatches"):
            s.do(f"remove: {op} before {mode}", w, op, wire.typed(f"{ROOT}/a", ANY))
        s.do(f"remove: arm {mode}", w, "addWatch", wire.typed(f"{ROOT}/a", mode))
        s.do(f"remove: check {mode}", w, "checkWatches", wire.typed(f"{ROOT}/a", ANY))
        s.do(f"remove: elsewhere {mode}", w, "removeWatches", wire.typed(f"{ROOT}/a/b", ANY))
        s.do(f"remove: remove {mode}", w, "removeWatches", wire.typed(f"{ROOT}/a", ANY))
        s.do(f"remove: again {mode}", w, "removeWatches", wire.typed(f"{ROOT}/a", ANY))
        first.call("create", wire.create(f"{ROOT}/a", b""))
        first.call("delete", wire.versioned(f"{ROOT}/a"))
        events(s, f"remove: behind {mode}", w)
    for mode in (2, 3, -1):
        s.do(f"mode {mode}", w, "addWatch", wire.typed(f"{ROOT}/a", mode))
    for op in ("checkWatches", "removeWatches"):
        for kind in (0, 6, -1):
            s.do(f"type {kind}", w, op, wire.typed(f"{ROOT}/a", kind))
    w.end()


def again(s, first):
    """setWatches2 behind everything that happened arms both kinds, and one-shot watches beside them."""
    seen = first.call("sync", blob("/"))[1]
    w = s.session("w")
    s.do("again: set", w, "setWatches2",
         wire.set_watches2(seen, [f"{ROOT}/a"], [f"{ROOT}/r"], exist=[f"{ROOT}/once"]), xid=-8)
    changes(s, w, first, "again")
    for name in ("once", "r"):
        for turn in ("first", "second"):
            first.call("create", wire.create(f"{ROOT}/{name}", b""))
            events(s, f"again: create of {name}, {turn} time", w)
            first.call("delete", wire.versioned(f"{ROOT}/{name}"))
            events(s, f"again: delete of {name}, {turn} time", w)
    s.do("again: empty", w, "setWatches2", wire.set_watches2(seen), xid=-8)
    w.end()


def main():
    script = Script(int(sys.argv[1]))
    first = script.session()
    xid, zxid, err, _ = first.call("create", wire.create(ROOT, None))
    assert err == 0, (xid, err)
    script.base = zxid
    for part in (both_kinds, together, taken_away, again):
        part(script, first)
    first.call("delete", wire.versioned(ROOT))
    first.end()


if __name__ == "__main__":
    main()
