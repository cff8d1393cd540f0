# shellcheck shell=bash
# QEMU: the installed one (10 where the machine lets us choose) and 7.2 of stock Debian 12 unpacked beside it. Sourced.

TOOLS=$GODWIT_CACHE/tools

# The installed QEMU and its tools.
setup_qemu() {
    install_packages "${PACKAGES_QEMU[@]}"
    GODWIT_QEMU10=$(command -v qemu-system-x86_64) || die "qemu-system-x86_64 is not on the PATH"
    export GODWIT_QEMU10
}

# QEMU 7.2 with its storage daemon and qemu-img, not installed; wrappers are named after the version.
setup_qemu72() {
    on_bookworm || { note "QEMU 7.2 is offered on Debian 12 only: tests over both versions will say what they miss"; return 0; }
    local root=$TOOLS/qemu-7.2.root package
    if [ ! -e "$TOOLS/qemu-7.2.done" ]; then
        note "unpacking QEMU 7.2 beside the installed one: 4 packages into the cache, nothing is installed"
        rm -rf "$root"
        for package in qemu-system-x86 qemu-system-common qemu-system-data qemu-utils; do
            download_package $package 1:7.2 "$root"
        done
        local binary
        for binary in qemu-system-x86_64 qemu-storage-daemon qemu-img; do
            write_qemu72_wrapper "$root" $binary
        done
        check_libraries "$root/usr/bin/qemu-system-x86_64" "$root/usr/bin/qemu-storage-daemon"
        touch "$TOOLS/qemu-7.2.done"
    fi
    export GODWIT_QEMU72=$TOOLS/qemu-system-x86_64-7.2
    export GODWIT_STORAGE_DAEMON72=$TOOLS/qemu-storage-daemon-7.2
    # A folder for the front of PATH, where it has its usual name.
    QEMU72_PATH=$TOOLS/qemu-7.2.path
    mkdir -p "$QEMU72_PATH"
    ln -sf "$GODWIT_STORAGE_DAEMON72" "$QEMU72_PATH/qemu-storage-daemon"
}

write_qemu72_wrapper() {
    local root=$1 binary=$2 firmware=''
    if [ "$binary" = qemu-system-x86_64 ]; then
        firmware="-L '$root/usr/share/qemu' -L /usr/share/seabios -L /usr/share/qemu"
    fi
    # `exec` keeps the process id, so that whoever started the wrapper can end QEMU by it.
    cat >"$TOOLS/$binary-7.2" <<WRAPPER
#!/bin/sh
QEMU_MODULE_DIR='$root/usr/lib/x86_64-linux-gnu/qemu' exec '$root/usr/bin/$binary' $firmware "\$@"
WRAPPER
    chmod +x "$TOOLS/$binary-7.2"
}

# A binary of an unpacked package may want libraries that no installed package brought.
check_libraries() {
    local binary missing
    for binary in "$@"; do
        missing=$(ldd "$binary" | awk '/not found/ { print $1 }')
        [ -z "$missing" ] || die "$(basename "$binary") 7.2 lacks shared libraries:" $missing
    done
}
