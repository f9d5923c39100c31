"""A history: what clients asked, when, what they were told, and which events came. One text line each, in the
order in which the one process that drove the clients saw them:

    o SESSION N KIND KEY EXPECT VALUE INVOKED ENDED ERR VERSION FOUND MZXID HZXID [WATCH]
    e SESSION TIME TYPE KEY HZXID
    c SESSION TIME connected|lost|ended
    # anything

An operation `o` stands where its answer came, or where its connection was lost (ERR is then ?, ENDED -). N counts
the session's requests as they were issued. KIND is create, set, delete, get, exists, and sget, sexists: the same
behind a sync, INVOKED being the sync's. Times are monotonic nanoseconds of one clock. `-` is nothing: no value, no
expectation. FOUND is the value that was read; MZXID the znode's, HZXID the reply header's (a program in a mount knows neither, nor
a version). WATCH is w where a
one-shot watch was asked for. TYPE is ZooKeeper's: 1 created, 2 deleted, 3 changed.
"""

WRITES = frozenset(("create", "set", "delete"))
SYNCED = frozenset(("sget", "sexists"))
NONODE, BADVERSION, NODEEXISTS = -101, -103, -110
# Answers that say surely that nothing was done, beside the three above: expired, moved.
REFUSED = frozenset((-112, -118))
NEVER = float("inf")


class Bad(Exception):
    """A line that is none of a history."""


class Op:
    __slots__ = ("session", "n", "kind", "key", "expect", "value", "invoked", "ended", "err", "version",
                 "found", "mzxid", "hzxid", "watch", "place", "zxid")

    def known(self):
        """Whether its outcome is known."""
        return self.err is not None

    def done(self):
        return self.err == 0

    def __str__(self):
        what = self.kind + " " + self.key
        if self.kind in ("create", "set"):
            what += "=" + str(self.value)
        if self.expect is not None:
            what += " if v%d" % self.expect
        if not self.known():
            got = "unknown"
        elif self.err:
            got = str(self.err)
        else:
            got = "v%s %s" % (self.version, "" if self.found is None else "=" + self.found)
        times = "%.3f..%s" % (self.invoked / 1e6, "never" if self.ended is NEVER else "%.3f" % (self.ended / 1e6))
        zxid = "" if self.hzxid is None else " zxid %x" % self.hzxid
        return "s%d#%d %s -> %s [%s ms]%s" % (self.session, self.n, what, got.strip(), times, zxid)


class Event:
    __slots__ = ("session", "time", "type", "key", "hzxid")

    def __str__(self):
        return "s%d event %d of %s" % (self.session, self.type, self.key)


class Change:
    """The session's connection: connected, lost, ended."""
    __slots__ = ("session", "time", "what")


def number(text):
    return None if text == "-" else int(text)


def word(text):
    return None if text == "-" else text


def read_op(fields, place):
    op = Op()
    watch = len(fields) == 15 and fields[14] == "w"
    if len(fields) != 14 and not watch:
        raise Bad("an operation of %d fields" % len(fields))
    (_, session, n, op.kind, op.key, expect, value, invoked, ended, err, version, found, mzxid, hzxid) = fields[:14]
    op.session, op.n, op.expect, op.value = int(session), int(n), number(expect), word(value)
    op.invoked, op.ended = int(invoked), NEVER if ended == "-" else int(ended)
    op.err = None if err == "?" else int(err)
    op.version, op.found, op.mzxid, op.hzxid = number(version), word(found), number(mzxid), number(hzxid)
    op.watch, op.place, op.zxid = watch, place, None
    if op.known() == (op.ended is NEVER):
        raise Bad("an operation has an end exactly when it has an outcome")
    if op.kind in WRITES and op.done():
        # The reply of a delete has no Stat; its header's zxid is that of the transaction.
        op.zxid = op.mzxid if op.mzxid is not None else op.hzxid
    return op


def read_event(fields):
    e = Event()
    _, session, time, kind, e.key, hzxid = fields
    e.session, e.time, e.type, e.hzxid = int(session), int(time), int(kind), int(hzxid)
    return e


def read_change(fields):
    c = Change()
    _, session, time, c.what = fields
    c.session, c.time = int(session), int(time)
    return c


class History:
    """All lines, the operations by key, everything by session; `place` is the position in the file."""

    def __init__(self, lines):
        self.ops, self.by_key, self.by_session = [], {}, {}
        for place, line in enumerate(lines):
            fields = line.split()
            if not fields or fields[0] == "#":
                continue
            try:
                self.add(fields, place)
            except (ValueError, Bad) as e:
                raise Bad("line %d: %s: %s" % (place + 1, e, line.strip())) from None
        self.learn()

    def add(self, fields, place):
        if fields[0] == "o":
            item = read_op(fields, place)
            self.ops.append(item)
            self.by_key.setdefault(item.key, []).append(item)
        elif fields[0] == "e":
            item = read_event(fields)
        elif fields[0] == "c":
            item = read_change(fields)
        else:
            raise Bad("what is this")
        self.by_session.setdefault(item.session, []).append(item)

    def learn(self):
        """An unknown write whose value somebody has read was done, with the zxid and the version that the reader
        saw."""
        self.writer = {}
        for op in self.ops:
            if op.kind in ("create", "set"):
                if (op.key, op.value) in self.writer:
                    raise Bad("the value %s of %s is written twice" % (op.value, op.key))
                self.writer[op.key, op.value] = op
        for op in self.ops:
            if op.done() and op.found is not None:
                by = self.writer.get((op.key, op.found))
                if by is not None and not by.known():
                    by.zxid, by.version = op.mzxid, op.version


def load(path):
    with open(path, encoding="ascii") as f:
        return History(f)
