#!/bin/sh
# Makes a text loud.
set -eu
text=$(sed -n 's/.*"text":"\([^"]*\)".*/\1/p' "$POP_PAYLOAD_FILE" | tr '[:lower:]' '[:upper:]')
echo "{\"text\": \"$text\"}" >"$POP_RESULT_FILE"
