#!/bin/busybox sh
# shellcheck shell=dash disable=SC1091,SC2154 # the settings are sourced
#
# The guest's process 1, after /init (boot-program.ts) has mounted /proc, /sys, /dev, /rw and /cgroup and loaded the
# modules. It mounts the image, starts the command (/guest/enter, enter-program.ts) with what the host gave it as
# terminal or pipes, collects every process that ends, and reports on the control port:
#
#   to the host     init SECONDS       this script runs; SECONDS since the kernel started
#                   mounted            the command's root is there, the command is started
#                   exit STATUS        the command has ended, and its output has been handed over
#                   failed TEXT        it could not be started
#   from the host   signal NUMBER      for the command
#                   size ROWS COLUMNS  of the terminal
#
# The host ends the guest after "exit" or "failed". When the port closes, the host is gone, and the guest ends itself.
# Without a control port (a VMM started by hand) the command has the console, and the guest ends after it.
#
# /guest/settings (settings.ts) sets:
#   supervised    1 when there is a control port
#   tty           1 when the command gets the terminal hvc0 rather than three pipes
#   rows columns  size of that terminal; empty when not known
#   input         1 when the host has input for the pipes
#   end_mark      what follows the last byte of the command's output
#   pmem_sizes    sizes of the image's devices in bytes, metadata first
#   read_only     1 when the image itself is the root, without an overlay for writes
#   scratch       block device for writes; empty for memory
#   hostname      of the guest
#   halt          how to end the guest: poweroff or reboot

. /guest/settings
root=/root
read -r uptime _ </proc/uptime

control='' # the control port, once it is open as descriptor 3

say() { [ -z "$control" ] || echo "$*" >&3; }

finish() {
  "$halt" -f
  while :; do sleep 1000; done
}

die() {
  say "failed $*"
  echo "erofsify: $*" >/dev/console
  [ -z "$control" ] || sleep 10 # The host ends us as soon as it has read this.
  finish
}

# until_true COMMAND...: tries for 10 s, at short intervals.
until_true() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ "$tries" -le 500 ] || return 1
    usleep 20000
  done
}

# find_port NAME: sets $port to the device of the virtio-serial port of that name.
find_port() {
  for dir in /sys/class/virtio-ports/*; do
    found=
    read -r found <"$dir/name"
    port=/dev/${dir##*/}
    [ "$found" != "$1" ] || [ ! -c "$port" ] || return 0
  done 2>/dev/null
  return 1
}

# Sets $devices to the pmem devices in the order in which the host defined them. Linux numbers virtio devices in bus
# order; their pmem devices below them may come up in any order. Those behind the image's are somebody else's.
find_devices() {
  devices='' sizes='' number=0
  while [ -e "/sys/bus/virtio/devices/virtio$number" ]; do
    for dir in "/sys/bus/virtio/devices/virtio$number"/ndbus*/region*/namespace*/block/*; do
      if [ ! -e "$dir/size" ] || [ ! -b "/dev/${dir##*/}" ]; then continue; fi
      read -r sectors <"$dir/size"
      devices="$devices /dev/${dir##*/}"
      sizes="$sizes $((sectors * 512))"
      [ "$pmem_sizes" != "${sizes# }" ] || return 0
    done
    number=$((number + 1))
  done
  return 1
}

# Puts dm-verity over the devices: from then on $devices are those whose every block is checked.
check_blocks() {
  number=0 checked=''
  for device in $devices; do
    ln -s "$device" "/dev/part$number"
    checked="$checked /dev/dm-$number"
    number=$((number + 1))
  done
  error=$(/guest/verity 2>&1) || die "$error"
  devices=$checked
}

mount_image() {
  dax=always
  if [ -x /guest/verity ]; then
    check_blocks
    # What is mapped is read without being asked for: nothing could be checked.
    dax=never
  fi
  # shellcheck disable=SC2086 # one word a device
  set -- $devices
  meta=$1 options=ro,dax=$dax
  shift
  for device; do options=$options,device=$device; done
  error=$(mount -t erofs -o "$options" "$meta" /image 2>&1) || die "mounting the image: $error"
  [ "$dax" = always ] || return 0
  # Linux turns DAX off with a mere warning when a device cannot do it.
  while read -r _ target _ options _; do
    [ "$target" != /image ] || effective=$options
  done </proc/mounts
  case ,$effective, in *,dax=always,*) ;; *) die "the kernel did not map the image: mounted with $effective" ;; esac
}

mount_root() {
  if [ -n "$read_only" ]; then
    error=$(mount -o move /image "$root" 2>&1) || die "moving the image to the root: $error"
    return
  fi
  if [ -n "$scratch" ]; then
    until_true test -b "$scratch" || die "no scratch disk $scratch"
    error=$(mount -t ext4 "$scratch" /rw 2>&1) || die "mounting the scratch disk: $error"
    mkdir /rw/upper /rw/work
  fi
  error=$(mount -t overlay -o lowerdir=/image,upperdir=/rw/upper,workdir=/rw/work overlay "$root" 2>&1) ||
    die "mounting the overlay: $error"
}

# The command, in a group of its own, without the control port.
start() {
  [ -z "$rows" ] || stty rows "$rows" cols "$columns"
  echo 0 >/cgroup/guest/cgroup.procs
  exec /guest/enter 3>&-
}

# What the host says; ends the guest when the host is gone.
listen() {
  while read -r verb first second <&3; do
    case $verb in
      signal) kill "-$first" "$command" 2>/dev/null ;;
      size) stty -F "$terminal" rows "$first" cols "$second" && kill -WINCH "$command" 2>/dev/null ;;
    esac
  done
  finish
}

if [ -n "$supervised" ]; then
  until_true find_port erofsify.control || die "no control port"
  control=$port
  exec 3<>"$control"
  say "init $uptime"
fi
echo "$hostname" >/proc/sys/kernel/hostname
until_true find_devices || die "found pmem devices of${sizes:- no} bytes, expected $pmem_sizes"
mount_image
mount_root

pumps=
terminal=/dev/console
if [ -n "$supervised" ] && [ -z "$tty" ]; then
  # FIFOs rather than the ports themselves: a program may open /dev/stdout again, a port only once.
  for name in out err; do
    find_port "erofsify.$name" || die "no port for std$name"
    { cat; echo -n "$end_mark"; } <"/guest/$name" >"$port" &
    pumps="$pumps $!"
  done
  stdin=/dev/null
  if [ -n "$input" ]; then
    find_port erofsify.in || die "no port for stdin"
    cat <"$port" >/guest/in &
    stdin=/guest/in
  fi
  start <"$stdin" >/guest/out 2>/guest/err &
else
  [ -z "$supervised" ] || terminal=/dev/hvc0
  # shellcheck disable=SC2094 # a terminal is both
  start <"$terminal" >"$terminal" 2>&1 &
fi
command=$!
say mounted
[ -z "$supervised" ] || listen &
wait "$command"
status=$?
echo 1 >/cgroup/guest/cgroup.kill
# shellcheck disable=SC2086 # one word a process
[ -z "$pumps" ] || wait $pumps
if [ -n "$supervised" ]; then
  [ -z "$tty" ] || echo -n "$end_mark" >"$terminal"
  say "exit $status"
  wait # for listen, and so for the host
fi
[ "$status" = 0 ] || echo "erofsify: the command ended with status $status" >/dev/console
finish
