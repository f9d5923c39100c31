"""Dialogues on bare sockets: each line printed is one reply, decoded to the last byte.

Usage: raw.py PORT. What differs between two runs on purpose is made relative: a zxid is its distance
from the first one of the script, a session is `me` or the name it was given, a time is `now`."""

import sys
import time

import wire
from wire import Closed, Reader, Session, blob, i32, i64


class Script:
    """Prints what the server answers, each line with the step's name."""

    def __init__(self, port):
        self.port = port
        self.base = None
        self.sessions = {}

    def say(self, step, text):
        print(f"{step}: {text}", flush=True)

    def session(self, name="me", **more):
        s = Session(self.port, **more)
        s.name = name
        self.sessions[s.session] = name
        return s

    def zxid(self, z):
        return str(z) if z in (0, -1) or self.base is None else f"{z - self.base:+d}"

    def event_zxid(self, z):
        """Servers before 3.9 send -1 with an event, later ones and ours the zxid of its cause."""
        return "ok" if z == -1 or z > self.base else f"wrong {z}"

    def when(self, ms):
        return str(ms) if ms == 0 else "now" if abs(ms - time.time() * 1000) < 60000 else f"wrong {ms}"

    def stat(self, st):
        owner = st["ephemeralOwner"]
        return ("{" + " ".join([
            f"c{self.zxid(st['czxid'])}", f"m{self.zxid(st['mzxid'])}", f"p{self.zxid(st['pzxid'])}",
            f"ct={self.when(st['ctime'])}", f"mt={self.when(st['mtime'])}",
            # Two changes may fall into one millisecond.
            "mt>=ct" if st["mtime"] >= st["ctime"] else "mt<ct",
            f"v={st['version']}", f"cv={st['cversion']}", f"av={st['aversion']}",
            f"eo={self.sessions.get(owner, owner)}", f"dl={st['dataLength']}",
            f"nc={st['numChildren']}"]) + "}")

    def record(self, op, r):
        """The reply record of an operation, as text."""
        if op in ("create", "sync"):
            return repr(r.string())
        if op in ("create2", "createContainer", "createTTL"):
            return repr(r.string()) + self.stat(r.stat())
        if op in ("exists", "setData", "setACL"):
            return self.stat(r.stat())
        if op == "getData":
            return repr(r.blob()) + self.stat(r.stat())
        if op == "getACL":
            return repr(r.acls()) + self.stat(r.stat())
        if op in ("getChildren", "getEphemerals"):
            return repr(sorted(r.strings()))
        if op == "getChildren2":
            return repr(sorted(r.strings())) + self.stat(r.stat())
        if op == "multi":
            return self.results(r)
        return ""

    def results(self, r):
        names = {v: k for k, v in wire.OPS.items()}
        out = []
        while True:
            kind, done, err = r.i32(), r.boolean(), r.i32()
            if done:
                return "[" + ", ".join(out) + f"] end({kind},{err})"
            if kind == -1:
                out.append(f"error({err},{r.i32()})")
            else:
                out.append(f"{names.get(kind, kind)}({err}){self.record(names.get(kind), r)}")

    def show(self, step, s, op):
        """Takes one frame and prints it: a reply to `op`, or an event."""
        try:
            xid, zxid, err, r = s.reply()
        except Closed:
            self.say(step, "closed")
            return False
        if xid == -1:
            text = f"event zxid={self.event_zxid(zxid)} err={err} type={r.i32()} state={r.i32()} {r.string()}"
        else:
            text = f"xid={xid} zxid={self.zxid(zxid)} err={err} "
            # A failed operation has no record; a multi has one only where the reply's code is 0.
            text += self.record(op, r) if r.at < len(r.data) else "-"
        left = r.rest()
        self.say(step, text + (f" left {left.hex()}" if left else ""))
        return True

    def do(self, step, s, op, record=b"", xid=None):
        s.request(op, record, xid)
        return self.show(step, s, op)

    def closed(self, step, s):
        try:
            s.take(1)
            self.say(step, "not closed: a byte came")
        except Closed:
            self.say(step, "closed")
        except OSError as e:
            self.say(step, f"not closed: {e}")
        s.close()


def main():
    import raw_data
    import raw_session
    script = Script(int(sys.argv[1]))
    first = script.session()
    xid, zxid, err, r = first.call("create", wire.create("/raw", None))
    assert (err, r.string()) == (0, "/raw"), (xid, err)
    script.base = zxid
    for part in raw_session.PARTS + raw_data.PARTS:
        # One part that fails must not hide the others.
        try:
            part(script, first)
        except Exception as e:  # pylint: disable=broad-except
            script.say(part.__name__, f"broke off: {type(e).__name__} {e}")
            if isinstance(e, (OSError, Closed)):
                first.close()
                first = script.session()
    first.end()


if __name__ == "__main__":
    main()
