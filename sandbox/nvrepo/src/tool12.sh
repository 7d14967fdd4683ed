#!/bin/sh
# Stands between the front end of a later CUDA and the tools of CUDA @SHORT@; installed as cicc,
# ptxas and fatbinary. SUBSTITUTE_ARCH names the architecture that 7.5 stands for, if any.
set -e

here=$(dirname "$(readlink -f "$0")")
name=$(basename "$0")
arch=${SUBSTITUTE_ARCH:-75}
output=''
previous=''
count=$#
while [ "$count" -gt 0 ]; do
    argument=$1
    shift
    count=$((count - 1))
    [ "$previous" != -o ] || output=$argument
    previous=$argument
    case $name:$argument in
    ptxas:-arch=sm_75 | ptxas:--gpu-name=sm_75) argument=-arch=sm_$arch ;;
    fatbinary:*_dlink*) ;; # made by nvlink, which knows 7.5 only
    fatbinary:*,sm=75,*) argument="${argument%%,sm=75,*},sm=$arch,${argument#*,sm=75,}" ;;
    esac
    set -- "$@" "$argument"
done
case $name in
ptxas) exec "$here/../bin/ptxas" "$@" ;;
cicc)
    "$here/cicc.real" "$@"
    [ ! -f "$output" ] ||
        sed -i -e 's/^\.version .*/.version @PTX@/' -e "s/^\.target sm_75/.target sm_$arch/" "$output"
    ;;
*) exec "$here/$name.real" "$@" ;;
esac
