#!/bin/sh
# The modes of odd.py that end at once. Python takes 30 to 80 ms of a core to get there; on a busy
# machine that is longer than min_healthy, and a worker that lives so long is healthy.
#
#   odd.sh exit CODE [SECONDS]     SECONDS: lives so long after its last line
#   odd.sh crash-on FILE PYTHON    steady where FILE is not in its working directory
case $1 in
  exit)
    echo "odd exit $2: exits $2"
    [ -z "$3" ] || sleep "$3"
    exit "$2"
    ;;
  crash-on)
    if [ -e "$2" ]; then
      echo "odd crash-on $2: $2 is here: exits 3"
      # journald looks up which start a line is of while the process lives (systemd-journald(8)).
      sleep 0.05
      exit 3
    fi
    exec "$3" -IS "${0%/*}/odd.py" steady
    ;;
esac
exit 2
