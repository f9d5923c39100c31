"""What holds for each session by itself, and what all sessions must agree on, by zxid:

- answers come in the order of the requests, and a session's writes have rising zxids in that order, over a change
  of the server too (a write whose answer was lost is never done behind a later one of its session);
- one zxid is one state: whoever sees a znode at some mzxid sees the same value and version;
- what a session sees never goes back: once it was told zxid Z, in whatever way, no znode is shown as it was
  before Z (over all keys: DESIGN's P3);
- a one-shot watch fires once, for a change that came behind it, with the right type, and before its session is
  told anything of that change or of a later one. (When a connection is lost, a client arms its watches again; one
  that waits for a creation is then not told of a znode that came and went meanwhile.)
"""

import bisect

import history as h

CREATED, DELETED, CHANGED = 1, 2, 3
TYPES = {"create": CREATED, "delete": DELETED, "set": CHANGED}


class Timeline:
    """The known writes of a key, by zxid."""

    def __init__(self, ops):
        writes = sorted((op for op in ops if op.kind in h.WRITES and op.zxid is not None and
                         (op.done() or not op.known())), key=lambda op: op.zxid)
        self.zxids = [op.zxid for op in writes]
        self.kinds = [op.kind for op in writes]
        # Writes that may have been done without anybody having told their zxid.
        self.doubtful = [op.invoked for op in ops
                         if op.kind in h.WRITES and not op.known() and op.zxid is None]

    def first_behind(self, zxid):
        """(zxid, kind) of the first write behind zxid, or None."""
        i = bisect.bisect_right(self.zxids, zxid)
        return (self.zxids[i], self.kinds[i]) if i < len(self.zxids) else None

    def last_until(self, zxid):
        i = bisect.bisect_right(self.zxids, zxid)
        return (self.zxids[i - 1], self.kinds[i - 1]) if i > 0 else None

    def doubt_before(self, time):
        return any(invoked <= time for invoked in self.doubtful)


def agreement(history):
    """One zxid is one transaction, and one (znode, mzxid) is one state, for all who see it."""
    found, states, writers = [], {}, {}
    for op in history.ops:
        if not op.done():
            continue
        if op.kind in h.WRITES and op.zxid is not None:
            other = writers.setdefault(op.zxid, op)
            if other is not op:
                found.append("two writes have zxid %x: %s and %s" % (op.zxid, other, op))
        if op.mzxid is None:
            continue
        value = op.value if op.kind in h.WRITES else op.found
        seen = states.setdefault((op.key, op.mzxid), [op, op.version, value])
        if seen[2] is None:
            seen[2] = value  # exists tells no value
        if seen[1] != op.version or value not in (None, seen[2]):
            found.append("one zxid, two states: %s and %s" % (seen[0], op))
    return found


class Watch:
    """Armed at `armed` (the zxid that its answer told); `again` when the connection was lost since, `fresh` until
    the first answer behind that."""
    __slots__ = ("op", "armed", "again", "fresh")

    def __init__(self, op):
        self.op, self.armed, self.again, self.fresh = op, op.hzxid, False, False

    def arm_again(self, timeline, zxid):
        """The first answer on a new connection told zxid: what was absent then may have been absent when the
        watch was armed again."""
        self.fresh = False
        last = timeline.last_until(zxid)
        if self.op.err == h.NONODE and last is not None and last[1] == "delete":
            self.armed = max(self.armed, last[0])


class Session:
    def __init__(self, lines, timelines):
        self.lines, self.timelines = lines, timelines
        self.seen, self.seen_by = 0, None       # the greatest zxid told, and by what
        self.n, self.wrote, self.wrote_by = 0, 0, None
        self.watches = {}
        self.found = []

    def run(self):
        for item in self.lines:
            if isinstance(item, h.Op):
                self.take_op(item)
            elif isinstance(item, h.Event):
                self.take_event(item)
            elif item.what == "lost":
                for watch in self.watches.values():
                    watch.again = watch.fresh = True
        return self.found

    def take_op(self, op):
        if op.n <= self.n:
            self.found.append("not in the order of the requests: #%d, then %s" % (self.n, op))
        self.n = op.n
        self.check_write_order(op)
        if not op.known():
            return
        if op.hzxid is not None:
            if op.hzxid < self.seen and op.kind not in h.WRITES:
                self.found.append("the session went back from zxid %x (%s) to %s" % (self.seen, self.seen_by, op))
            self.see(max(op.hzxid, op.mzxid or 0), op)
        self.check_watches(op)
        if op.kind not in h.WRITES and op.err in (0, h.NONODE):
            self.check_fresh(op)
            if op.watch and (op.done() or op.kind in ("exists", "sexists")):
                self.watches.setdefault(op.key, Watch(op))

    def see(self, zxid, by):
        if zxid > self.seen:
            self.seen, self.seen_by = zxid, by

    def check_write_order(self, op):
        if op.kind not in h.WRITES or op.zxid is None or (op.known() and not op.done()):
            return
        if op.zxid <= self.wrote:
            self.found.append("writes of one session out of order: %s, then %s" % (self.wrote_by, op))
        self.wrote, self.wrote_by = op.zxid, op

    def check_fresh(self, op):
        """The state shown is that of self.seen or later."""
        timeline = self.timelines[op.key]
        if op.done():
            if op.mzxid is None:
                return
            newer = timeline.first_behind(op.mzxid)
            if newer is not None and newer[0] <= self.seen:
                self.found.append("old state behind zxid %x (%s): %s, but %s was zxid %x" % (
                    self.seen, self.seen_by, op, newer[1], newer[0]))
            return
        last = timeline.last_until(self.seen)
        if last is not None and last[1] != "delete" and not timeline.doubtful:
            self.found.append("absent behind zxid %x (%s): %s, but %s was zxid %x" % (
                self.seen, self.seen_by, op, last[1], last[0]))

    def check_watches(self, op):
        """Nothing of a change is told before its event."""
        for key, watch in list(self.watches.items()):
            if watch.fresh and op.hzxid is not None:
                watch.arm_again(self.timelines[key], op.hzxid)
            change = self.timelines[key].first_behind(watch.armed)
            if change is not None and change[0] <= self.seen:
                self.found.append("told of zxid %x by %s before the event of %s, changed at %x (watched by %s)" % (
                    self.seen, op, key, change[0], watch.op))
                del self.watches[key]

    def take_event(self, event):
        watch = self.watches.pop(event.key, None)
        if watch is None:
            self.found.append("%s, which was not watched (any more)" % event)
            return
        timeline = self.timelines.get(event.key)
        change = timeline.first_behind(watch.armed)
        doubt = timeline.doubt_before(event.time)
        if change is None:
            if not doubt:
                self.found.append("%s, and nothing has changed since %s" % (event, watch.op))
            return
        if not doubt and not watch.again:
            if event.type != TYPES[change[1]]:
                self.found.append("%s, but it was %s at zxid %x" % (event, change[1], change[0]))
            if event.hzxid > 0 and event.hzxid != change[0]:
                self.found.append("%s says zxid %x, but it was %s at %x" % (
                    event, event.hzxid, change[1], change[0]))


def check(history):
    """(violations, events checked, sessions)."""
    found = agreement(history)
    timelines = {key: Timeline(ops) for key, ops in history.by_key.items()}
    events = 0
    for lines in history.by_session.values():
        found += Session(lines, timelines).run()
        events += sum(isinstance(item, h.Event) for item in lines)
    return found, events, len(history.by_session)
