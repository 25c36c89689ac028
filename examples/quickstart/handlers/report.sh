#!/bin/sh
# Puts the results of two other operations together. Their values are in the payload by now.
set -eu
words=$(sed -n 's/.*"words":\([0-9]*\).*/\1/p' "$POP_PAYLOAD_FILE")
loud=$(sed -n 's/.*"loud":"\([^"]*\)".*/\1/p' "$POP_PAYLOAD_FILE")
echo "{\"report\": \"$loud! ($words words)\"}" >"$POP_RESULT_FILE"
