#!/bin/sh
# own_symbols.sh SET ARCHIVE: what the kernels of one instruction set define for the linker lies in their own namespace,
# templates and inline functions included. Another symbol might be the copy that the linker keeps for the whole program,
# and a machine without the set would stop at it. Exits with 77 (meson: skipped) where there is no nm.
set=$1 archive=$2
command -v nm >/dev/null || { echo "skipped: there is no nm"; exit 77; }
defined=$(nm --defined-only --extern-only "$archive") || exit 1
symbols=$(echo "$defined" | sed -n 's/^[0-9a-f]* *[A-Za-z] //p' | sed 's/^__odr_asan\.//')
[ -n "$symbols" ] || { echo "$archive defines nothing: this test reaches nothing"; exit 1; }
# Mangled, so that an argument's namespace is not taken for the function's.
strangers=$(echo "$symbols" | grep -v "^_Z\(GV\|T[A-Z]\|Z\)*NK\{0,1\}2tt7kernels${#set}$set")
[ -z "$strangers" ] && exit 0
echo "$archive defines symbols outside tt::kernels::$set:"
echo "$strangers"
exit 1
