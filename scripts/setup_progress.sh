# SPDX-License-Identifier: Apache-2.0
# Bash, sourced by scripts/setup: runs its steps, side by side where they do not need each other, and says what they do.
# Each step is a function that runs in a process of its own, with its output in $work/STEP.log. $work/STEP.begin and
# $work/STEP.end are there once it runs and once it has ended, and hold the second and the exit status. Uses titles,
# advices, fingerprints, stamps, venv and work.
# shellcheck shell=bash disable=SC2154

say() { printf '%s\n' "$*" >&3; }

explain() { # WHAT WHY TYPE: ends the set-up
  printf '\nset-up failed: %s\n  why:  %s\n  type: %s\n' "$1" "$2" "$3" >&3
  exit 90
}

is_terminal() { [ -t 3 ] && [ "${TERM:-dumb}" != dumb ]; }

clear_line() { ! is_terminal || printf '\r\033[K' >&3; }

job_ids=()

end_jobs() {
  local job
  for job in "${job_ids[@]}"; do kill -TERM -- "-$job" 2>/dev/null || true; done
  job_ids=()
}

on_exit() {
  local status=$?
  clear_line
  end_jobs
  if [ "$status" = 130 ] || [ "$status" = 143 ]; then
    say "" "set-up interrupted; ./scripts/setup goes on where it stopped"
  fi
  # Logs stay only where a message names one.
  [ -e "$work/failed" ] || rm -rf "$work"
}
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

is_done() { [ "$(cat "$stamps/$1" 2>/dev/null)" = "${fingerprints[$1]}" ]; }

run_chain() { # STEP...: one after another, except those that were done before with the same fingerprint
  local step status
  for step in "$@"; do
    ! is_done "$step" || continue
    rm -f "$stamps/$step"
    echo "$SECONDS" >"$work/$step.begin"
    set +e
    # shellcheck disable=SC2030 # the descriptor of the terminal is kept
    (set -e && "$step") >"$work/$step.log" 2>&1 </dev/null
    status=$?
    set -e
    if [ "$status" = 0 ]; then
      mkdir -p "$stamps"
      printf '%s' "${fingerprints[$step]}" >"$stamps/$step"
    fi
    echo "$status" >"$work/$step.end"
    [ "$status" = 0 ] || return "$status"
  done
}

# Each chain is a word of steps with blanks between; they run side by side. When a step fails, the set-up ends.
run_chains() {
  local chain
  set -m # each job is a process group, so that it can be ended with its children
  for chain in "$@"; do
    # shellcheck disable=SC2086 # one word per step
    run_chain $chain &
    job_ids+=($!)
  done
  set +m
  watch_jobs
  wait "${job_ids[@]}" || true
  job_ids=()
  tell_ended
}

watch_jobs() {
  local told=$SECONDS drawn=$SECONDS
  while is_any_alive; do
    tell_ended
    if is_terminal && [ "$SECONDS" != "$drawn" ]; then
      printf '\r\033[K    %.100s' "$(running_steps)" >&3
      drawn=$SECONDS
    elif ! is_terminal && [ $((SECONDS - told)) -ge 10 ]; then
      say "    $(running_steps)"
      told=$SECONDS
    fi
    sleep 0.2
  done
}

is_any_alive() {
  local job
  for job in "${job_ids[@]}"; do ! kill -0 "$job" 2>/dev/null || return 0; done
  return 1
}

# Says which steps have ended since it was last called; when one failed, that ends the set-up.
tell_ended() {
  local path step
  for path in "$work"/*.end; do
    [ -e "$path" ] || continue
    step="$(basename "$path" .end)"
    [ "$(cat "$path")" = 0 ] || tell_failure "$step" "$(cat "$path")"
    clear_line
    say "  ${titles[$step]}: done in $((SECONDS - $(cat "$work/$step.begin"))) s"
    rm "$path" "$work/$step.begin"
  done
}

tell_failure() { # STEP STATUS
  clear_line
  touch "$work/failed"
  printf '\nset-up failed: %s\n  why:  the last lines of its output were\n' "${titles[$1]}" >&3
  tail -n 15 "$work/$1.log" | cut -c 1-200 | sed 's/^/        /' >&3
  printf '        (all of it: %s)\n  type: %s\n' "$work/$1.log" "${advices[$1]}" >&3
  exit "$2"
}

running_steps() {
  local path step line=''
  for path in "$work"/*.begin; do
    step="$(basename "$path" .begin)"
    if [ ! -e "$path" ] || [ -e "$work/$step.end" ]; then continue; fi
    line+="${line:+ | }$((SECONDS - $(cat "$path"))) s ${titles[$step]}: $(progress_of "$step")"
  done
  printf '%s' "$line"
}

progress_of() { # STEP: what it is at, of how much
  case "$1" in
    install_*) package_progress "$work/$1.log" "$work/$1.begin" ;;
    build_interfaces) build_progress "$work/$1.log" ;;
    *) printf 'at work' ;;
  esac
}

# From the words of uv and of pip. While pip writes files it says nothing, so the packages that have arrived are counted.
package_progress() { # LOG BEGIN
  local line total arrived
  line="$(grep -E '^(Installing collected packages:|Prepared |Resolved |Collecting | *Download(ing|ed) |Installed )' "$1" 2>/dev/null | tail -n 1)"
  case "$line" in
    Installing*)
      total="$(($(tr -cd , <<<"$line" | wc -c) + 1))"
      arrived="$(find "$venv"/lib/python3*/site-packages -maxdepth 1 -name '*.dist-info' -newer "$2" | wc -l)"
      printf 'writing %s of %s packages' "$arrived" "$total"
      ;;
    Prepared*) printf 'writing %s packages' "$(grep -oE '[0-9]+' <<<"$line" | head -n 1)" ;;
    Collecting* | *Downloading* | *Downloaded*)
      printf 'fetching, %s packages so far: %s' "$(grep -cE '^(Collecting| Downloaded)' "$1")" \
        "$(sed -E 's/^ *(Collecting|Downloading|Downloaded) //; s/ \(from .*//' <<<"$line")"
      ;;
    *) printf '%s' "${line:-finding versions}" ;;
  esac
}

build_progress() { # LOG
  local count
  count="$(grep -oE '^\[ *[0-9]+(/[0-9]+|%)\]' "$1" 2>/dev/null | tail -n 1 | tr -d '[] ')"
  case "$count" in
    '') printf 'reading definitions' ;;
    *%) printf '%s compiled' "$count" ;;
    *) printf '%s of %s compiled' "${count%/*}" "${count#*/}" ;;
  esac
}
