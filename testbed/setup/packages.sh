# shellcheck shell=bash
# Debian packages: which ones a piece of set-up needs, and how they are installed without a question. Sourced.
#
# QEMU comes from bookworm-backports (version 10), because images that ship a newer qemu-utils refuse Debian 12's own
# qemu-system-x86, and because both versions are wanted anyway: 7.2 is unpacked beside it (qemu.sh). The machine's own
# apt configuration is only read: lists and sources of ours live in the cache folder.

PACKAGES_BUILD=(gcc libc6-dev make pkg-config)
PACKAGES_QEMU=(qemu-system-x86 seabios qemu-utils)
PACKAGES_DISK=(syslinux syslinux-common mtools fdisk busybox-static cpio kmod e2fsprogs)
PACKAGES_DEBIAN_DISK=(mmdebstrap grub-pc-bin grub-common)
PACKAGES_DEMO=(jq)
PACKAGES_TEST=(procps shellcheck libnbd-bin e2fsprogs mount)
PACKAGES_BENCH=(libnbd-bin restic)

APT=$GODWIT_CACHE/apt

package_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Sets AS_ROOT to what goes before a command that needs root.
become_root() {
    AS_ROOT=()
    [ "$(id -u)" = 0 ] && return 0
    sudo -n true 2>/dev/null || die "not root, and sudo asks for a password: install as root: $*"
    AS_ROOT=(sudo -n)
}

# The addresses that the machine's apt is configured with, one-line and deb822 files alike.
apt_uris() {
    local files=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources)
    # A pattern that matches no file makes sed fail; what it found counts all the same.
    sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]+) .*/\2/p' "${files[@]}" 2>/dev/null || true
}

# Sources and lists of our own: bookworm with its backports, from the machine's own mirror.
apt_prepare() {
    local mirror security signed='' keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(apt_uris | grep -m1 -E '/debian/?$') || die "apt is configured with no Debian mirror"
    security=$(apt_uris | grep -m1 -E '/debian-security/?$') || security=
    [ -e $keys ] && signed="[signed-by=$keys] "
    mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial"
    {
        printf 'deb %s%s %s main\n' "$signed" "$mirror" bookworm "$signed" "$mirror" bookworm-updates \
            "$signed" "$mirror" bookworm-backports
        [ -z "$security" ] || printf 'deb %s%s bookworm-security main\n' "$signed" "$security"
    } >"$APT/sources.list"
    APT_OPTIONS=(-o DPkg::Lock::Timeout=300 -o Dir::Etc::sourcelist="$APT/sources.list" -o Dir::Etc::sourceparts=-
        -o Dir::State::lists="$APT/lists" -o Acquire::Retries=3 -o Acquire::Languages=none
        # The user that apt downloads as otherwise may not enter a home folder.
        -o APT::Sandbox::User=root)
    # What only reads and downloads needs no root, if apt's own cache is left alone.
    APT_READ=("${APT_OPTIONS[@]}" -o Dir::Cache="$APT/cache")
}

# Downloads the lists unless they are of today.
apt_refresh() {
    apt_prepare
    if [ -z "$(find "$APT/refreshed" -mmin -720 2>/dev/null)" ]; then
        quietly apt-update apt-get "${APT_READ[@]}" update -qq
        touch "$APT/refreshed"
    fi
}

on_bookworm() {
    [ "$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null)" = bookworm ]
}

# A machine whose user installed QEMU 7.2 keeps it: we do not upgrade what runs other people's guests.
keeps_qemu_7() {
    dpkg-query -W -f='${db:Status-Status} ${Version}\n' qemu-utils qemu-system-x86 2>/dev/null | grep -q '^installed 1:7\.'
}

# install_packages NAME...: installs those that are missing and says which.
install_packages() {
    local missing=() name
    for name in "$@"; do
        package_installed "$name" || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "this is not a Debian system; install by hand: ${missing[*]}"
    note "installing Debian packages: ${missing[*]}"
    become_root "${missing[@]}"
    local options=()
    if on_bookworm; then
        apt_refresh
        options=("${APT_OPTIONS[@]}")
        # Only QEMU is wanted from backports, the rest stays with the release.
        case " ${missing[*]} " in *qemu*) keeps_qemu_7 || options+=(-t bookworm-backports) ;; esac
    else
        quietly apt-update "${AS_ROOT[@]}" apt-get -o DPkg::Lock::Timeout=300 update -qq
    fi
    # In a session of its own, because Ctrl-C must not reach dpkg in the middle: the script ends when this is done.
    undisturbed apt-install setsid --wait "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" \
        install -y -q --no-install-recommends "${missing[@]}"
}

# download_package NAME VERSION-PREFIX FOLDER: fetches the newest .deb whose version begins so and unpacks it there.
download_package() {
    local name=$1 prefix=$2 folder=$3 version fetched
    apt_refresh
    version=$(apt-cache "${APT_READ[@]}" madison "$name" |
        awk -F'|' -v p="$prefix" '{ gsub(/ /, "", $2) } index($2, p) == 1 { print $2; exit }')
    [ -n "$version" ] || die "the Debian mirror has no $name of version $prefix…"
    fetched=$(mktemp -d "$GODWIT_CACHE/download.XXXXXX")
    quietly "download-$name" env -C "$fetched" apt-get "${APT_READ[@]}" download "$name=$version"
    mkdir -p "$folder"
    dpkg -x "$fetched"/*.deb "$folder"
    rm -rf "$fetched"
}
