#!/usr/bin/env bash
# Runs drf on a Cloud TPU slice, from creating the slice to deleting it.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: launch_tpu.sh COMMAND --name NAME [options] [-- train --config FILE ...]

  create   make the slice (on demand, or --spot, or --queued), after drf plan says that the run fits
  setup    install this checkout's commit on all workers
  run      start drf on all workers; its folder is BUCKET/NAME
  logs     the last lines of worker 0; -f goes on
  fetch    copy BUCKET/NAME to runs/NAME
  resume   after a preemption: make the slice again if it is gone, set it up, run what ran
  delete   delete the slice; what is in the bucket stays

  --name NAME            of slice and run        (DRF_TPU_NAME)
  --project ID           of Google Cloud         (DRF_PROJECT)
  --zone ZONE            such as us-west4-a      (DRF_ZONE)
  --bucket gs://BUCKET   where runs are kept     (DRF_BUCKET)
  --topology v5e:4x4     chips, as drf plan      (DRF_TOPOLOGY)
  --spot                 cheaper, may be taken away at any time
  --queued               wait for capacity; together with --spot too
  --plan-flags "..."     more flags of drf plan  (DRF_PLAN_FLAGS)
  --no-plan              spend money without drf plan
  --dry-run              print every command, run none

What stands after -- is the drf command; --distributed is added, and --workdir BUCKET/NAME unless it has one. All
commands may be repeated: what is there already is not made twice, what is gone is not deleted twice.
USAGE
}

die() { printf 'launch_tpu: %s\n' "$*" >&2; exit 2; }
say() { printf 'launch_tpu: %s\n' "$*" >&2; }

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
POLL=${DRF_POLL:-30}
name=${DRF_TPU_NAME:-} project=${DRF_PROJECT:-} zone=${DRF_ZONE:-}
bucket=${DRF_BUCKET:-} topology=${DRF_TOPOLOGY:-} plan_flags=${DRF_PLAN_FLAGS:-}
spot='' queued='' plan=yes dry='' follow='' drf=()

# Prints a command in a dry run, else runs it.
cmd() {
  if [[ $dry ]]; then
    printf '%q ' "$@" && printf '\n'
  else
    "$@"
  fi
}

need() {
  local flag
  for flag in "$@"; do
    [[ ${!flag} ]] || die "--$flag is missing: give it, or set ${variable[$flag]}"
  done
}
declare -A variable=(
  [name]=DRF_TPU_NAME [project]=DRF_PROJECT [zone]=DRF_ZONE [bucket]=DRF_BUCKET [topology]=DRF_TOPOLOGY
)

tpu() { cmd gcloud compute tpus "$1" "$2" "$name" --project="$project" --zone="$zone" "${@:3}"; }

# State of the slice (tpu-vm) or of its place in the queue (queued-resources); nothing if there is none.
state_of() {
  local errors out
  if [[ $dry ]]; then
    tpu "$1" describe "--format=value($2)" >&2
    return
  fi
  errors=$(mktemp)
  if out=$(tpu "$1" describe "--format=value($2)" 2>"$errors"); then
    rm "$errors"
    printf '%s' "$out"
  elif grep -qi 'not.found' "$errors"; then
    rm "$errors"
  else
    cat "$errors" >&2
    rm "$errors"
    die "cannot ask for the state of $name"
  fi
}
slice() { state_of tpu-vm state; }
place() { state_of queued-resources state.state; }

# Accelerator type and runtime of a topology such as v5e:4x4.
hardware() {
  local generation=${topology%%:*} shape=${topology#*:} chips
  [[ $topology =~ ^[a-z0-9]+:[1-9][0-9]*(x[1-9][0-9]*){1,2}$ ]] || die "--topology $topology: must be like v5e:4x4"
  chips=$((${shape//x/*}))
  case $generation in
    v5e) type=v5litepod-$chips runtime=v2-alpha-tpuv5-lite ;;
    v5p) type=v5p-$((2 * chips)) runtime=v2-alpha-tpuv5 ;;
    v6e) type=v6e-$chips runtime=v2-alpha-tpuv6e ;;
    *) die "--topology $topology: choose a generation of v5e, v5p, v6e" ;;
  esac
}

check_plan() {
  local word flags=() config=''
  [[ $plan ]] || return 0
  for word in ${drf[@]+"${drf[@]}"}; do
    if [[ $config || $word == --config=* || $word == --config.* ]]; then
      flags+=("$word")
      config=''
    elif [[ $word == --config ]]; then
      flags+=("$word")
      config=next
    fi
  done
  ((${#flags[@]})) || die "say after -- what will run, with its --config, so that it can be planned; or --no-plan"
  # shellcheck disable=SC2086 # several flags in one string
  cmd "${DRF:-drf}" plan "${flags[@]}" --topology="$topology" --nosearch $plan_flags ||
    die "drf plan refuses this run; --no-plan creates the slice anyway"
}

create() {
  need name project zone bucket topology
  hardware
  local state
  state=$(slice)
  case $state in
    '') ;;
    PREEMPTED | TERMINATED) die "$name is $state: launch_tpu.sh resume makes it again" ;;
    *) say "$name exists and is $state: nothing to do" && return ;;
  esac
  if [[ $queued ]]; then
    state=$(place)
    case $state in
      '') check_plan && enqueue ;;
      FAILED | SUSPENDED) die "$name in the queue is $state: launch_tpu.sh resume makes it again" ;;
      *) say "$name is in the queue already ($state)" ;;
    esac
    await
  else
    check_plan
    tpu tpu-vm create --accelerator-type="$type" --version="$runtime" ${spot:+--spot}
  fi
}

enqueue() {
  tpu queued-resources create --node-id="$name" --accelerator-type="$type" \
    --runtime-version="$runtime" ${spot:+--spot}
}

await() {
  local state
  while true; do
    state=$(place)
    [[ $dry || $state == ACTIVE ]] && return
    [[ $state != FAILED && $state != SUSPENDED && $state ]] || die "$name in the queue is ${state:-gone}"
    say "$name is in the queue ($state); asking again in $POLL s"
    sleep "$POLL"
  done
}

setup() {
  need name project zone
  local file=${TMPDIR:-/tmp}/drf-$name.tar.gz
  cmd git -C "$ROOT" archive --format=tar.gz --output="$file" HEAD
  cmd gcloud compute tpus tpu-vm scp "$file" "$name:drf_jax.tar.gz" \
    --project="$project" --zone="$zone" --worker=all
  # The images' own Python is older than JAX wants.
  workers all "mkdir -p drf_jax && tar -xzf drf_jax.tar.gz -C drf_jax && cd drf_jax &&
python3 -m pip install --quiet --user uv && python3 -m uv venv --quiet --allow-existing --python 3.12 .venv &&
python3 -m uv pip install --quiet --python .venv/bin/python '.[tpu,gcs]'"
}

workers() { tpu tpu-vm ssh --worker="$1" --command="$2"; }

run() {
  need name project zone bucket
  ((${#drf[@]})) || die "say after -- what to run, such as: -- train --config configs/cifar10.py"
  local command file=${TMPDIR:-/tmp}/drf-$name.txt
  [[ $dry ]] || printf '%s\n' "${drf[@]}" >"$file"
  cmd gcloud storage cp --project="$project" "$file" "$bucket/$name/launch.txt"
  [[ " ${drf[*]}" == *' --workdir'* ]] || drf+=(--workdir "$bucket/$name")
  command=$(printf '%q ' .venv/bin/drf "${drf[@]}" --distributed)
  # The lock ends with the process, however it ends; a second run on the same slice finds it taken.
  workers all "cd drf_jax && if flock -n ../drf.lock true; then
setsid nohup flock -n ../drf.lock $command >>../drf.log 2>&1 </dev/null & else echo already running; fi"
}

resume() {
  need name project zone bucket topology
  local state
  if ((${#drf[@]} == 0)); then
    [[ ! $dry ]] || die "in a dry run say after -- what ran"
    mapfile -t drf < <(gcloud storage cat --project="$project" "$bucket/$name/launch.txt")
    ((${#drf[@]})) || die "$bucket/$name/launch.txt does not say what ran; say it after --"
  fi
  state=$(slice)
  if [[ $state != READY ]]; then
    delete
    create
    setup
  fi
  run
}

delete() {
  need name project zone
  local queue state
  queue=$(place) state=$(slice)
  [[ $queue || $state || $dry ]] || say "$name is gone: nothing to delete"
  if [[ $queue || $dry ]]; then
    tpu queued-resources delete --force --quiet # its slice goes with it
  fi
  if [[ ($state && ! $queue) || $dry ]]; then
    tpu tpu-vm delete --quiet
  fi
}

logs() {
  need name project zone
  workers 0 "tail -n 100 ${follow:+-F }drf.log"
}

fetch() {
  need name project bucket
  cmd mkdir -p "runs/$name"
  cmd gcloud storage rsync --recursive --project="$project" "$bucket/$name" "runs/$name"
}

main() {
  local command=${1:-} flag
  case $command in
    create | setup | run | logs | fetch | resume | delete) shift ;;
    -h | --help | help) usage && exit ;;
    '') usage >&2 && exit 2 ;;
    *) die "unknown command $command; launch_tpu.sh --help says which there are" ;;
  esac
  while (($#)); do
    case $1 in
      --) shift && drf=("$@") && break ;;
      --name | --project | --zone | --bucket | --topology | --plan-flags)
        flag=${1#--}
        (($# > 1)) || die "$1 needs a value"
        printf -v "${flag//-/_}" '%s' "$2"
        shift
        ;;
      --spot) spot=yes ;;
      --queued) queued=yes ;;
      --no-plan) plan='' ;;
      --dry-run) dry=yes ;;
      -f) follow=yes ;;
      *) die "unknown option $1; launch_tpu.sh --help says which there are" ;;
    esac
    shift
  done
  [[ ! $bucket || $bucket == gs://?* ]] || die "--bucket $bucket: must begin with gs://"
  bucket=${bucket%/}
  "$command"
}

main "$@"
