#!/bin/sh
# Turn a Debian root into an Ubuntu host. Runs once, inside it, as root.
# VERSION, TITLE and CODENAME say which release; /sandbox holds the kernel's packages.
set -eu

cat > /usr/lib/os-release << END
PRETTY_NAME="Ubuntu ${TITLE%% (*}"
NAME="Ubuntu"
VERSION_ID="$VERSION"
VERSION="$TITLE"
VERSION_CODENAME=$CODENAME
ID=ubuntu
ID_LIKE=debian
HOME_URL="https://www.ubuntu.com/"
UBUNTU_CODENAME=$CODENAME
END
ln -sf ../usr/lib/os-release /etc/os-release
cat > /etc/lsb-release << END
DISTRIB_ID=Ubuntu
DISTRIB_RELEASE=$VERSION
DISTRIB_CODENAME=$CODENAME
DISTRIB_DESCRIPTION="Ubuntu ${TITLE%% (*}"
END
# Debian's reads os-release only, whose names are not those that unattended-upgrades compares.
cat > /usr/bin/lsb_release << 'END'
#!/bin/sh
. /etc/lsb-release
short=
for word in "$@"; do
    case $word in --short | -s | -is | -cs | -rs | -ds) short=1 ;; esac
done
case " $* " in *" -a "* | *" --all "*) set -- -i -d -r -c ;; esac
for word in "$@"; do
    case $word in
        --id | -i*) name="Distributor ID" value=$DISTRIB_ID ;;
        --codename | -c*) name=Codename value=$DISTRIB_CODENAME ;;
        --release | -r*) name=Release value=$DISTRIB_RELEASE ;;
        --description | -d*) name=Description value=$DISTRIB_DESCRIPTION ;;
        *) continue ;;
    esac
    [ -n "$short" ] && echo "$value" || printf '%s:\t%s\n' "$name" "$value"
done
END
chmod 0755 /usr/bin/lsb_release
mkdir -p /etc/dpkg/origins
printf 'Vendor: Ubuntu\nVendor-URL: https://www.ubuntu.com/\nBugs: https://bugs.launchpad.net/ubuntu/+filebug\nParent: Debian\n' > /etc/dpkg/origins/ubuntu
ln -sf ubuntu /etc/dpkg/origins/default

# The rest of the archive is Debian's; it must not offer drivers of its own.
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    [ ! -f "$file" ] || sed -i -E 's/ (contrib|non-free|non-free-firmware)\b//g' "$file"
done

# From 25.10 on `sudo` is another program with the same options, and the old one has another name.
if [ -x /usr/bin/sudo-rs ]; then
    mv /usr/bin/sudo /usr/bin/sudo.ws
    ln -s sudo-rs /usr/bin/sudo
fi

systemctl enable sandbox-kernel.service
dpkg --install /sandbox/*.deb
rm -rf /sandbox /run/reboot-required*
echo /usr/lib/sandbox-uname.so > /etc/ld.so.preload
