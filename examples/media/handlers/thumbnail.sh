#!/bin/sh
# media.thumbnail: the frame in the middle of a video, as a JPEG image of at most maxWidth.
. "${0%/*}/lib.sh"
need ffmpeg
input=$(path input)
output=$(path output)
maxWidth=$(number maxWidth)
width=$(number width)
duration=$(number duration)
width=$(even "$width" "$maxWidth")
time=$(awk -v s="$duration" 'BEGIN { printf "%.3f", s / 2 }')
mkdir -p "${output%/*}"
part=$output.part
trap 'rm -f "$part"' EXIT
trap 'exit 143' TERM
ffmpeg -v error -nostdin -y -protocol_whitelist file -ss "$time" -i "$input" -map 0:v:0 -frames:v 1 -vf "scale=$width:-2" \
	-c:v mjpeg -q:v 3 -pix_fmt yuvj420p -f image2 -update 1 "$part"
mv "$part" "$output"
printf '{"file": %s, "time": %s, "width": %d}\n' "$(quote "$output")" "$time" "$width" >"$POP_RESULT_FILE"
