#!/bin/sh
# Turn a Debian root with dnf into a host of Enterprise Linux. Runs once, inside it, as root.
# /sandbox holds what to install; PYTHON names the Python that python3 is to be, if any.
set -eu

ln -sf dnf /usr/bin/yum
sed -i 's/^enabled.*/enabled=0/' /etc/dnf/plugins/local.conf 2> /dev/null || :

# Debian's package manager is put away: whoever looks must find only rpm.
hidden=/opt/sandbox-hidden
plugins=/usr/lib/python3/dist-packages
mkdir -p $hidden/bin $hidden/lib
mv /usr/bin/update-alternatives $hidden/bin/
mv /usr/bin/apt* /usr/bin/dpkg* $hidden/bin/
mv /var/lib/dpkg /var/lib/apt $hidden/lib/
mv /etc/apt $hidden/etc-apt
for file in $plugins/apt_pkg*.so $plugins/apt_inst*.so; do [ ! -e "$file" ] || mv "$file" $hidden/lib/; done
rm -f /etc/debian_version /usr/bin/kernel-install /usr/lib/kernel/install.d/* /usr/bin/lsb_release
# A package of its own brings the plugin, as there.
mv $plugins/dnf-plugins/versionlock.py $hidden/lib/
rm -f /etc/dnf/plugins/versionlock.*

# Theirs is another program with the same options.
mkdir -p /var/lib/alternatives
cat > /usr/sbin/alternatives << END
#!/bin/sh
exec $hidden/bin/update-alternatives --admindir /var/lib/alternatives "\$@"
END
chmod 0755 /usr/sbin/alternatives
ln -sf alternatives /usr/sbin/update-alternatives

if [ -n "${PYTHON:-}" ]; then
    # dnf keeps the Python that it was made for; nobody else is to find a newer one.
    own=$(readlink -f /usr/bin/python3)
    mv "$own" $hidden/bin/
    own=$hidden/bin/${own##*/}
    sed -i "1s,^#! */usr/bin/python3.*,#!$own," /usr/bin/dnf-3
    echo /opt/sandbox-python/lib > /etc/ld.so.conf.d/sandbox-python.conf
    mkdir -p /usr/libexec
    ln -s "/opt/sandbox-python/bin/python$PYTHON" /usr/libexec/platform-python
    ln -sf /usr/libexec/platform-python /usr/bin/python3
    ldconfig
    # As its package has it; or whoever calls it as root leaves files behind.
    /usr/libexec/platform-python -m compileall -q /opt/sandbox-python/lib > /dev/null || :
fi

echo /usr/lib64 > /etc/ld.so.conf.d/lib64.conf
ldconfig
rm -f /etc/dnf/dnf.conf
mkdir -p /etc/rpm
# Debian's rpm gives scriptlets a name space of their own, which a container may not have.
cat > /etc/rpm/macros << END
%_dbpath /var/lib/rpm
%_db_backend sqlite
%__transaction_unshare %{nil}
END
rpm --initdb
rpm --import /etc/pki/rpm-gpg/RPM-GPG-KEY-system
# Their needs are Debian's files, which no rpm owns.
rpm --install --nodeps /sandbox/*.rpm
systemctl enable sandbox-kernel.service
echo /usr/lib64/sandbox-uname.so > /etc/ld.so.preload
rm -rf /sandbox
