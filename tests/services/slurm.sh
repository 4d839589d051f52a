#!/bin/bash
# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
#
# A real Slurm cluster of this one machine with accounting, from Debian's packages, for tests.
#
#   slurm.sh install     install the packages (needs root)
#   slurm.sh up DIR [N]  start it in DIR, an absolute path that does not exist; needs root, no systemd, loopback alone;
#                        this machine is its node, or N nodes n1, n2 ... at once
#   slurm.sh down DIR    cancel its jobs, stop it and remove DIR, which `up` must have made
#
# Clients need SLURM_CONF=DIR/slurm.conf. Its ports are Slurm's and MariaDB's own and 16818 on, so there can be one at a time.
set -eu
PACKAGES="slurmctld slurmd slurm-client munge slurmdbd mariadb-server-core mariadb-client-core"
MARK=.cluster-of-slurm.sh # in a folder that `up` made

background() { # NAME COMMAND...: output in DIR/NAME.out, process in DIR/NAME.pid
  setsid "${@:2}" >"$D/$1.out" 2>&1 </dev/null &
  echo $! >"$D/$1.pid"
}

wait_for() { # COMMAND...: at most 20 s
  for _ in $(seq 200); do "$@" 2>/dev/null && return; sleep .1; done
  echo "error: waited 20 s in vain for: $*" >&2
  return 1
}

port() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }
idle() { [ "$(sinfo -ho %t)" = idle ]; }

up() {
  local host nodes
  host=$(hostname -s)
  nodes=$(if [ "$N" = 1 ]; then echo "$host"; else seq -f n%g "$N"; fi)
  mkdir "$D"
  : >"$D/$MARK"
  mkdir "$D"/{state,spool,munge}
  chmod 700 "$D/munge"
  (umask 077; head -c128 /dev/urandom >"$D/munge/key")
  background munged munged -F --force --key-file="$D/munge/key" --socket="$D/m.sock" --pid-file="$D/munge/pid" \
    --log-file="$D/munge/log" --seed-file="$D/munge/seed"
  # cred_expire: a requeued job may start again after that time, which is two minutes by default.
  cat >"$D/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthInfo=socket=$D/m.sock,cred_expire=5
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmdPidFile=$D/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=2
AccountingStorageType=accounting_storage/slurmdbd
AccountingStoragePass=$D/m.sock
$(port=16818; for node in $nodes; do
  echo "NodeName=$node NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port++)) CPUs=$((8 / N)) RealMemory=$((8000 / N))"
done)
PartitionName=all Nodes=$(echo $nodes | tr ' ' ,) Default=YES MaxTime=INFINITE State=UP
CONF
  (umask 077; cat >"$D/slurmdbd.conf" <<CONF
AuthInfo=socket=$D/m.sock
DbdHost=localhost
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StorageUser=root
CONF
  )
  wait_for test -S "$D/m.sock"
  mariadb-install-db --no-defaults --user=root --datadir="$D/db" --auth-root-authentication-method=normal \
    --skip-test-db >/dev/null
  background db mariadbd --no-defaults --user=root --datadir="$D/db" --bind-address=127.0.0.1 --socket="$D/db.sock" \
    --pid-file="$D/db.pf" --innodb-log-file-size=8M
  wait_for port 3306
  background dbd slurmdbd -D
  wait_for port 6819
  sacctmgr -iQ add cluster test
  background ctld slurmctld -D -c
  for node in $nodes; do background "d-$node" slurmd -D -c -N "$node"; done
  wait_for idle
}

down() {
  [ -f "$D/$MARK" ] || { echo "error: $D was not made by \`up\`; nothing is removed" >&2; exit 1; }
  scancel -u root || true
  for file in "$D"/d-*.pid "$D"/{ctld,dbd,db,munged}.pid; do
    if [ -f "$file" ]; then
      kill "$(cat "$file")" 2>/dev/null || true
      for _ in $(seq 50); do kill -0 "$(cat "$file")" 2>/dev/null || break; sleep .1; done
    fi
  done
  rm -rf "$D"
}

case "${1:-}" in
  install) apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $PACKAGES ;;
  up | down)
    D=${2:?an absolute path}
    N=${3:-1}
    export SLURM_CONF=$D/slurm.conf
    "$1"
    ;;
  *) sed -n '/^#   /s/^# *//p' "$0"; exit 2 ;;
esac
