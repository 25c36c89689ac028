#!/bin/sh
# Counts the words of a text, slowly, so that there is something to watch.
#
# A handler is any program: payload in, progress and result out, and its exit status says how it went. It works in a folder of
# its own. This one takes the payload apart with sed, to need nothing but a shell; yours can use what it likes.
set -euf
text=$(sed -n 's/.*"text":"\([^"]*\)".*/\1/p' "$POP_PAYLOAD_FILE")
set -- $text
total=$#
n=0
for word; do
	n=$((n + 1))
	echo "{\"percent\": $((100 * n / total)), \"message\": \"word $n of $total: $word\"}" >>"$POP_PROGRESS_FILE"
	sleep 0.6
done
echo "{\"words\": $n}" >"$POP_RESULT_FILE"
