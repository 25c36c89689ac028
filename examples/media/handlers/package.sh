#!/bin/sh
# media.package: a manifest of files, with what each of them really is: measured here, not taken from those who made them.
. "${0%/*}/lib.sh"
need ffprobe
output=$(path output)
title=$(get title)
cd "$POP_WORK_DIR" # which is the attempt's own, and removed after it
get files >files.list
[ -s files.list ] || fail "the payload has no files"
command -v sha256sum >/dev/null || sha256sum() { shasum -a 256; } # macOS

# describe prints a file as a member of the manifest. Files next to the manifest are named relative to it, so that the
# folder can move.
describe() {
	said=$(ffprobe -v error -select_streams v:0 -of default=noprint_wrappers=1 \
		-show_entries stream=codec_name,width,height:format=duration - <"$1") || {
		echo "ffprobe cannot read $1" >&2
		exit 1
	}
	sum=$(sha256sum <"$1")
	printf '{"file": %s, "size": %d, "sha256": "%s"' "$(quote "${1#"${output%/*}/"}")" "$(wc -c <"$1")" "${sum%% *}"
	printf '%s\n' "$said" | while IFS='=' read -r key value; do
		case $key=$value in
		*=N/A) ;; # such as the duration of an image
		codec_name=*) printf ', "codec": "%s"' "$value" ;;
		*) printf ', "%s": %s' "$key" "$value" ;;
		esac
	done
	printf '}'
}

{
	printf '{\n  "agendaId": "%s",\n  "customerId": %s,\n  "title": %s,\n  "outputs": [' \
		"$POP_AGENDA_ID" "$(quote "$POP_CUSTOMER_ID")" "$(quote "$title")"
	separator=''
	while IFS= read -r file; do
		printf '%s\n    ' "$separator"
		describe "$file"
		separator=,
	done <files.list
	printf '\n  ]\n}\n'
} >manifest
mkdir -p "${output%/*}"
cp manifest "$output.part"
mv "$output.part" "$output"
printf '{"file": %s}\n' "$(quote "$output")" >"$POP_RESULT_FILE"
