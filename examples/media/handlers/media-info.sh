#!/bin/sh
# media.mediaInfo: what ffprobe says of a file, as its JSON is. Other operations refer to parts of it, such as /streams/0/width.
. "${0%/*}/lib.sh"
need ffprobe
input=$(path input)
# A playlist that poses as a clip could name files and addresses that are none of the customer's, so only files are read.
said=$(ffprobe -v error -protocol_whitelist file -select_streams v:0 -of json \
	-show_entries stream=codec_name,width,height,avg_frame_rate:format=format_long_name,duration,size,bit_rate \
	"$input" 2>&1 >"$POP_RESULT_FILE") || fail "$said
ffprobe cannot read the input: ${said##*"
"}"
grep -q '"width"' "$POP_RESULT_FILE" || fail "there is no video in $input"
