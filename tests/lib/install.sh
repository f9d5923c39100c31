# Everything the tests need, installed. Sourced by tests/run with ZKFS_SRC set.
# shellcheck shell=bash
# shellcheck source=mount-helpers/packages.sh
. "$ZKFS_SRC/mount-helpers/packages.sh"

install_all() {
    packages_install "tests/run" "${packages_build[@]}" "${packages_run[@]}" "${packages_test[@]}"
}
