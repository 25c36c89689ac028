#!/bin/sh
# Splits a text into words and adds an operation to the agenda for each: a handler writes a list of operations to a file, and they
# are added if it succeeds.
set -euf
text=$(sed -n 's/.*"text":"\([^"]*\)".*/\1/p' "$POP_PAYLOAD_FILE")
n=0
list=
for word in $text; do
	n=$((n + 1))
	list="$list${list:+,}{\"name\": \"word-$n\", \"type\": \"text.upper\", \"payload\": {\"text\": \"$word\"}}"
done
echo "[$list]" >"$POP_OPERATIONS_FILE"
echo "{\"words\": $n}" >"$POP_RESULT_FILE"
