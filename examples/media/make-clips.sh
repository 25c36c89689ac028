#!/bin/sh
# Makes the clips of the example in a folder: make-clips.sh DIR. Clips that are there stay as they are.
set -eu
dir=${1:?name the folder to make the clips in}
command -v ffmpeg >/dev/null || {
	echo "ffmpeg is missing; install it: apt-get install ffmpeg (Debian, Ubuntu), brew install ffmpeg (macOS)" >&2
	exit 1
}
mkdir -p "$dir"

# clip makes a test picture with a tone: clip NAME SIZE SECONDS FREQUENCY.
clip() {
	[ ! -e "$dir/$1" ] || return 0
	ffmpeg -v error -nostdin -y -f lavfi -i "testsrc2=size=$2:rate=25:duration=$3" -f lavfi -i "sine=frequency=$4:duration=$3" \
		-pix_fmt yuv420p -shortest "$dir/making.${1##*.}"
	mv "$dir/making.${1##*.}" "$dir/$1"
	echo "made $dir/$1"
}
clip "landscape.mp4" 640x360 4 440
clip "director's cut.mp4" 1280x720 6 330
clip "portrait.mov" 270x480 3 550
clip "square.mkv" 240x240 2 660
clip "opener.mp4" 320x180 2 880
clip "story.mp4" 854x480 5 220
