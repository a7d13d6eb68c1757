#!/usr/bin/env bash
# The last lines of scripts/quickstart: what was prepared and shown, and whether it is what was promised.
#   quickstart_report.sh TRAIN_LOG RESUME_LOG SAVED_ITERATION
set -euo pipefail
train=$1 resume=$2 saved=$3

loss_at() {  # loss_at LOG ITERATION; log lines look like "... iteration  70/ 120 | ... | lm loss: 4.2E+00 | ..."
  sed -nE "s/.*iteration +$2\/.*lm loss: ([0-9.E+-]+) .*/\1/p" "$1" | head -1
}
first=$(loss_at "$train" 1)
last=$(sed -nE 's/.*iteration +[0-9]+\/.*lm loss: ([0-9.E+-]+) .*/\1/p' "$train" | tail -1)
unbroken=$(loss_at "$train" $((saved + 1)))
resumed=$(loss_at "$resume" $((saved + 1)))

echo
echo "== what you have seen"
grep -hE 'using world size' "$train" "$resume" | sed 's/^\[rank 0\] //'
grep -hE 'successfully (saved|loaded) checkpoint' "$train" "$resume" | sed 's/^\[rank 0\] //'
awk -v first="$first" -v last="$last" -v unbroken="$unbroken" -v resumed="$resumed" -v at=$((saved + 1)) 'BEGIN {
  printf "training loss: %.4f at the first iteration, %.4f at the last: it fell by %.2f nats\n", first, last, first - last
  difference = (resumed - unbroken) / unbroken; if (difference < 0) difference = -difference
  printf "iteration %d: loss %.6f unbroken (TP 2, CP 2), %.6f resumed (TP 1, CP 4): relative difference %.1e\n", at, unbroken, resumed, difference
  if (first - last < 2.0) { print "quickstart: the loss fell by less than 2 nats"; exit 1 }
  if (difference > 1e-3) { print "quickstart: the resumed run differs from the unbroken one by more than 1e-3"; exit 1 }
}'
