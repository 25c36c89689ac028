#!/bin/sh
# Fails in as many attempts as the payload says, then succeeds. What a handler prints last is kept as the reason of its failure.
set -eu
failures=$(sed -n 's/.*"failures":"\{0,1\}\([0-9]*\).*/\1/p' "$POP_PAYLOAD_FILE")
if [ "$POP_ATTEMPT" -le "${failures:-0}" ]; then
	echo "the press is jammed" >&2
	exit 1
fi
echo "{\"published\": true, \"attempt\": $POP_ATTEMPT}" >"$POP_RESULT_FILE"
