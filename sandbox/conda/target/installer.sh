#!/bin/sh
# Miniforge3 @VERSION@, a substitute for tests: a script with its payload behind it.
set -eu

OFFSET=@OFFSET@
SIZE=@SIZE@
THIS=$0
PREFIX=${HOME:-/opt}/miniforge3
BATCH=0
FORCE=0
UPDATE=0

usage() {
    echo "usage: $0 [options]

Installs Miniforge3 @VERSION@

-b           run install in batch mode (without manual intervention)
-f           no error if install prefix already exists
-h           print this help message and exit
-p PREFIX    install prefix, defaults to $PREFIX
-u           update an existing installation"
}

while getopts 'bfhp:sktum' option; do
    case $option in
    b) BATCH=1 ;;
    f) FORCE=1 ;;
    h) usage && exit 2 ;;
    p) PREFIX=$OPTARG ;;
    u) UPDATE=1 ;;
    s | k | t | m) ;;
    *)
        echo "ERROR: did not recognize option '$option', please try -h" >&2
        exit 1
        ;;
    esac
done

if [ "$(wc -c < "$THIS")" -ne $SIZE ]; then
    echo "ERROR: size of $(basename "$THIS") should be $SIZE bytes: the download is not whole" >&2
    exit 1
fi
if [ $BATCH = 0 ]; then
    echo 'ERROR: this substitute installs in batch mode only (-b)' >&2
    exit 1
fi
case $PREFIX in
*' '*)
    echo 'ERROR: Cannot install into directories with spaces' >&2
    exit 1
    ;;
esac
if [ -e "$PREFIX" ] && [ $FORCE = 0 ] && [ $UPDATE = 0 ]; then
    echo "ERROR: File or directory already exists: '$PREFIX'" >&2
    echo 'If you want to update an existing installation, use the -u option.' >&2
    exit 1
fi
if ! mkdir -p "$PREFIX"; then
    echo "ERROR: Could not create directory: '$PREFIX'" >&2
    exit 1
fi
PREFIX=$(cd "$PREFIX" && pwd)
echo "PREFIX=$PREFIX"
echo 'Unpacking payload ...'

# As in the real installer, what runs next lives below TMPDIR, which must allow programs to run.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/miniforge3.XXXXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
tail -c +$OFFSET "$THIS" | tar -xf - -C "$scratch"
# A host whose python3 is 3.6 has the one that this runs on put away.
for newer in /opt/sandbox-hidden/bin/python3.[0-9]*; do
    [ ! -x "$newer" ] || sed -i "1s,.*,#!$newer," "$scratch/bootstrap"
done
"$scratch/bootstrap" "$scratch" "$PREFIX"
echo 'installation finished.'
exit 0
