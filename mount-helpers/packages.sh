# The one list of Debian packages, and the one way to install them. Sourced by zkfs-up and by
# tests/lib/install.sh; it only defines things.
# shellcheck shell=bash

# What it takes to build both programs.
# shellcheck disable=SC2034 # used by whoever sources this
packages_build=(
    gcc libc6-dev meson ninja-build pkgconf
    libfuse3-dev libuv1-dev nettle-dev libprotobuf-c-dev protobuf-c-compiler
    uthash-dev libxxhash-dev zlib1g-dev check
)
# What it takes to run them, and the README's session.
# shellcheck disable=SC2034
packages_run=(fuse3 attr)
# What the tests need besides.
# shellcheck disable=SC2034
packages_test=(
    clang clang-format clang-tidy libclang-rt-dev shellcheck binutils
    python3 python3-kazoo libzookeeper-mt-dev zookeeper default-jre-headless
    procps util-linux iproute2 rsync vim-tiny git inotify-tools
)

# packages_missing NAME...: prints those that are not installed, one a line.
packages_missing() {
    local name
    for name in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) in
            installed) ;; # "not-installed" is what a package is that others suggest
            *) printf '%s\n' "$name" ;;
        esac
    done
}

# packages_install WHO NAME...: installs what is missing. WHO begins each message. Nothing is asked of
# apt when all is there, so that neither root nor a network is needed then.
packages_install() {
    local who=$1 missing
    shift
    mapfile -t missing < <(packages_missing "$@")
    ((${#missing[@]} > 0)) || return 0
    if ! command -v apt-get >/dev/null; then
        echo "$who: these Debian packages are missing, and there is no apt-get: ${missing[*]}" >&2
        return 1
    fi
    if ((EUID != 0)); then
        echo "$who: not root, cannot install. As root: apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "$who: installing ${missing[*]}"
    local log status=0
    log=$(mktemp) || return 1
    # One retry behind an update: a fresh machine has no package lists yet.
    packages_apt install "${missing[@]}" >"$log" 2>&1 ||
        { packages_apt update >>"$log" 2>&1 && packages_apt install "${missing[@]}" >>"$log" 2>&1; } ||
        status=1
    if ((status != 0)); then
        tail -n 15 "$log" >&2
        echo "$who: apt-get failed (its last lines are above); missing: ${missing[*]}" >&2
    fi
    rm -f "$log"
    return "$status"
}

packages_apt() {
    local verb=$1
    shift
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        --no-install-recommends "$verb" "$@" </dev/null
}
