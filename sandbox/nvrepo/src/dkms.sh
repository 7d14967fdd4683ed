#!/bin/sh
# Stands for dkms: hands over to the builders that the substitute driver packages bring.
# usage: dkms autoinstall [-k KERNEL] | dkms status
set -e

case $1 in
autoinstall)
    kernel=$(uname -r)
    [ "$2" != -k ] || kernel=$3
    for builder in /usr/src/nvidia-*/dkms-substitute; do
        [ ! -x "$builder" ] || "$builder" build "$kernel"
    done
    ;;
status)
    for state in /var/lib/dkms/*/*/*/x86_64; do
        [ ! -d "$state" ] || echo "$state" |
            sed -E 's,/var/lib/dkms/([^/]+)/([^/]+)/([^/]+)/x86_64,\1/\2\, \3\, x86_64: installed,'
    done
    ;;
*)
    echo "dkms (substitute): unknown action '$1'" >&2
    exit 2
    ;;
esac
