#!/bin/sh
# shellcheck shell=dash disable=SC2012,SC2094
# Does with files, in the current folder, what programs do, and prints what can be seen of it. On a volume and on the host's
# own file system the output is the same: nothing in it depends on time, inode numbers or the file system's sizes.
LC_ALL=C
TZ=UTC0
export LC_ALL TZ
umask 022

say() { printf '%s\n' "$*"; }
# What is to be seen of files: type, permissions, owners, links, size, time.
show() { stat -c '%n %F %a %u:%g %h %s %Y' "$@"; }
# The same of what has been changed just now.
look() { stat -c '%n %F %a %u:%g %h %s' "$@"; }
# A command that is to fail, and why it does.
fails() {
  if why=$("$@" 2>&1 >/dev/null); then say "$* did not fail"; else say "$1: ${why##*: }"; fi
}
as_other() { setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; }

say '= writing'
printf 'hello' >file && cat file && say
printf ' world' >>file && look file && cat file && say
printf 'J' | dd of=file conv=notrunc bs=1 seek=0 2>/dev/null && cat file && say
: >empty && look empty
dd if=/dev/zero bs=1000 count=300 2>/dev/null | tr '\0' 'x' >long && look long && cksum <long
printf 'end' | dd of=long conv=notrunc bs=1 seek=299998 2>/dev/null && look long && tail -c 5 long && say
(set -C && fails sh -C -c ': >file')
exec 3<>file && printf '12' >&3 && cat <&3 && exec 3>&- && say && cat file && say

say '= sizes'
truncate -s 3 file && cat file && say
truncate -s 100000 file && look file && tr -d '\0' <file && say
truncate -s 5000000000 huge && look huge && printf 'x' | dd of=huge conv=notrunc bs=1 seek=4999999999 2>/dev/null &&
  tail -c 3 huge | od -An -c && rm huge
printf 'a' >holes && truncate -s 1048577 holes && printf 'b' >>holes && look holes && cksum <holes
cp --sparse=always holes holes-2 && cmp holes holes-2 && look holes-2
for mode in '-l 20000' '-n -l 40000' '-p -o 4096 -l 4096' '-z -o 0 -l 5000'; do
  # shellcheck disable=SC2086
  fallocate $mode space && stat -c '%s' space && cksum <space
  [ -s space ] && printf 'filled' | dd of=space conv=notrunc bs=1 seek=5000 2>/dev/null
done
# A file opened for appending by two at once loses nothing.
: >log && for i in 1 2; do (n=0; while [ $n -lt 50 ]; do echo "line $n of $i" >>log; n=$((n + 1)); done) & done
wait && sort -o log log && cksum <log && look log

say '= names'
mkdir -p a/b/c && printf '1' >a/one && ln a/one a/b/two && ln -s ../one a/b/link && ln -s nowhere dangling && ln -s loop loop
show a/b/link dangling | sed 's/ [0-9]*$//' && readlink a/b/link dangling && cat a/b/link && say
look a/one a/b a && [ a/one -ef a/b/two ] && say 'the same file'
fails cat dangling
fails cat loop
fails mkdir a
fails rmdir a
fails rmdir file
fails rm a
fails ln a/one a/b/two
fails ln a hard
fails cat file/x
fails mv a a/b
n255=$(printf '%0255d' 7)
: >"$n255" && look "$n255" && rm "$n255"
fails touch "${n255}8"
touch -- 'a b' 'new
line' "$(printf 'caf\351')" '-dash' '*' '\\' && ls -b1 && rm -- 'a b' 'new
line' "$(printf 'caf\351')" ./-dash '*' '\\'

say '= renaming'
printf 'old' >x && printf 'new' >y && mv y x && cat x && say && ls y 2>/dev/null
mv -n x file && look x file
mkdir m n && printf '1' >m/f && mv m n/ && cat n/m/f && say && mv n o && cat o/m/f && say
mkdir full empty-dir && : >full/f && fails mv -T empty-dir full
mv -T full empty-dir && ls empty-dir
exec 3<x && mv x z && cat <&3 && exec 3<&- && say
exec 4>gone && rm gone && printf 'still there' >&4 && cat /proc/self/fd/4 && say && stat -L -c '%h %s' /proc/self/fd/4 && exec 4>&-

say '= permissions'
chmod 4755 file && chown 1000:1000 file && look file
chmod 6755 file && look file && as_other sh -c 'printf x >>file' && look file
chmod 600 file && chown 0:0 file && fails as_other cat file
mkdir -m 1777 sticky && : >sticky/mine && fails as_other rm -f sticky/mine
as_other sh -c 'umask 077; : >sticky/theirs; mkdir sticky/dir' && look sticky/theirs sticky/dir
mkdir -m 2775 group && chgrp 1000 group && : >group/f && mkdir group/d && look group/f group/d
as_other test -r group/f && say 'others may read'
mkdir -m 700 closed && : >closed/f && fails as_other cat closed/f
(umask 027 && : >masked && mkdir masked-dir && look masked masked-dir)

say '= times'
touch -d '1999-12-31 23:59:59.123456789 UTC' file && stat -c '%y %x' file
touch -m -d '1969-12-31 23:59:58 UTC' file && stat -c '%Y %X' file
touch -h -d '2030-01-01 UTC' dangling && stat -c '%y' dangling
touch -d '2020-01-01' o && : >o/changed && [ o -nt file ] && say 'the folder is newer'

say '= special files'
mkfifo pipe && look pipe && { echo 'through a pipe' >pipe & cat pipe; }
mknod null c 1 3 && stat -c '%n %F %t:%T' null && mknod block b 7 200 && stat -c '%n %F %t:%T' block

say '= attributes'
setfattr -n user.a -v one file && setfattr -n user.b -v '' file && getfattr -d file
setfattr -n user.long -v "$(printf '%04000d' 1)" o && getfattr --only-values -n user.long o | cksum
setfattr -x user.a file && getfattr -d file
fails setfattr -x user.a file
fails getfattr -n user.none file

say '= locks'
flock long sh -c 'flock --nonblock --conflict-exit-code 9 long true; echo "taken: $?"'
flock --shared long flock --shared --nonblock long echo 'shared'

say '= many'
mkdir many && (cd many && seq -f 'entry-%04g' 1500 | xargs touch && ls | wc -l && ls | cksum)
(cd many && ls | head -n 700 | xargs rm && ls | wc -l && ls | cksum)
mkdir -p deep/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16 && (cd deep/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16 && printf 'deep' >f)
mv deep/1/2/3/4/5/6/7/8 moved && cat moved/9/10/11/12/13/14/15/16/f && say
cp -a . /tmp/copy.$$ && diff -r --no-dereference --exclude=pipe --exclude=null --exclude=block . /tmp/copy.$$ && say 'the copy is the same'
rm -rf /tmp/copy.$$
tar -cf o.tar a many o && mkdir t && tar -xf o.tar -C t && diff -r --no-dereference many t/many && say 'the archive is the same' && rm o.tar
rm -rf moved many t && fails ls moved

say '= the end'
find . -depth -exec touch -h -d '2026-01-02 03:04:05 UTC' {} +
find . -printf '%P %y %m %U:%G %n %T@ %l\n' | sort
find . -type f -printf '%P %s\n' | sort
find . -type f -exec sha256sum {} + | sort -k 2
