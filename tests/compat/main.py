"""Runs each part against Apache's server and against ours, and compares both, line by line, with the
expectation in expected/PART.txt. One TAP line for each line of it.

Usage: main.py [--only SERVER] [--write] [PART...]. --write takes what Apache answers for the new
expectation: look at the difference before you commit it."""

import argparse
import difflib
import os
import shutil
import subprocess
import sys
import tempfile
import time

import server
import wire
import zxids
from wire import Session

HERE = os.path.dirname(os.path.abspath(__file__))
SHIFT = int(os.environ.get("ZKFS_PORT_SHIFT", "0"))
PORTS = {"apache": 23701 + SHIFT, "ours": 23711 + SHIFT}
PART_SECONDS = 120


def python(script):
    return lambda srv: [sys.executable, "-B", os.path.join(HERE, script), str(srv.port)]


def c_client(srv):
    return [os.path.join(os.environ["ZKFS_BUILD"], "tests/compat/compat_client"), str(srv.port)]


# In this order on one server: the zxids and the root's counters of a part count what went before.
PARTS = {
    "raw": python("raw.py"),
    "c": c_client,
    "kazoo": python("kz.py"),
    "recipes": python("recipes.py"),
    "cli": python("cli.py"),
    "words": python("words.py"),
    "restart": None,
    "staying": python("raw_staying.py"),
    "extended": python("raw_extended.py"),
}
DUMP = python("dump.py")


def run(command, srv):
    """The lines that it prints; one that fails or takes too long says so as its last line."""
    begun = time.monotonic()
    try:
        p = subprocess.run(command(srv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=PART_SECONDS, check=False)
        out, end = p.stdout, f"exit status {p.returncode}"
        if p.returncode != 0:
            sys.stdout.write("".join(f"# {srv.name}: {x}\n" for x in
                                     p.stderr.decode(errors="replace").splitlines()[-20:]))
    except subprocess.TimeoutExpired as e:
        out, end = e.stdout or b"", f"not done after {PART_SECONDS} s"
    except OSError as e:
        out, end = b"", f"cannot run: {e}"
    print(f"# {srv.name}: {time.monotonic() - begun:.1f} s", flush=True)
    return out.decode(errors="replace").splitlines() + [end]


def restart(srv):
    """All of the tree before and behind a restart, and a session that outlives it."""
    s = Session(srv.port, timeout_ms=30000)
    s.call("create", wire.create("/restart", b"", flags=1))
    seen = s.call("getData", wire.watched("/restart", True))[1]
    before = run(DUMP, srv)
    srv.stop()
    srv.start()
    after = run(DUMP, srv)
    # The first word of a line is its path; what stands behind it is the server's own affair.
    lines = [f"same: {x.split()[0]}" for x in before if x in set(after)]
    lines += [f"lost: {x}" for x in before if x not in set(after)]
    lines += [f"new: {x}" for x in after if x not in set(before)]
    again = Session(srv.port, timeout_ms=30000, session=s.session, passwd=s.passwd, last_zxid=seen)
    lines.append(f"the session is the same: {again.session == s.session and again.passwd == s.passwd}")
    lines.append(f"setWatches: {again.call('setWatches', wire.set_watches(seen, ['/restart']), xid=-8)[2]}")
    again.request("setData", wire.set_data("/restart", b"1"))
    xid, _, _, r = again.reply()
    lines.append(f"the event: {xid} {r.i32()} {r.i32()} {r.string()}, then {again.reply()[2]}")
    again.end()
    s.close()
    return lines


def got_of(part, srv):
    """The lines of a part; what breaks it off is the last one."""
    if part != "restart":
        return run(PARTS[part], srv)
    try:
        return restart(srv)
    except (wire.Closed, OSError, RuntimeError) as e:
        return [f"broke off: {type(e).__name__} {e}"]


def expected_path(part):
    return os.path.join(HERE, "expected", part + ".txt")


def expectation(part):
    try:
        with open(expected_path(part), encoding="utf-8") as f:
            return f.read().splitlines()
    except OSError:
        return []


def compare(part, name, want, got):
    """A TAP line for each line that is wanted, and one for each that came besides."""
    bad = 0
    if name == "ours":
        got = zxids.settle(want, got)
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, want, got, autojunk=False).get_opcodes():
        if tag == "equal":
            for line in want[i1:i2]:
                print(f"ok - {part}, {name}: {line.replace('#', '%23')}")
            continue
        for n in range(max(i2 - i1, j2 - j1)):
            a = want[i1 + n] if i1 + n < i2 else None
            b = got[j1 + n] if j1 + n < j2 else None
            print(f"not ok - {part}, {name}: {(a if a is not None else b).replace('#', '%23')}")
            print(f"#   expected: {a if a is not None else '(nothing)'}")
            print(f"#   {name + ':':9} {b if b is not None else '(nothing)'}", flush=True)
            bad += 1
    return bad


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", choices=list(PORTS))
    options.add_argument("--write", action="store_true")
    options.add_argument("parts", nargs="*")
    options = options.parse_args()
    folder = tempfile.mkdtemp(prefix="compat.")
    servers = [server.Apache(folder, PORTS["apache"]), server.Ours(folder, PORTS["ours"])]
    servers = [s for s in servers if options.only in (None, s.name)]
    bad = 0
    try:
        for srv in list(servers):
            try:
                srv.begin()
                srv.wait()
                print(f"ok - {srv.name} serves")
            except (RuntimeError, OSError) as e:
                print(f"not ok - {srv.name} serves\n# " + str(e).replace("\n", "\n# "))
                servers.remove(srv)
                bad += 1
        for part in options.parts or PARTS:
            print(f"# part {part}", flush=True)
            for srv in servers:
                got = got_of(part, srv)
                if options.write and srv.name == "apache":
                    with open(expected_path(part), "w", encoding="utf-8") as f:
                        f.write("\n".join(got) + "\n")
                bad += compare(part, srv.name, expectation(part), got)
        for srv in servers:
            status = srv.stop()
            fine = status == 0 or (srv.name == "apache" and status in (143, -15))
            print(f"{'ok' if fine else 'not ok'} - {srv.name} ends on SIGTERM (status {status})")
            bad += not fine
    finally:
        for srv in servers:
            srv.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
