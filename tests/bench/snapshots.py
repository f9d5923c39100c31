"""A server with many znodes: how soon it serves again, what it takes in memory and on disk, and what writes notice of
a snapshot that is taken meanwhile. Used by bench.py."""
import array
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["ZKFS_SRC"], "tests", "compat"))
import server  # noqa: E402
import wire  # noqa: E402

RATE = 5000
FAMILY = 1000
# The snapshot is over when it has its name; what it made superfluous is removed within this.
BEHIND_S = 0.25
# A pause before and behind each, in which the other figure is taken.
PAUSE_S = 4
SNAP_COUNT = 8 * RATE
WAIT_S = 60
# Behind many writes, until a snapshot that they began has been saved.
SETTLE_S = 12


def znode(n):
    return f"/bench/p{n // FAMILY}/k{n}"


def configure(srv, keys):
    """Appends these to the server's configuration, in place of those of the time before."""
    with open(srv.config, encoding="utf-8") as f:
        lines = f.read().split("# bench\n")[0]
    with open(srv.config, "w", encoding="utf-8") as f:
        f.write(lines + "# bench\n" + "".join(f"{k}={v}\n" for k, v in keys.items()))


def folder_mib(srv):
    """All files of its data, and the newest snapshot among them."""
    total, snaps = 0, []
    for place, _, names in os.walk(os.path.join(srv.folder, "data")):
        for name in names:
            at = os.stat(os.path.join(place, name))
            total += at.st_size
            if re.fullmatch(r"snapshot\.[0-9a-f]+", name):
                snaps.append((at.st_mtime, at.st_size))
    return total / 2**20, (max(snaps)[1] if snaps else 0) / 2**20


def memory_mib(srv, key):
    with open(f"/proc/{srv.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key + ":")) / 1024


def cpu_s(srv):
    with open(f"/proc/{srv.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_request(srv, path):
    """Starts it; milliseconds until it has answered a read of a session of its own, by a client that tries to
    connect every two milliseconds."""
    begun = time.monotonic()
    srv.begin()
    while True:
        try:
            s = wire.Session(srv.port, timeout_ms=30000)
            err = s.call("getData", wire.watched(path))[2]
            break
        except (OSError, wire.Closed) as e:
            if srv.process.poll() is not None or time.monotonic() - begun > WAIT_S:
                raise RuntimeError(f"{srv.name} does not start:\n{srv.tail()}") from e
            time.sleep(0.002)
    took = (time.monotonic() - begun) * 1000
    if err != 0:
        raise RuntimeError(f"{srv.name}: getData {path} gives {err}")
    s.end()
    return took


def restarts(srv, count, rounds):
    """Prints the times of some starts, and memory and files behind them."""
    times, cpus, rss, peak = [], [], [], []
    for n in range(rounds):
        times.append(first_request(srv, znode((n + 1) * 7919 % count)))
        cpus.append(cpu_s(srv))
        time.sleep(1)
        rss.append(memory_mib(srv, "VmRSS"))
        peak.append(memory_mib(srv, "VmHWM"))
        srv.stop()
    total, newest = folder_mib(srv)
    print(f"{srv.name:8} restart: first request served after {statistics.median(times):.0f} ms "
          f"({min(times):.0f} to {max(times):.0f}, {rounds} times; {statistics.median(cpus):.2f} s of CPU), "
          f"RSS {statistics.median(rss):.0f} MiB (peak {max(peak):.0f}); "
          f"files {total:.0f} MiB, the newest snapshot {newest:.0f} MiB; load {os.getloadavg()[0]:.1f}", flush=True)


class OurWindows:
    """Snapshots by the word `snap`: [begin, end] of each, monotonic seconds."""

    keys = {"snapCount": 2000000000, "snapSizeLimitInKb": -1}

    def watch(self, srv, until):
        out = []
        while time.monotonic() + PAUSE_S < until:
            time.sleep(PAUSE_S)
            begin = time.monotonic()
            answer = server.word(srv.port, "snap", timeout=WAIT_S)
            if "zxid:" not in answer:
                raise RuntimeError(f"snap gives {answer!r}")
            out.append((begin, time.monotonic()))
        return out


class ApacheWindows:
    """Snapshots by snapCount: under way while the server has the file open (Debian's package logs nothing)."""

    keys = {"snapCount": SNAP_COUNT}

    @staticmethod
    def is_open(srv):
        place = f"/proc/{srv.process.pid}/fd"
        for fd in os.listdir(place):
            try:
                if "/snapshot." in os.readlink(os.path.join(place, fd)):
                    return True
            except OSError:
                pass
        return False

    def watch(self, srv, until):
        out, begin = [], None
        while time.monotonic() < until:
            now, busy = time.monotonic(), self.is_open(srv)
            if busy and begin is None:
                begin = now
            if not busy and begin is not None:
                out.append((begin, now))
                begin = None
            time.sleep(0.02)
        return out


def percentile(values, share):
    """The smallest value that at least that share of all does not exceed; of sorted values."""
    return values[max(0, -int(-len(values) * share // 1) - 1)]


def figures(latencies):
    v = sorted(latencies)
    return [percentile(v, p) for p in (0.5, 0.99, 0.999)] + [v[-1]]


def split(path, windows):
    """Latencies in us of the operations that met each window, and of those between them."""
    data = array.array("q")
    with open(path, "rb") as f:
        data.frombytes(f.read())
    with_, without = [[] for _ in windows], [[] for _ in range(len(windows) + 1)]
    bounds = [(b * 1e9, (e + BEHIND_S) * 1e9) for b, e in windows]
    at, warm = 0, data[0] + 1e9
    for i in range(0, len(data), 2):
        begin, took = data[i], data[i + 1]
        while at < len(bounds) and begin > bounds[at][1]:
            at += 1
        if begin < warm:
            continue
        if at < len(bounds) and begin + took >= bounds[at][0]:
            with_[at].append(took / 1000)
        else:
            without[at].append(took / 1000)
    return with_, [w for w in without if len(w) >= RATE]


def under_writes(srv, paced, count, value_bytes, seconds, out):
    kind = OurWindows() if srv.name == "ours" else ApacheWindows()
    configure(srv, kind.keys)
    first_request(srv, znode(0))
    # A JVM is slow until it has compiled what it runs often.
    subprocess.run(paced + [str(srv.port), "set", str(count), str(value_bytes), str(RATE), "5000", out], check=True,
                   stdout=subprocess.DEVNULL)
    with subprocess.Popen(paced + [str(srv.port), "set", str(count), str(value_bytes), str(RATE),
                           str(seconds * 1000), out], stdout=subprocess.PIPE, text=True) as p:
        begun = time.monotonic()
        windows = kind.watch(srv, begun + seconds)
        text = p.communicate()[0]
    if p.returncode != 0 or "errors=0" not in text:
        raise RuntimeError(f"{srv.name}: {text}")
    windows = [w for w in windows if w[0] > begun + 1 and w[1] + BEHIND_S < begun + seconds]
    rss = memory_mib(srv, "VmRSS")
    srv.stop()
    if not windows:
        raise RuntimeError(f"{srv.name}: no snapshot was taken in {seconds} s")
    with_, without = split(out, windows)
    report(srv, windows, with_, without, rss)


def report(srv, windows, with_, without, rss):
    rows = {}
    for name, parts in (("with", with_), ("without", without)):
        each = [figures(p) for p in parts]
        rows[name] = [statistics.median(f[i] for f in each) for i in range(4)]
        p50, p99, p999, most = rows[name]
        print(f"{srv.name:8} {name:8} p50 {p50:8.0f} us, p99 {p99:8.0f}, p99.9 {p999:8.0f}, longest {most:8.0f} "
              f"(medians of {len(each)}; p99.9 of each: {' '.join(f'{f[2]:.0f}' for f in each)})")
    took = [e - b for b, e in windows]
    print(f"{srv.name:8} p99.9 with one is {rows['with'][2] / rows['without'][2]:.2f} times that without; "
          f"{len(took)} snapshots of {statistics.median(took):.1f} s; RSS {rss:.0f} MiB; "
          f"load {os.getloadavg()[0]:.1f}", flush=True)


def run(folder, servers, paced, count, value_bytes, rounds, seconds):
    """servers: not started, data empty; paced: the command of bench_paced. Prints all of it."""
    print(f"\n{count} znodes of {value_bytes} bytes, {FAMILY} to a parent; page cache warm")
    for srv in servers:
        srv.start()
        text = subprocess.run(paced + [str(srv.port), "create", str(count), str(value_bytes)], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        rate = re.search(r"rate=(\d+)", text)[1]
        if "errors=0" not in text:
            raise RuntimeError(f"{srv.name}: {text}")
        time.sleep(SETTLE_S)
        print(f"{srv.name:8} made at {rate}/s, RSS then {memory_mib(srv, 'VmRSS'):.0f} MiB", flush=True)
        srv.stop()
    for srv in servers:
        restarts(srv, count, rounds)
    print(f"\n{RATE} setData/s on them, from when each was to be sent until its answer")
    for srv in servers:
        under_writes(srv, paced, count, value_bytes, seconds, os.path.join(folder, "paced.out"))
