# shellcheck shell=bash
# Guest disks: built once, kept in the cache under a name that changes with whatever they are made of. Sourced.

GUESTS=$GODWIT_CACHE/guests
DEBIAN_INCLUDES=systemd-sysv,udev,linux-image-cloud-amd64,grub-pc,initramfs-tools,qemu-guest-agent,iproute2,e2fsprogs

# The kernel and the guest agent of Debian, unpacked. Whatever version is in the cache is kept.
setup_guest_parts() {
    install_packages "${PACKAGES_DISK[@]}"
    setup_python
    export KERNEL_TREE=$TOOLS/kernel AGENT_TREE=$TOOLS/guest-agent
    if [ ! -e "$TOOLS/guest-parts.done" ]; then
        note "unpacking Debian's cloud kernel and guest agent into the cache"
        rm -rf "$KERNEL_TREE" "$AGENT_TREE"
        apt_refresh
        local kernel version
        # Debian 12's own kernel, not the newer one of backports, whose compressed modules the small guest cannot load.
        kernel=$(apt-cache "${APT_READ[@]}" depends 'linux-image-cloud-amd64=6.1.*' |
            awk '/Depends: linux-image-6\.1\./ && !kernel { kernel = $2 } END { print kernel }')
        [ -n "$kernel" ] || die "the Debian mirror has no cloud kernel"
        download_package "$kernel" 6.1. "$KERNEL_TREE"
        version=$(ls "$KERNEL_TREE/lib/modules")
        PATH=$PATH:/usr/sbin:/sbin depmod -b "$KERNEL_TREE" "$version"
        download_package qemu-guest-agent 1:7.2 "$AGENT_TREE"
        check_libraries "$AGENT_TREE/usr/sbin/qemu-ga"
        touch "$TOOLS/guest-parts.done"
    fi
}

# The packages of a whole Debian 12 as a tar file, made once: minutes of work.
setup_debian_tar() {
    DEBIAN_TAR=$TOOLS/debian-12.tar
    install_packages "${PACKAGES_DEBIAN_DISK[@]}"
    [ ! -e "$DEBIAN_TAR" ] || return 0
    note "installing a Debian 12 with $DEBIAN_INCLUDES into $DEBIAN_TAR (once; some minutes)"
    [ "$(id -u)" = 0 ] || die "a whole Debian can be installed by root only: run ./dev demo --full as root"
    apt_prepare
    local mirror
    mirror=$(apt_uris | grep -m1 -E '/debian/?$')
    quietly mmdebstrap mmdebstrap --mode=root --variant=minbase --include="$DEBIAN_INCLUDES" \
        --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        bookworm "$DEBIAN_TAR.new" "$mirror" --format=tar
    mv "$DEBIAN_TAR.new" "$DEBIAN_TAR"
}

# guest_disk NAME BUILDER ARGUMENT...: a disk by a fixed name in GUESTS and in GUEST_DISK, built if it is not there yet.
guest_disk() {
    local name=$1 builder=$2 key
    shift 2
    key=$({
        cat "$TESTBED/$builder" "$TESTBED"/guest/*
        ls "${KERNEL_TREE:-/nowhere}/lib/modules" 2>/dev/null || true
        echo "$*"
    } | sha256sum | cut -c1-12)
    GUEST_DISK=$GUESTS/$name-$key.raw
    if [ ! -e "$GUEST_DISK" ]; then
        note "building the guest disk '$name' (once)"
        mkdir -p "$GUESTS"
        rm -f "$GUESTS/$name"-*.raw
        quietly "build-guest-$name" "$TESTBED/$builder" "$GUEST_DISK" "$@"
    fi
    ln -sfn "$(basename "$GUEST_DISK")" "$GUESTS/$name.raw"
}

# The disks that tests start from, by fixed names in the folder GODWIT_TESTBED.
setup_test_guests() {
    setup_guest_parts
    guest_disk small build-guest --size 256 --fill 16 --writer 'pause=0.5 kib=256 keep=32'
    export GODWIT_TESTBED=$GUESTS
}

setup_demo_guest() {
    setup_guest_parts
    guest_disk demo build-guest --size 1024 --fill 448 --writer 'pause=1 kib=512 keep=64'
}

setup_full_guest() {
    setup_guest_parts
    setup_debian_tar
    guest_disk full build-guest-debian "$DEBIAN_TAR" --size 2048 --fill 64 --writer 'pause=1 kib=512 keep=64'
}
