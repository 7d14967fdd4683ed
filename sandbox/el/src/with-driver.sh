#!/bin/sh
# Turn a host of Oracle Linux into one whose image has NVIDIA's driver, compiled for the kernel that
# it boots. Runs once, inside it, as root; /sandbox holds what to install, TOOLSET names a compiler.
set -eu

/usr/sbin/grubby --default-kernel | sed 's,.*/vmlinuz-,,' > /run/sandbox-kernel
mkdir -p /etc/dkms/framework.conf.d
echo "build_environment=\"/opt/rh/gcc-toolset-$TOOLSET/enable\"" > /etc/dkms/framework.conf.d/toolset.conf
# Their needs are among them, or Debian's files, which no rpm owns. Nothing makes the modules wait
# for what they are compiled with.
for folder in tools driver; do rpm --install --nodeps --nosignature /sandbox/$folder/*.rpm; done
if ! dkms status | grep -q ": installed"; then
    cat /var/lib/dkms/nvidia/*/build/make.log >&2
    exit 1
fi
rm -rf /sandbox /run/sandbox-kernel
