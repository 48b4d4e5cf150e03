#!/bin/sh
# A whole SLURM on one machine, to try fnx's cluster configuration where there is no cluster.
#
#   apt-get install slurmctld slurmd slurm-client munge
#   sh docs/slurm/one_machine.sh start     # as root; then srun and sbatch work
#   sh docs/slurm/one_machine.sh stop
#
# No systemd is needed, and nothing outside FNX_SLURM (default /var/tmp/fnx-slurm) is changed but
# munge's socket folder. Jobs are neither confined nor accounted: it is for trying, not for users.
set -eu

home=${FNX_SLURM:-/var/tmp/fnx-slurm}
cores=$(nproc)
megabytes=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
host=$(hostname -s)

configure() {
    mkdir -p "$home/state" "$home/spool" "$home/log"
    cat > "$home/slurm.conf" <<EOF
ClusterName=fnx
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/log/slurmctld.log
SlurmdLogFile=$home/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$megabytes State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
EOF
}

start() {
    configure
    mkdir -p /run/munge
    chown munge: /run/munge
    pgrep -x munged > /dev/null || runuser -u munge -- munged
    export SLURM_CONF="$home/slurm.conf"
    slurmctld -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF" -N "$host"
    for _ in $(seq 30); do
        if sinfo --noheader --states=idle --format=%T 2> /dev/null | grep -q idle; then
            echo "ready: export SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 1
    done
    echo "the node is not idle after 30 seconds; see $home/log" >&2
    exit 1
}

stop() {
    for name in slurmd slurmctld; do
        [ ! -f "$home/$name.pid" ] || kill "$(cat "$home/$name.pid")" 2> /dev/null || true
    done
    pkill -x munged || true
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    *) echo "usage: one_machine.sh start|stop" >&2; exit 2 ;;
esac
