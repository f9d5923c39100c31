"""A fault under load, in rounds, and what has to be true behind it. For each fault 20 clients and a program in a
mount write and read while the fault is done again and again; then the load ends, and

- each replica has the same state, in which nothing that was acknowledged is missing,
- the history is linearizable, and each session saw what it may see (tests/fault/lin),
- the mount works.

Each of these is a TAP line. ZKFS_ROUNDS, ZKFS_SEED and ZKFS_SERVER=apache change rounds, chance and servers."""
import json
import os
import random
import shutil
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lin"), os.path.join(HERE, "..", "..", "lib")]
import zkfs_test as t  # noqa: E402
import check  # noqa: E402
import ensemble  # noqa: E402
import history as h  # noqa: E402
import mount  # noqa: E402

ROUNDS = int(os.environ.get("ZKFS_ROUNDS", "20"))
SEED = int(os.environ.get("ZKFS_SEED", str(int(time.time()))))
TIMEOUT_MS = 2000
MOUNT_KEY = "m0"
MOUNT_SESSION = 900000
FINAL_SESSION = 1000000
# An operation in the mount may wait this long (its timeo) and a moment for the machine.
TIMEO_S = 8
SLACK_S = 3


class Program:
    """The mount's writer."""

    def __init__(self, file, history):
        self.history = history
        self.process = subprocess.Popen(
            [sys.executable, "-B", os.path.join(HERE, "mount_writer.py"), file, history, str(MOUNT_SESSION), MOUNT_KEY],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=t._die_with_parent)

    def stop(self):
        """(operations, errors, longest ms, errors by errno)"""
        out, _ = self.process.communicate(timeout=60)
        t.equal(self.process.returncode, 0, "the program in the mount")
        n, errors, longest, kinds = out.split(" ", 3)
        return int(n), int(errors), int(longest), kinds.strip()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Final:
    """The state as one replica shows it behind a sync."""

    def __init__(self, member, number, prefix, keys):
        self.state, self.lines, self.session = {}, [], FINAL_SESSION + number
        with t.Session(member.port, timeout_ms=10000, host=member.host) as s:
            s.sync(prefix)
            self.names = sorted(s.children(prefix))
            for n, key in enumerate(keys):
                self.read(s, n + 1, prefix, key)
            s.close_session()

    def read(self, s, n, prefix, key):
        begun = time.monotonic_ns()
        path = "%s/%s" % (prefix, key)
        try:
            data, version, mzxid = s.get_with_mzxid(path)
            value = data.decode().rstrip("_")
            self.state[key] = (version, data, mzxid)
            told = "0 %d %s %d %d" % (version, value, mzxid, s.zxid)
        except t.ZkError as e:
            t.equal(e.code, t.NONODE, "reading " + path)
            told = "%d - - - %d" % (e.code, s.zxid)
        self.lines.append("o %d %d sget %s - - %d %d %s" % (
            self.session, n, key, begun, time.monotonic_ns(), told))


class Lines:
    """TAP lines of one suite."""

    def __init__(self):
        self.count, self.bad = 0, 0

    def say(self, good, text, why=""):
        self.count += 1
        self.bad += not good
        print("%s %d - %s" % ("ok" if good else "not ok", self.count, text.replace("#", "%23")), flush=True)
        if not good:
            t.note(why)
        return good


class Campaign:
    def __init__(self, count):
        t.note("ZKFS_SEED=%d, %d rounds" % (SEED, ROUNDS))
        self.random = random.Random(SEED)
        self.lines = Lines()
        self.net = ensemble.Net(count + 1)
        self.clients = count + 1  # the host of all clients
        self.e = ensemble.Ensemble(count, net=self.net)
        self.mount, self.number = None, 0

    def start(self):
        begun = time.monotonic()
        self.e.start()
        t.note("%d members serve after %.1f s; member %d leads" % (
            self.e.count, time.monotonic() - begun, self.e.leader().number))
        self.mount = mount.Mount(self.e.servers(), "timeo=%d,timeout=%d" % (TIMEO_S, TIMEO_S))

    def finish(self):
        """Ends all; the exit status of the suite."""
        try:
            if self.mount is not None:
                self.lines.say(self.mount.unmount(), "the mount can be unmounted and ends in order")
                self.mount.close()
            statuses = self.e.stop()
            wanted = (143, -15, 0) if self.e.apache else (0,)
            self.lines.say(all(s in wanted for s in statuses), "each member ends in order on SIGTERM",
                           "%s\n%s" % (statuses, self.e.tails()))
        except (t.Failed, OSError, subprocess.SubprocessError):
            self.lines.say(False, "the ensemble ends in order", traceback.format_exc(limit=3) + self.e.tails())
        self.e.close()
        self.net.close()
        print("1..%d" % self.lines.count, flush=True)
        return 1 if self.lines.bad or not self.lines.count else 0

    # --- one fault ---

    def fault(self, name, one_round, rounds=None, **options):
        """Runs one_round(campaign, load, i) under load, `rounds` times, and checks what is behind it."""
        rounds = rounds or ROUNDS
        name = "%d x %s" % (rounds, name)
        self.number += 1
        prefix = "/f%d" % self.number
        load = program = None
        begun = time.monotonic()
        try:
            self.prepare(prefix)
            options.setdefault("timeout_ms", TIMEOUT_MS)
            load = ensemble.Load(self.e, prefix, seed=self.random.randrange(1 << 30), **options)
            program = Program("%s%s/%s" % (self.mount.path, prefix, MOUNT_KEY), load.history + ".mount")
            load.wait_progress(50)
            for i in range(rounds):
                one_round(self, load, i)
                load.wait_progress(20)
            self.heal()
            load.wait_progress(20)
            counted, mounted = load.stop(), program.stop()
            self.lines.say(True, "%s: writes go on" % name)
            t.note("%.1f s; %s" % (time.monotonic() - begun, ", ".join(
                "%s %d" % (k, v) for k, v in counted.items() if k not in ("up", "gap_ms"))))
            self.verify(name, prefix, load, mounted)
        except Exception as e:  # whatever it is, this fault has failed, and the next one is tried
            why = str(e) if isinstance(e, t.Failed) else traceback.format_exc()
            self.lines.say(False, "%s: writes go on" % name, "%s\n%s\n%s" % (
                why, traceback.format_exc(limit=4), self.e.tails()))
            self.keep(load, program)
            self.recover()
        finally:
            for each in (load, program):
                if each is not None:
                    each.close()

    def prepare(self, prefix):
        with t.Session(self.e.leader().port, host=self.e.leader().host) as s:
            s.create(prefix)
            s.create("%s/%s" % (prefix, MOUNT_KEY), b"")
            s.close_session()

    def heal(self):
        """All is well again: no cut, all members run and serve."""
        self.net.heal()
        for m in self.e.members:
            if m.alive():
                m.thaw()
            else:
                m.start()
        self.e.wait_serving()

    def recover(self):
        """Behind a fault that has failed: the next one begins with all members new."""
        try:
            self.net.heal()
            for m in self.e.members:
                if m.alive():
                    m.thaw()
            self.e.kill_all()
            self.e.start()
        except t.Failed:
            t.note("the ensemble does not serve again:\n" + self.e.tails())

    def verify(self, name, prefix, load, mounted):
        finals = self.finals(prefix, load)
        same = all(f.state == finals[0].state and f.names == finals[0].names for f in finals)
        good = self.lines.say(same, "%s: all members have the same state" % name,
                              "" if same else difference(finals))
        stay = [n for f in finals for n in f.names if n[0] == "e"]
        good &= self.lines.say(not stay, "%s: no ephemeral outlives its session" % name, stay)
        history = self.merged(prefix, load, finals)
        result = check.Result(h.History(history))
        t.note("checker: %s" % result)
        good &= self.lines.say(not result.linear, "%s: no acknowledged write is lost, linearizable" % name,
                               "\n".join(result.linear[:5]))
        good &= self.lines.say(not result.sessions_found, "%s: order, freshness and watches of each session" % name,
                               "\n".join(result.sessions_found[:5]))
        good &= self.check_mount(name, prefix, mounted)
        if not good:
            self.keep(load, None, history)

    def finals(self, prefix, load):
        """A session may have been closed by its client's end a moment ago only: ephemerals are waited for."""
        keys = ["k%d" % i for i in range(load.keys)] + [MOUNT_KEY]
        until = time.monotonic() + TIMEOUT_MS / 1000 + SLACK_S
        while True:
            finals = [Final(m, i, prefix, keys) for i, m in enumerate(self.e.members)]
            if time.monotonic() > until or not any(n[0] == "e" for f in finals for n in f.names):
                return finals
            time.sleep(0.1)

    def merged(self, prefix, load, finals):
        lines = ["o 800000 1 create %s - made 0 1 0 0 - - -" % MOUNT_KEY]
        for path in (load.history, load.history + ".mount"):
            with open(path, encoding="ascii") as f:
                lines += f.read().splitlines()
        for final in finals:
            lines += final.lines
        return lines

    def check_mount(self, name, prefix, mounted):
        n, errors, longest, kinds = mounted
        t.note("the mount: %d operations, %d errors %s, the longest took %d ms" % (n, errors, kinds, longest))
        why = []
        if longest > (TIMEO_S + SLACK_S) * 1000:
            why.append("an operation took %d ms" % longest)
        if n - errors < 2:
            why.append("no operation succeeded")
        try:
            self.mount.sh("mkdir .%s/d && echo x > .%s/d/f && cat .%s/d/f && rm .%s/d/f && rmdir .%s/d" % (
                (prefix,) * 5), want="x\n")
        except t.Failed as e:
            why.append(str(e))
        return self.lines.say(not why, "%s: the mount works" % name, "\n".join(why) + "\n" + self.mount.log()[-2000:])

    def keep(self, load, program, history=None):
        """What is needed to look into a failure, beside the suites' logs."""
        folder = os.path.join(t.BUILD, "logs", "ensemble-%d-%d" % (self.e.count, self.number))
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        if history is not None:
            with open(os.path.join(folder, "history"), "w") as f:
                f.write("\n".join(history) + "\n")
        elif load is not None and os.path.exists(load.history):
            shutil.copy(load.history, os.path.join(folder, "history"))
        for m in self.e.members:
            if os.path.exists(m.log_path):
                shutil.copy(m.log_path, os.path.join(folder, "member-%d.log" % m.number))
        t.note("kept in %s" % os.path.relpath(folder, t.BUILD))


def difference(finals):
    found = []
    for key in sorted(set().union(*(f.state for f in finals))):
        values = [f.state.get(key) for f in finals]
        if any(v != values[0] for v in values):
            found.append("%s: %s" % (key, json.dumps([str(v)[:60] for v in values])))
    names = [f.names for f in finals]
    if any(n != names[0] for n in names):
        found.append("names: %s" % names)
    return "\n".join(found)
