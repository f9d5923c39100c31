"""What the finished archives show: the symbols that the pure rooms do not define themselves."""
import pathlib
import re
import subprocess

import rooms

HERE = pathlib.Path(__file__).resolve().parent
# What compilers and sanitizers put in by themselves.
COMPILER = re.compile(r"__(asan|ubsan|sanitizer|lsan|gcov|stack_chk_fail|odr_asan|llvm|start_|stop_)"
                      r"|_GLOBAL_OFFSET_TABLE_|__(mem|str)\w*_chk$|__v?snprintf_chk$")


def allow_list(path):
    """Lines `symbol` or `file.c symbol`, `#` comments; a `*` at the end stands for anything."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split("#")[0].split()
        if words:
            entries.append((words[0] if len(words) == 2 else None, words[-1]))
    return entries


def allows(entries, member, symbol):
    for only, pattern in entries:
        hit = symbol.startswith(pattern[:-1]) if pattern.endswith("*") else symbol == pattern
        if hit and only in (None, member):
            return True
    return False


def read_archive(path):
    """(symbols defined, {(member, symbol) undefined}) of an archive."""
    out = subprocess.run(["nm", "-A", path], capture_output=True, text=True, check=True).stdout
    defined, undefined = set(), set()
    for line in out.splitlines():
        m = re.match(r".*?([^/:]+)\.o:\s*[0-9a-f]*\s+(\w) (\S+)$", line)
        if not m:
            continue
        member, kind, symbol = m.groups()
        if kind in "Uw":
            undefined.add((re.sub(r"^.*\.p_", "", member), symbol))
        elif kind.isupper():
            defined.add(symbol)
    return defined, undefined


def symbols(tree):
    found = []
    archives = {}
    for name in rooms.PURE:
        path = tree.build / name
        if not path.is_file():
            return [f"{path} is not built"]
        archives[path.stem.removeprefix("lib")] = read_archive(path)
    shared = allow_list(HERE / "allow-pure.txt")
    for name, uses in rooms.PURE.items():
        lib = pathlib.Path(name).stem.removeprefix("lib")
        defined, undefined = archives[lib]
        known = defined.union(*(archives[u][0] for u in uses))
        if lib != "zk_common":
            # common/log is the one sink, and pure rooms do not call it.
            known -= {s for s in known if s.startswith("log_line") or s == "log_set_level"}
        own = HERE / f"allow-{lib.removeprefix('zk_')}.txt"
        allowed = shared + (allow_list(own) if own.is_file() else [])
        for member, symbol in sorted(undefined):
            if symbol not in known and not COMPILER.match(symbol) and not allows(
                    allowed, member, symbol):
                found.append(f"{name}: {member} uses {symbol}")
    return found
