"""Dialogues about connections and sessions; see raw.py."""

import struct

import wire
from wire import Closed, Raw, Reader, Session, blob, i32, i64


def finish(s, lost):
    """Ends the session of a connection that is gone, so that it cannot expire in the middle."""
    lost.close()
    Session(s.port, session=lost.session, passwd=lost.passwd).end()


def handshake(s, first):
    for flag, ms in ((True, 10000), (False, 6000), (True, 1), (True, 1000000), (True, 0), (True, -5)):
        c = Session(s.port, timeout_ms=ms, flag=flag)
        s.say(f"handshake flag={flag} timeout={ms}",
              f"{len(c.answer)} bytes, protocol {c.protocol}, {c.timeout_ms} ms, "
              f"id {'not zero' if c.session else 'zero'}, password {len(c.passwd)} bytes "
              f"{'zero' if c.passwd == bytes(16) else 'not zero'}, tail {c.tail.hex()}")
        c.end()


def handshake_ids(s, first):
    a, b = Session(s.port), Session(s.port)
    s.say("session ids differ", a.session != b.session)
    s.say("passwords differ", a.passwd != b.passwd)
    a.end()
    b.end()


def reattach(s, first):
    """The session goes on over connections, with its id and password; the older connection is dropped."""
    a = s.session("a", timeout_ms=8000)
    s.do("create of a", a, "create", wire.create("/raw/eph", b"e", flags=1))
    b = Session(s.port, timeout_ms=12000, session=a.session, passwd=a.passwd, last_zxid=s.base)
    s.say("reattached", f"same id {a.session == b.session}, same password {a.passwd == b.passwd}, "
                        f"{b.timeout_ms} ms, tail {b.tail.hex()}")
    s.closed("the older connection", a)
    s.do("through the new one", b, "exists", wire.watched("/raw/eph"))
    b.end()
    s.do("after closeSession its ephemeral is", first, "exists", wire.watched("/raw/eph"))
    c = Session(s.port, session=a.session, passwd=a.passwd)
    s.say("a closed session", f"id {c.session}, {c.timeout_ms} ms, password {c.passwd.hex()}")
    s.closed("and then", c)


def wrong_password(s, first):
    a = s.session("a")
    for name, passwd in (("other", b"x" * 16), ("zero", bytes(16)), ("short", b"abc"), ("empty", b""),
                         ("null", None)):
        try:
            c = Session(s.port, session=a.session, passwd=passwd)
            s.say(f"password {name}", f"id {c.session}, {c.timeout_ms} ms, password "
                                      f"{c.passwd.hex()}, tail {c.tail.hex()}")
            s.closed(f"password {name}", c)
        except Closed:
            s.say(f"password {name}", "closed without an answer")
    # Apache drops the older connection before it looks at the password; ours does not. The session goes
    # on in both.
    a.close()
    a = Session(s.port, session=a.session, passwd=a.passwd)
    s.do("the session goes on", a, "exists", wire.watched("/raw"))
    c = Session(s.port, session=0x7123456789abcdef, passwd=b"x" * 16)
    s.say("unknown session", f"id {c.session}, {c.timeout_ms} ms, password {c.passwd.hex()}")
    s.closed("unknown session", c)
    a.end()


def ahead(s, first):
    """A client that has seen more than this server is sent away without a word."""
    try:
        Session(s.port, last_zxid=0x7fffffff00000000)
        s.say("a client from the future", "was answered")
    except Closed:
        s.say("a client from the future", "closed without an answer")
    xid, zxid, err, r = first.call("sync", blob("/raw"))
    c = Session(s.port, last_zxid=zxid)
    s.say("a client that is just up to date", f"{c.timeout_ms} ms")
    c.end()


def ping(s, first):
    s.do("ping", first, "ping", xid=-2)
    s.do("ping with an xid of its own", first, "ping", xid=77)


def bad_frames(s, first):
    for name, data in (("length 2 GiB", i32(0x7fffffff)), ("length -1", i32(-1)),
                       ("length 1 MiB", i32(1 << 20)), ("length 0", i32(0)),
                       ("a short connect", i32(8) + bytes(8)), ("garbage", b"\x16\x03\x01\x02\x00" * 8)):
        c = Raw(s.port)
        c.send(data)
        s.closed(f"first frame: {name}", c)
    for name, data in (("length 2 GiB", i32(0x7fffffff)), ("length -1", i32(-1)),
                       ("length 1048576", i32(1048576)), ("no header", i32(4) + i32(1))):
        c = s.session("bad")
        c.send(data)
        s.closed(f"later frame: {name}", c)
        finish(s, c)


def unknown_opcode(s, first):
    for op in (9999, -1, 0, 10):
        c = s.session("u")
        if s.do(f"opcode {op}", c, op, blob("/raw"), xid=5):
            s.closed(f"opcode {op}, then", c)
        finish(s, c)


def bad_records(s, first):
    """A record that ends too early, for each operation."""
    for op in ("create", "delete", "exists", "getData", "setData", "getACL", "setACL", "getChildren",
               "getChildren2", "sync", "check", "multi", "create2", "setWatches"):
        for name, body in (("nothing", b""), ("a long string", i32(1000) + b"/r")):
            c = s.session("b")
            if s.do(f"{op} with {name}", c, op, body):
                s.do(f"{op} with {name}, then a read", c, "exists", wire.watched("/raw/none"))
            finish(s, c)


def trailing(s, first):
    s.do("bytes behind the record", first, "exists", wire.watched("/raw/none") + b"more")


def close_session(s, first):
    c = s.session("c")
    c.request("create", wire.create("/raw/e1", b"", flags=1))
    c.request("close")
    s.show("pipelined create", c, "create")
    s.show("closeSession", c, "close")
    s.closed("what follows a closeSession", c)
    s.do("the ephemeral", first, "exists", wire.watched("/raw/e1"))


def auth_packets(s, first):
    c = s.session("c")
    s.do("auth digest", c, "auth", wire.auth("digest", "bob:secret"), xid=-4)
    s.do("auth digest again", c, "auth", wire.auth("digest", "bob:secret"), xid=-4)
    s.do("auth digest, a second id", c, "auth", wire.auth("digest", "ann:secret"), xid=-4)
    s.do("auth ip", c, "auth", wire.auth("ip", "127.0.0.1"), xid=-4)
    s.do("auth without a colon", c, "auth", wire.auth("digest", "nocolon"), xid=-4)
    c.end()
    for scheme, secret in (("nosuch", "x"), ("world", "anyone"), ("digest", None), ("", "x"), (None, "x")):
        c = s.session("c")
        if s.do(f"auth {scheme} {secret}", c, "auth", wire.auth(scheme, secret), xid=-4):
            c.request("exists", wire.watched("/raw/none"))
            s.show(f"auth {scheme} {secret}, then a read", c, "exists")
        finish(s, c)


def pipelined(s, first):
    """Sixty requests in one packet: answered in order, watch events in their places."""
    c = s.session("c")
    body = b""
    for n in range(20):
        for op, record in (("setData", wire.set_data("/raw", str(n))),
                           ("getData", wire.watched("/raw", n % 5 == 0)),
                           ("delete", wire.versioned("/raw/none"))):
            c.xid += 1
            part = i32(c.xid) + i32(wire.OPS[op]) + record
            body += i32(len(part)) + part
    c.send(body)
    expected, n = 1, 0
    while expected <= 60:
        frame = Reader(c.frame())
        xid, zxid, err = frame.i32(), frame.i64(), frame.i32()
        if xid == -1:
            s.say("pipelined event", f"before the reply to {expected}: {frame.i32()} {frame.i32()} {frame.string()}")
            continue
        text = f"zxid={s.zxid(zxid)} err={err}"
        if err == 0 and len(frame.data) - frame.at != 68:
            text += f" {frame.blob()!r}"
        s.say(f"pipelined {expected}", f"xid={xid} {text}")
        expected += 1
    c.end()


PARTS = [handshake, handshake_ids, reattach, wrong_password, ahead, ping, bad_frames, unknown_opcode,
         bad_records, trailing, close_session, auth_packets, pipelined]
