"""A gate between a mount and its server, that stops creations at a chosen point; and scripts that make them."""
import os
import signal
import socket
import struct
import subprocess
import threading

import common
from common import mount, t


class Script:
    """A process and a session of its own that runs bash commands in a folder, one line at a time, and says when each is done."""

    def __init__(self, folder):
        self.process = subprocess.Popen(["bash"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, preexec_fn=t._die_with_parent,
                                        start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def do(self, command, status="0"):
        self.process.stdin.write(command + "\necho $?\n")
        self.process.stdin.flush()
        t.equal(self.process.stdout.readline().strip(), status, "status of <%s>" % command)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def children_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(word) for word in f.read().split()]


def waiting_in_mount(pid):
    """Whether a child of the process is in mkdir(2) or mkdirat(2)."""
    for child in children_of(pid):
        try:
            with open("/proc/%d/comm" % child) as f, open("/proc/%d/syscall" % child) as g:
                if f.read().strip() == "mkdir" and g.read().split()[0] in ("83", "258"):
                    return True
        except (OSError, IndexError):
            pass
    return False


class Gate:
    """Stands between a mount and the server, on a port of its own: holds back requests, keeps an answer until the
    next frame comes, cuts the connection behind an answer, or instead of it."""
    DELETE, EXISTS, GET_DATA, GET_CHILDREN2, MULTI, CREATE2 = 2, 3, 4, 12, 14, 15

    def __init__(self, port):
        self.port_behind = port
        self.shut = False
        self.hold = None  # the opcode of requests that wait, with all behind them, for `go`
        self.held, self.go = threading.Event(), threading.Event()
        self.lose = self.lost_xid = None  # the opcode of requests that lose their answer and the connection
        # Paths: exists of one after the other, and behind the answer of the last the connection is cut, or that
        # answer goes out together with the next frame.
        self.cut_after, self.join_after = [], []
        self.cut_xid = self.join_xid = None
        self.kept, self.keeps = b"", threading.Event()
        self.socks = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def go_on_to(self, opcode):
        """Lets go of what is held, and waits for the next request of this opcode, which is held again."""
        go, self.go = self.go, threading.Event()
        self.held.clear()
        self.hold = opcode
        go.set()
        t.check(self.held.wait(10), "a request with opcode %d" % opcode)

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                if self.shut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.port_behind))
            except OSError:
                return
            self.socks = [near, far]
            threading.Thread(target=self.pump, args=(near, far, self.ask), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, self.answer), daemon=True).start()

    def pump(self, source, target, look):
        try:
            first = True
            while True:
                body = t.recv_frame(source)
                keep = first or look(body)
                first = False
                if keep:
                    kept, self.kept = (self.kept, b"") if look == self.answer else (b"", self.kept)
                    target.sendall(kept + t.frame(body))
                if self.shut:
                    break
        except (OSError, t.Lost, t.Refused):
            pass
        self.cut(source, target)

    def ask(self, body):
        xid, opcode = struct.unpack_from(">ii", body)
        if opcode == self.hold:
            go = self.go
            self.held.set()
            go.wait()
            return not self.shut
        if opcode == self.lose:
            self.lost_xid = xid
        if opcode == self.EXISTS:
            if self.is_last(self.cut_after, body):
                self.cut_xid = xid
            if self.is_last(self.join_after, body):
                self.join_xid = xid
        return True

    @staticmethod
    def is_last(paths, body):
        if not paths or t.text(paths[0]) != body[8:-1]:
            return False
        paths.pop(0)
        return not paths

    def answer(self, body):
        xid, = struct.unpack_from(">i", body)
        self.shut |= xid in (self.cut_xid, self.lost_xid)
        if xid == self.lost_xid:
            return False
        if xid == self.join_xid:
            self.kept = t.frame(body)
            self.keeps.set()
            return False
        return True

    @staticmethod
    def cut(*socks):
        for sock in socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.go.set()
        self.listener.close()
        self.cut(*self.socks)


class Gated:
    """A server, a gate, a mount through it, with an empty folder d of ephemeral sequential znodes, and a Script in it."""

    def __init__(self, owner):
        self.owner = owner

    def __enter__(self):
        self.server = mount.new_server(common.FAULT_PORT)
        self.gate = Gate(common.FAULT_PORT)
        self.m = mount.Mount("127.0.0.1:%d" % self.gate.port, "timeo=30,timeout=20")
        self.m.sh("mkdir d && setfattr -n user.zk.create -v 'ephemeral sequential owner=%s' d" % self.owner)
        self.script = Script(self.m.path)
        self.script.do("cd .")
        return self

    def __exit__(self, *_):
        self.gate.close()
        self.script.kill()
        try:
            self.m.close()
        finally:
            self.server.close()

    def start_mkdir(self, view=""):
        self.script.process.stdin.write("/bin/mkdir %sd/x- & wait; echo done\n" % view)
        self.script.process.stdin.flush()

    def kill_mkdir(self):
        child, = children_of(self.script.process.pid)
        os.kill(child, signal.SIGKILL)
        t.equal(self.script.process.stdout.readline(), "done\n")

    def next_number(self):
        """How many were ever made."""
        with t.Session(common.FAULT_PORT) as zk:
            t.wait_for(lambda: zk.children("/d") == [], 15, "nothing being left")
            name = zk.create("/d/x-", b"", 2)
            zk.delete(name)
            return int(name[-10:])
