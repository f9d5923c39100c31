"""Histories for the checker's own tests: written by hand, and made at random by a model of an ensemble."""
import random

import history as h


def dash(value):
    return "-" if value is None else str(value)


class Builder:
    """Lines by hand. Times are ms; the zxid of a write is given, or counted up."""

    def __init__(self):
        self.lines, self.n, self.zxid = [], {}, 0

    def op(self, session, kind, key="k", times=(0, 1), err=0, version=None, value=None, found=None, expect=None,
           mzxid=None, hzxid=None, n=None, watch=False):
        if n is None:
            n = self.n.get(session, 0) + 1
        self.n[session] = n
        begun, ended = times
        fields = ["o", session, n, kind, key, dash(expect), dash(value), int(begun * 1e6),
                  "-" if ended is None else int(ended * 1e6), "?" if ended is None else err, dash(version),
                  dash(found), dash(mzxid), dash(hzxid)] + (["w"] if watch else [])
        self.lines.append(" ".join(map(str, fields)))

    def write(self, session, kind, times, version=None, value=None, zxid=None, **more):
        """One that was answered with success, or never (times[1] None)."""
        answered = times[1] is not None
        if zxid is None and answered:
            self.zxid += 1
        zxid = zxid if zxid is not None else self.zxid
        self.zxid = max(self.zxid, zxid)
        if not answered:
            self.op(session, kind, times=times, value=value, **more)
        elif kind == "delete":
            self.op(session, kind, times=times, hzxid=zxid, **more)
        else:
            self.op(session, kind, times=times, version=version, value=value, mzxid=zxid, hzxid=zxid, **more)

    def read(self, session, kind, times, state, at=None, **more):
        """state is None or (version, value, mzxid); `at` the header's zxid."""
        at = at if at is not None else self.zxid
        if state is None:
            self.op(session, kind, times=times, err=h.NONODE, hzxid=at, **more)
            return
        version, value, mzxid = state
        self.op(session, kind, times=times, version=version, mzxid=mzxid, hzxid=at,
                found=None if kind.endswith("exists") else value, **more)

    def event(self, session, kind, time, key="k", zxid=-1):
        self.lines.append("e %d %d %d %s %d" % (session, int(time * 1e6), kind, key, zxid))

    def history(self):
        return h.History(self.lines)


class Model:
    """A right ensemble, made at random: one order of writes, servers that lag behind it, sessions that lose
    their connection and answers, watches. Each step of a session is an operation with times around the moment
    when it took effect."""

    def __init__(self, seed, sessions=20, keys=10, servers=3, lossy=True):
        self.random = random.Random(seed)
        self.keys = ["k%d" % i for i in range(keys)]
        self.lossy = lossy
        self.log = []                       # (key, state) by zxid - 1
        self.state = {}
        self.sessions = [Client(i + 1, self) for i in range(sessions)]
        self.at = [0] * servers             # how far each server is
        self.late = []                      # writes without an answer that are still to be done
        self.now, self.serial = 0, 0
        self.lines = []

    def commit(self, key, state):
        self.log.append((key, state))
        self.state[key] = state
        return len(self.log)

    def state_at(self, key, zxid):
        """(version, value, mzxid) or None, as of zxid."""
        for z in range(zxid, 0, -1):
            if self.log[z - 1][0] == key:
                return self.log[z - 1][1]
        return None

    def write(self, kind, key, value, expect):
        """(err, zxid): done now, in the one order."""
        state = self.state.get(key)
        if kind == "create" and state is not None:
            return h.NODEEXISTS, len(self.log)
        if kind != "create" and state is None:
            return h.NONODE, len(self.log)
        if expect is not None and expect != state[0]:
            return h.BADVERSION, len(self.log)
        zxid = len(self.log) + 1
        if kind == "delete":
            return 0, self.commit(key, None)
        return 0, self.commit(key, (0 if kind == "create" else state[0] + 1, value, zxid))

    def run(self, steps):
        for _ in range(steps):
            self.now += self.random.randrange(1, 1000)
            for i, at in enumerate(self.at):
                self.at[i] = self.random.randint(at, len(self.log))
            if self.late and self.random.random() < 0.1:
                self.random.choice(self.late).do_late()
            self.random.choice(self.sessions).step()
        for session in self.sessions:
            session.finish()
        return self.lines


class Client:
    def __init__(self, number, model):
        self.number, self.m, self.n = number, model, 0
        self.server, self.seen = number % 3, 0
        self.begun, self.ended = 0, 0       # of the operation before
        self.watches = {}                   # key: zxid at which it was set
        self.late = None

    def step(self):
        m = self.m
        self.at_least(self.seen)
        key = m.random.choice(m.keys)
        self.n += 1
        kind = m.random.choice(("set", "set", "create", "delete", "sget", "sget", "get", "sexists", "exists"))
        # Operations of a session overlap, and are asked and answered in one order.
        self.begun = max(self.begun, m.now - m.random.randrange(5000))
        self.ended = max(self.ended, m.now + m.random.randrange(5000))
        if kind in h.WRITES:
            self.write(kind, key, self.begun, self.ended)
        else:
            self.read(kind, key, self.begun, self.ended)

    def at_least(self, zxid):
        self.m.at[self.server] = max(self.m.at[self.server], zxid)

    def write(self, kind, key, begun, ended):
        m = self.m
        m.serial += 1
        value = "x%d" % m.serial if kind != "delete" else None
        expect = None
        if kind != "create" and m.random.random() < 0.5 and m.state.get(key):
            expect = max(0, m.state[key][0] - m.random.randrange(2))
        fate = m.random.random() if m.lossy else 1
        if fate < 0.05 and self.late is None:
            # Lost on the way; perhaps it is done before anything else of this session.
            self.late = (kind, key, value, expect)
            m.late.append(self)
            self.line(kind, key, expect, value, begun, None, None)
            self.lose()
            return
        self.settle_late()
        err, zxid = m.write(kind, key, value, expect)
        if fate < 0.1:
            self.line(kind, key, expect, value, begun, None, None)
            self.lose()
            return
        self.at_least(zxid)
        self.tell_events(zxid)
        self.seen = max(self.seen, zxid)
        version = m.log[zxid - 1][1][0] if err == 0 and kind != "delete" else None
        self.line(kind, key, expect, value, begun, ended, err, version, None,
                  zxid if version is not None else None, zxid)

    def lose(self):
        """The connection; it goes on at another server, with its watches."""
        self.m.lines.append("c %d %d lost" % (self.number, self.m.now))
        self.server = self.m.random.randrange(len(self.m.at))
        self.at_least(self.seen)

    def settle_late(self):
        """What has not been done by now never will be."""
        if self.late is not None:
            self.m.late.remove(self)
            self.late = None

    def do_late(self):
        self.m.write(*self.late)
        self.settle_late()

    def read(self, kind, key, begun, ended):
        m = self.m
        if kind in h.SYNCED:
            self.at_least(len(m.log))
        at = m.at[self.server]
        self.tell_events(at)
        state = m.state_at(key, at)
        self.seen = at
        watch = m.random.random() < 0.3 and (state is not None or kind.endswith("exists"))
        if watch:
            self.watches.setdefault(key, at)
        found = state[1] if state and kind.endswith("get") else None
        self.line(kind, key, None, None, begun, ended, 0 if state else h.NONODE, state[0] if state else None, found,
                  state[2] if state else None, at, watch)

    def tell_events(self, upto):
        for key, armed in list(self.watches.items()):
            for z in range(armed + 1, upto + 1):
                if self.m.log[z - 1][0] == key:
                    before, after = self.m.state_at(key, z - 1), self.m.log[z - 1][1]
                    kind = 2 if after is None else 3 if before else 1
                    self.m.lines.append("e %d %d %d %s %d" % (self.number, self.m.now, kind, key, z))
                    del self.watches[key]
                    break

    def finish(self):
        self.settle_late()
        for key in self.m.keys:
            self.m.now += 10
            self.n += 1
            self.read("sget", key, self.m.now + 6000, self.m.now + 6005)

    def line(self, kind, key, expect, value, begun, ended, err, version=None, found=None, mzxid=None, hzxid=None,
             watch=False):
        self.m.lines.append(" ".join(map(str, [
            "o", self.number, self.n, kind, key, dash(expect), dash(value), begun, dash(ended),
            "?" if err is None else err, dash(version), dash(found), dash(mzxid), dash(hzxid)] +
            (["w"] if watch else []))))
