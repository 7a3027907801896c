#!/bin/sh
# Makes what a test machine boots, in the empty directory $1: vmlinuz, initrd, root.ext4 (Debian with systemd and Docker, what
# the package of Deimos needs, and the agent that runs what the test says). Packages already fetched are taken from the cache
# in $2. Installs nothing here.
set -eu
made=$1
cache=$2
suite=bookworm
root=$made/root
mkdir -p "$cache/debs" "$cache/kernel"

# The kernel for virtual machines, not installed: its archive is unpacked.
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
(cd "$cache/kernel" && ls "${kernel}"_*.deb >/dev/null 2>&1 || apt-get -o APT::Sandbox::User=root download "$kernel")
dpkg-deb -x "$(ls -t "$cache/kernel/${kernel}"_*.deb | head -n 1)" "$made/kernel"
version=$(ls "$made/kernel/lib/modules")
mv "$made/kernel/boot/vmlinuz-$version" "$made/vmlinuz"

# What dpkg writes is thrown away when it fails: it need not reach the disk.
mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
# No mirror is named: debootstrap knows Debian's, or what DEBOOTSTRAP_MIRROR says.
debootstrap --variant=minbase --cache-dir="$cache/debs" \
  --include=systemd,systemd-sysv,dbus,kmod,iproute2,iptables,docker.io,bzip2,curl,unzip,xz-utils \
  "$suite" "$root" ${DEBOOTSTRAP_MIRROR:+"$DEBOOTSTRAP_MIRROR"} >"$made/log" 2>&1 || {
  tail -n 20 "$made/log" >&2
  exit 1
}
mkdir -p "$root/usr/lib/modules" "$root/host"
mv "$made/kernel/lib/modules/$version" "$root/usr/lib/modules/"
chroot "$root" depmod "$version"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/usr/share/locale

# Whatever a test needs it starts itself, and nobody logs in.
echo machine >"$root/etc/hostname"
echo '/dev/vda / ext4 defaults 0 0' >"$root/etc/fstab"
for unit in docker.service docker.socket containerd.service; do chroot "$root" systemctl -q disable "$unit"; done
for unit in getty@tty1.service serial-getty@ttyS0.service getty.target apt-daily.timer apt-daily-upgrade.timer \
  dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-firstboot.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# The agent: reads lines `<number> <seconds> <script in base64>` from the port, answers each with a line
# `<number> <status> <bytes of stdout> <bytes of stderr>` and these bytes. 137: not done within the seconds.
cat >"$root/usr/local/sbin/machine-agent" <<'AGENT'
#!/bin/sh
set -u
for port in /sys/class/virtio-ports/*; do
  [ "$(cat "$port/name")" = machine ] && exec 3<>"/dev/${port##*/}"
done
mount -o ro /dev/vdb /host
echo ready >&3
while read -r number seconds script <&3; do
  printf %s "$script" | base64 -d >/run/script
  timeout -s KILL "$seconds" sh /run/script >/run/stdout 2>/run/stderr </dev/null 3>&-
  status=$?
  echo "$number $status $(stat -c %s /run/stdout) $(stat -c %s /run/stderr)" >&3
  cat /run/stdout /run/stderr >&3
done
AGENT
chmod 755 "$root/usr/local/sbin/machine-agent"
cat >"$root/etc/systemd/system/machine-agent.service" <<'UNIT'
[Unit]
Description=Runs what the test says
After=systemd-tmpfiles-setup.service dbus.socket

[Service]
ExecStart=/usr/local/sbin/machine-agent
# What a script starts and leaves running is the machine's from then on.
KillMode=process

[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl -q enable machine-agent.service

# An initrd that knows how to find the disk, no more.
mkdir -p "$made/initrd.d/bin" "$made/initrd.d/modules" "$made/initrd.d/proc" "$made/initrd.d/dev" "$made/initrd.d/root"
cp "$(command -v busybox)" "$made/initrd.d/bin/busybox"
modules='virtio/virtio_ring virtio/virtio virtio/virtio_pci_legacy_dev virtio/virtio_pci_modern_dev virtio/virtio_pci
  block/virtio_blk char/virtio_console'
for module in $modules; do
  cp "$root/usr/lib/modules/$version/kernel/drivers/$module.ko" "$made/initrd.d/modules/"
done
cat >"$made/initrd.d/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in $(echo $modules); do /bin/busybox insmod /modules/\${module##*/}.ko; done
until [ -b /dev/vda ]; do /bin/busybox usleep 20000; done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
INIT
chmod 755 "$made/initrd.d/init"
(cd "$made/initrd.d" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$made/initrd"

mke2fs -q -t ext4 -d "$root" "$made/root.ext4" 3G
rm -rf "$root" "$made/kernel" "$made/initrd.d" "$made/log"
