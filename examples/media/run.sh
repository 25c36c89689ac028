#!/bin/sh
# Runs the example against a running server: applies the objects, makes clips, has three customers submit them, follows their
# agendas to the end, and shows what came out. README.md says how to start the server, and the same step by step.
set -eu
here=$(cd "${0%/*}" && pwd)
dir=$here/work

for program in ffmpeg ffprobe; do
	command -v $program >/dev/null || {
		echo "$program is missing; install it: apt-get install ffmpeg (Debian, Ubuntu), brew install ffmpeg (macOS)" >&2
		exit 1
	}
done
command -v pop >/dev/null || {
	echo "pop is not in your PATH; in the root of the repository, type: make build && export PATH=\"\$PWD/bin:\$PATH\"" >&2
	exit 1
}

pop apply -f "$here/objects"
"$here/make-clips.sh" "$dir/clips"

# One linkId for all of it, so that one command finds it again.
link=media-$(date +%Y%m%d-%H%M%S)

# yaml quotes a text: paths may hold spaces and quotes.
yaml() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }

# submit has a customer submit a clip: submit CUSTOMER CLIP. It prints the agenda's id.
submit() {
	pop agenda submit --template web-video --customer "$1" --title "$2" --link "$link" --payload - <<END
input: $(yaml "$dir/clips/$2")
outputDir: $(yaml "$dir/out/$1/${2%.*}")
END
}

ids=$(
	submit studio-a "director's cut.mp4"
	submit studio-a landscape.mp4
	submit studio-b portrait.mov
	submit studio-b square.mkv
	submit news story.mp4
	{ echo "params: {dir: $(yaml "$dir")}" && cat "$here/agendas/bulletin.yaml"; } | pop agenda submit --link "$link" -
)
failed=
for id in $ids; do
	pop agenda watch "$id" || failed="$failed $id"
done
pop link "$link"
[ -z "$failed" ] || {
	echo "failed:$failed" >&2
	exit 1
}
echo
echo "What came out, with a manifest.json in each folder:"
find "$dir/out" -type f | sort
