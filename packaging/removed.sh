# Takes back what installed.sh has done, and says before what that means to the tasks that run.
options=$root/etc/mesos-slave
kept=$root/var/lib/deimos/mesos-slave

# warn_of_tasks: how many run is in $running. While any does the service's supervisor is not stopped: its locks hold the slave's
# calls of wait, which would find no executable; it ends when it has nothing more to do.
warn_of_tasks() {
  running=0
  if [ -n "$root" ] || [ ! -x /usr/local/bin/deimos ]; then return 0; fi
  running=$(timeout 60 /usr/local/bin/deimos ps --json 2>/dev/null | grep -c '"state": "\(starting\|running\|ending\)"' || true)
  running=${running:-0}
  if [ "$running" -gt 0 ]; then
    echo "deimos: warning: $running tasks run in containers of deimos. They go on running; but without deimos their slave cannot wait for their end, measure or destroy them. Install deimos again, or end them with docker stop." >&2
  fi
}

# take_back <name> <value>: what the administrator has changed meanwhile stays.
take_back() {
  if [ ! -e "$kept/$1" ]; then return 0; fi
  if [ "$(cat "$options/$1" 2>/dev/null || true)" = "$2" ]; then
    case $(cat "$kept/$1") in
    absent) rm -f "$options/$1" ;;
    value)
      mv "$kept/$1.value" "$options/$1"
      echo "deimos: /etc/mesos-slave/$1 has its old value again" >&2
      ;;
    esac
    given_back=yes
  fi
  rm -f "$kept/$1" "$kept/$1.value"
}

give_back() {
  given_back=
  take_back containerizer_path /usr/local/bin/deimos
  take_back isolation external
  if [ -e "$kept/.directory" ]; then
    rmdir "$options" 2>/dev/null || true
    rm -f "$kept/.directory"
  fi
  rmdir "$kept" "$root/var/lib/deimos" 2>/dev/null || true
  if [ -n "$given_back" ]; then
    echo 'deimos: restart the Mesos slave of this host: it still calls deimos' >&2
  fi
}
