"""The rooms of docs/architecture.md: who may include whom, and which system headers each may see."""

# Longest match wins: a file belongs to the entry whose name is it or a folder above it.
ROOMS = {
    "common": {"common"},
    "replica/zab": {"common"},
    "replica/tree": {"common"},
    "replica/proto": {"common", "replica/tree", "replica/zab/zab_msg.h"},
    "replica/env.h": {"common"},
    "replica/store": {"common", "replica/proto", "replica/env.h"},
    "replica/server": {"common", "replica/zab", "replica/tree", "replica/proto"},
    "replica/member.c": {"common", "replica"},
    "replica/member.h": {"common", "replica"},
    "replica/member_start.c": {"common", "replica"},
    "replica/member_state.h": {"common", "replica"},
    "replica/mender.c": {"common", "replica"},
    "replica/mender.h": {"common", "replica"},
    "replica/offline": {"common", "replica/tree", "replica/proto", "replica/store", "replica/env.h",
                        "replica/config.h", "replica/io/files_posix.h"},
    "replica": {"common", "replica"},
    "fs": {"common"},
    "tests": {"common", "replica", "fs", "tests"},
}

# Above the core, but below io/: these must not be seen by member.
NOT_FOR = {
    "replica/member.c": {"replica/io", "replica/config.h"},
    "replica/member.h": {"replica/io", "replica/config.h"},
    "replica/member_start.c": {"replica/io", "replica/config.h"},
    "replica/member_state.h": {"replica/io", "replica/config.h"},
    "replica/mender.c": {"replica/io", "replica/config.h"},
    "replica/mender.h": {"replica/io", "replica/config.h"},
}

# The parts of libc without a clock, randomness, files, sockets, threads or the environment.
LIBC = {
    "assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdarg.h", "stdatomic.h",
    "stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "string.h", "endian.h",
}
HEADER_ONLY = {"uthash.h", "utlist.h", "xxhash.h"}

# None: any header. stdio.h is only for formatting: the undefined symbols tell about the rest.
HEADERS = {
    "common": LIBC | HEADER_ONLY | {"stdio.h"},
    # The three that end the process or write its log.
    "common/check.c": LIBC | {"stdio.h", "unistd.h"},
    "common/mem.c": LIBC | {"stdio.h", "unistd.h"},
    "common/log.c": LIBC | {"stdio.h", "time.h", "unistd.h"},
    "replica/zab": LIBC | HEADER_ONLY,
    "replica/tree": LIBC | HEADER_ONLY,
    "replica/proto": LIBC | {"protobuf-c/protobuf-c.h"},
    "replica/env.h": LIBC,
    # fcntl.h for the flags that env.h's open takes.
    "replica/store": LIBC | HEADER_ONLY | {"stdio.h", "fcntl.h"},
    "replica/server": LIBC | HEADER_ONLY | {"stdio.h", "nettle/"},
    "replica/member.c": LIBC,
    "replica/member.h": LIBC,
    "replica/member_start.c": LIBC,
    "replica/member_state.h": LIBC,
    "replica/mender.c": LIBC,
    "replica/mender.h": LIBC,
    "replica": None,
    "fs": None,
    "tests": None,
}

# Where what another library declares may be seen at all.
CONFINED = {
    "pb-c.h": ["replica/proto", "tests"],
    "protobuf-c/": ["replica/proto", "tests"],
    "uv.h": ["replica/io", "replica/main.c", "fs", "tests"],
    "fuse": ["fs", "tests"],
    "nettle/": ["replica/server", "tests"],
    "zlib.h": ["replica/offline", "tests"],
}

# The archives of the pure rooms, and those whose symbols each may use.
PURE = {
    "common/libzk_common.a": [],
    "replica/zab/libzk_zab.a": ["zk_common"],
    "replica/tree/libzk_tree.a": ["zk_common"],
    "replica/proto/libzk_proto.a": ["zk_common", "zk_tree"],
    "replica/store/libzk_store.a": ["zk_common", "zk_proto"],
    "replica/server/libzk_server.a": ["zk_common", "zk_zab", "zk_tree", "zk_proto"],
    "replica/libzk_member.a": ["zk_common", "zk_proto", "zk_store", "zk_server"],
}


def best(table, path):
    """The key of table that path is, or lies below; the longest one."""
    keys = [k for k in table if path == k or path.startswith(k + "/")]
    return max(keys, key=len) if keys else None


def below(path, names):
    return best(dict.fromkeys(names), path) is not None
