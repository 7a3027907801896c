# Tells the slave of this host to use Deimos, once: what the administrator changes afterwards stays. What was there before is
# kept below /var/lib/deimos, and put back when Deimos is removed (removed.sh). Calling it again is safe.
options=$root/etc/mesos-slave
kept=$root/var/lib/deimos/mesos-slave

# set_option <name> <value>: $kept/<name> says what was found, <name>.value keeps it.
set_option() {
  if [ -e "$kept/$1" ]; then return 0; fi
  if [ ! -e "$options/$1" ]; then
    echo absent >"$kept/$1.new"
  elif [ "$(cat "$options/$1")" = "$2" ]; then
    echo same >"$kept/$1.new"
    mv "$kept/$1.new" "$kept/$1"
    return 0
  else
    cp -a "$options/$1" "$kept/$1.value"
    echo value >"$kept/$1.new"
    echo "deimos: /etc/mesos-slave/$1 was '$(head -c 200 "$options/$1" | tr -d '\000-\037\177')' and is $2 now; the old value comes back when deimos is removed" >&2
  fi
  # Noted first: what is interrupted here is no administrator's choice the next time.
  mv "$kept/$1.new" "$kept/$1"
  echo "$2" >"$options/.$1.new"
  mv "$options/.$1.new" "$options/$1"
  changed=yes
}

take_over() {
  changed=
  mkdir -p "$kept"
  if [ ! -d "$options" ]; then
    mkdir -p "$options"
    touch "$kept/.directory"
  fi
  set_option containerizer_path /usr/local/bin/deimos
  set_option isolation external
  if [ -n "$changed" ]; then
    echo 'deimos: restart the Mesos slave of this host to have it run its tasks with deimos' >&2
  fi
}

# A supervisor of another executable, of a root that is not the service's, makes room for this one with the next call, which
# need not be long in coming. There is nobody to be asked where no root has been in use since the host booted.
hand_over() {
  if [ -z "$root" ] && [ -d /run/deimos.roots ]; then
    timeout 60 /usr/local/bin/deimos recover </dev/null >/dev/null 2>&1 || true
  fi
}
