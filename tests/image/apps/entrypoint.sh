#!/bin/sh
set -e
if [ "$1" = plain ]; then
    shift
    : "${NAME:=$(basename /a/set-by-the-script)}"
    export NAME
    set -- python3 /srv/plain.py "$@"
fi
exec "$@"
