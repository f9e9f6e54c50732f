#!/usr/bin/env bash
# Speed beside busy processes, one for every two cores, as a share of the speed without them; of
# llama.cpp too where llama-bench is on the PATH. All take turns; the median of the turns counts.
# Usage: bench/busy.sh [--turns N] [--program FILE] FILE.gguf      needs nothing else to run meanwhile
set -euo pipefail

turns=3
program=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../build/release/chunkllm
while (($# > 0)); do
  case "$1" in
    -h | --help)
      sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --turns) turns=$2; shift 2 ;;
    --program) program=$2; shift 2 ;;
    -*) echo "busy: error: unknown option $1; see bench/busy.sh --help" >&2; exit 2 ;;
    *) break ;;
  esac
done
if (($# != 1)) || [[ ! $turns =~ ^[1-9][0-9]*$ ]]; then
  echo "busy: error: give one model, and a number of turns above 0; see bench/busy.sh --help" >&2
  exit 2
fi
model=$1
cores=$(nproc)
n_busy=$(((cores + 1) / 2))
folder=$(mktemp -d)
busy=()
relax() {
  ((${#busy[@]} == 0)) || kill "${busy[@]}"
  busy=()
}
trap 'relax; rm -r "$folder"' EXIT

# Prints "prefill decode" in tokens/s.
run_chunkllm() {
  "$program" bench --model "$model" -p 512 -n 32 -r 2 -o csv 2>"$folder/log" | awk -F, '
    NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "tokens_per_second") column = i; next }
    { printf "%s ", $column }'
}
run_llama() {
  llama-bench -m "$model" -p 512 -n 32 -r 2 -t "$cores" -o csv 2>"$folder/log" | tr -d '"' | awk -F, '
    NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "avg_ts") column = i; next }
    { printf "%s ", $column }'
}

programs=(chunkllm)
if command -v llama-bench >/dev/null; then programs+=(llama); fi
for ((turn = 0; turn < turns; ++turn)); do
  for state in quiet busy; do
    if [[ $state == busy ]]; then
      for ((i = 0; i < n_busy; ++i)); do
        sh -c 'while :; do :; done' &
        busy+=($!)
      done
    fi
    for name in "${programs[@]}"; do
      if ! speeds=$("run_$name"); then
        echo "busy: error: $name failed: $(tail -n 1 "$folder/log")" >&2
        exit 1
      fi
      read -r prefill decode <<<"$speeds"
      echo "$prefill" >>"$folder/$name.prefill.$state"
      echo "$decode" >>"$folder/$name.decode.$state"
    done
    relax
  done
done

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
echo "| program | test | tokens/s | beside $n_busy busy | share |"
echo "|---|---|---|---|---|"
for name in "${programs[@]}"; do
  for test in prefill decode; do
    awk -v name="$name" -v test="$test" -v quiet="$(median "$folder/$name.$test.quiet")" \
      -v busy="$(median "$folder/$name.$test.busy")" 'BEGIN {
        printf "| %s | %s | %.1f | %.1f | %.2f |\n", name, test, quiet, busy, busy / quiet }'
  done
done
