#!/bin/sh
# media.transcode: an H.264 video for the web, at most maxWidth wide and never wider than its source.
. "${0%/*}/lib.sh"
need ffmpeg
input=$(path input)
output=$(path output)
maxWidth=$(number maxWidth)
width=$(number width)
duration=$(number duration)
width=$(even "$width" "$maxWidth")
duration=$(awk -v s="$duration" 'BEGIN { printf "%.0f", s * 1000000 }') # in microseconds
mkdir -p "${output%/*}"

# The output gets its name when it is whole: whoever finds it, or runs this again after a crash, finds no half of it.
part=$output.part
trap 'rm -f "$part"' EXIT
trap 'exit 143' TERM

# ffmpeg prints key=value lines about how far it is. Its exit status follows them, as the pipe would lose it.
{
	ffmpeg -v error -nostdin -y -protocol_whitelist file -i "$input" -map 0:v:0 -map '0:a:0?' \
		-c:v libx264 -preset veryfast -crf 27 -pix_fmt yuv420p -vf "scale=$width:-2" -c:a aac -b:a 96k \
		-movflags +faststart -f mp4 -progress pipe:1 -stats_period 0.2 "$part" && status=0 || status=$?
	echo "status=$status"
} | while IFS='=' read -r key value; do
	case $key in
	status) exit "$value" ;;
	out_time_us)
		case $value in
		*[!0-9]* | '') continue ;; # not known yet
		esac
		[ "$duration" -eq 0 ] || printf '{"percent": %d, "message": "%d.%d s of the video done"}\n' \
			$((value < duration ? 100 * value / duration : 100)) $((value / 1000000)) $((value / 100000 % 10)) >>"$POP_PROGRESS_FILE"
		;;
	esac
done
mv "$part" "$output"
printf '{"file": %s, "width": %d}\n' "$(quote "$output")" "$width" >"$POP_RESULT_FILE"
