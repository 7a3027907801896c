#!/bin/sh
# A machine's /dev of its own, with a syslog daemon in it, for one test. Run it as root:
#   syslog-receiver.sh DIR PROGRAM [ARGUMENT…]
# In a mount namespace of its own (nothing outside is touched) it runs PROGRAM with a /dev/log whose datagrams are
# appended to DIR/received, one a line, and returns PROGRAM's status. DIR/mode changes what there is:
#   no-daemon       no /dev/log at all
#   no-logger       no program logger in the PATH of Deimos
#   hanging-logger  a logger that never reads and never ends
# PROGRAM may stop and start the daemon by way of DIR/daemon (an executable; it prints the pid to DIR/daemon.pid).
set -eu
if [ "${SYSLOG_RECEIVER_INSIDE:-}" != yes ]; then
  SYSLOG_RECEIVER_INSIDE=yes exec unshare --mount --pid --fork --mount-proc "$0" "$@"
fi
dir=$1
shift
mode=$(cat "$dir/mode" 2>/dev/null || true)

mkdir -p "$dir/dev" "$dir/bin"
mount -t tmpfs tmpfs "$dir/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "$dir/dev/${node%:*}" c 1 "${node#*:}"
done
ln -s /proc/self/fd "$dir/dev/fd"
mount --move "$dir/dev" /dev

real=$(command -v logger)
case $mode in
  no-logger) mount --bind /dev/null "$real" ;;
  hanging-logger) printf '#!/bin/sh\nexec sleep 60\n' >"$dir/bin/logger" ;;
esac
if [ -e "$dir/bin/logger" ]; then
  chmod 755 "$dir/bin/logger"
  mount --bind "$dir/bin/logger" "$real"
fi

cat >"$dir/daemon" <<'EOF'
#!/usr/bin/perl
use Socket;
my $dir = shift;
unlink '/dev/log';
socket(S, AF_UNIX, SOCK_DGRAM, 0) or die "socket: $!";
bind(S, pack_sockaddr_un('/dev/log')) or die "bind: $!";
chmod 0666, '/dev/log';
open(OUT, '>>', "$dir/received") or die "open: $!";
exit 0 if fork;
open(STDOUT, '>', '/dev/null');
open(STDERR, '>', '/dev/null');
open(PID, '>', "$dir/daemon.pid") and print PID $$ and close PID;
while (defined recv(S, my $message, 65536, 0)) { $message =~ s/\n/\\n/g; syswrite OUT, "$message\n"; }
EOF
chmod 755 "$dir/daemon"
[ "$mode" = no-daemon ] || "$dir/daemon" "$dir"
# The namespace of process ids ends with this shell, and everything in it.
status=0
"$@" || status=$?
exit "$status"
