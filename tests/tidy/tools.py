"""The tools of others: clang-format, clang-tidy, shellcheck."""
import concurrent.futures
import json
import os
import re
import shutil
import subprocess

JOBS = 2


def run(argv, tree):
    return subprocess.run(argv, cwd=tree.src, capture_output=True, text=True)


def lines_of(result):
    text = result.stdout + result.stderr
    lines = [line for line in text.splitlines() if line.strip()]
    if result.returncode != 0 and not lines:
        lines = [f"{result.args[0]} ended with status {result.returncode}"]
    return lines


def clang_format(tree):
    if not shutil.which("clang-format"):
        return ["clang-format is not installed"]
    result = run(["clang-format", "--dry-run", "-Werror", *tree.ending(".c", ".h")], tree)
    if result.returncode == 0:
        return []
    places = re.findall(r"^(\S+?):(\d+):\d+: error", result.stderr, re.M)
    counts = {}
    for name, line in places:
        counts.setdefault(name, []).append(line)
    return [f"{name}:{at[0]}: and {len(at) - 1} more places" for name, at in counts.items()] or \
        lines_of(result)


def compiled(tree):
    """The project's own files in the compile commands."""
    path = tree.build / "compile_commands.json"
    if not path.is_file():
        return None
    known = set(tree.files)
    names = set()
    for command in json.loads(path.read_text(encoding="utf-8")):
        full = os.path.realpath(os.path.join(command["directory"], command["file"]))
        names.add(os.path.relpath(full, tree.src))
    return sorted(names & known)


def from_top(tree, hit):
    """The finding with its file's name as it is in the checkout."""
    name, rest = hit.split(":", 1)
    full = os.path.realpath(os.path.join(tree.build, name))
    return os.path.relpath(full, tree.src) + ":" + rest


def clang_tidy(tree):
    if not shutil.which("clang-tidy"):
        return ["clang-tidy is not installed"]
    names = compiled(tree)
    if not names:
        return [f"{tree.build} has no compile_commands.json of this checkout"]
    argv = ["clang-tidy", "--quiet", "-p", str(tree.build), "--warnings-as-errors=*",
            # The build is gcc's, and clang does not know all of its warnings.
            "--extra-arg=-Wno-unknown-warning-option"]
    # The analyzer gives a function up behind so many states: less than a quarter of clang's own number.
    for word in ("-analyzer-config", "max-nodes=50000"):
        argv += ["--extra-arg=-Xclang", "--extra-arg=" + word]

    def check(name):
        # The analyzer walks every path: for the programs. Tests run theirs, with sanitizers.
        less = ["--checks=-clang-analyzer-*"] if name.startswith("tests/") else []
        return run(argv + less + [name], tree)

    found = []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for result in pool.map(check, names):
            hits = re.findall(r"^.*: (?:error|warning): .*$", result.stdout, re.M)
            found += [from_top(tree, hit) for hit in hits]
            if result.returncode != 0 and not hits:
                found += lines_of(result)
    return sorted(set(found))


def shellcheck(tree):
    """Only where the package is there: it is a help, not a need."""
    if not shutil.which("shellcheck") or not tree.scripts:
        return []
    result = run(["shellcheck", "-x", "-P", ".", "-f", "gcc", *tree.scripts], tree)
    return lines_of(result) if result.returncode else []
