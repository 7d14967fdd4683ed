#!/bin/sh
# Stands for dkms: hands over to the builders that the substitute driver packages bring.
# usage: dkms autoinstall [-k KERNEL] | install -m NAME -v VERSION -k KERNEL | add | uninstall |
#     status
set -e

case $1 in
autoinstall)
    kernel=$(uname -r)
    [ "$2" != -k ] || kernel=$3
    for builder in /usr/src/nvidia-*/dkms-substitute; do
        [ ! -x "$builder" ] || "$builder" build "$kernel"
    done
    ;;
add | uninstall) ;; # the builders know no more than is there
install)
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        -m) name=$2 ;;
        -v) version=$2 ;;
        -k) kernel=$2 ;;
        esac
        shift
    done
    "/usr/src/$name-$version/dkms-substitute" build "$kernel"
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
