# shellcheck shell=sh
# What the handlers of this folder share. POSIX shell and awk, so that there is nothing to install but ffmpeg; a handler of your
# own may be any program.
set -eu
export LC_ALL=C # awk counts bytes, and programs say what is wrong in English

# fail says why the operation failed, and that another attempt would only fail again: that is what status 65 means.
fail() {
	printf '%s\n' "$*" >&2
	exit 65
}

# need fails unless a program is there.
need() {
	command -v "$1" >/dev/null ||
		fail "$1 is not installed where the handlers run; install it: apt-get install ffmpeg (Debian, Ubuntu), brew install ffmpeg (macOS)"
}

# get prints a member of the payload: text as it is, a list with a line for each of its texts, and nothing for one that is not
# there.
get() {
	awk -v name="$1" '
	function value(hex) { return index("123456789abcdef", tolower(hex)) }
	function unit(s,    i, n) { # the number that \uXXXX stands for
		for (i = 3; i <= 6; i++) n = n * 16 + value(substr(s, i, 1))
		return n
	}
	function utf8(n) {
		if (n < 128) return sprintf("%c", n)
		if (n < 2048) return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
		if (n < 65536) return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
		return sprintf("%c%c%c%c", 240 + int(n / 262144), 128 + int(n / 4096) % 64, 128 + int(n / 64) % 64, 128 + n % 64)
	}
	function text(s,    out, c, n, used) { # what a JSON string says
		for (s = substr(s, 2, length(s) - 2); match(s, /\\./); s = substr(s, used + 1)) {
			out = out substr(s, 1, RSTART - 1)
			s = substr(s, RSTART)
			c = substr(s, 2, 1)
			used = 2
			if (c == "u") {
				n = unit(s)
				used = 6
				if (n >= 55296 && n < 56320) { # the first half of a character that JSON writes as two
					n = 65536 + (n - 55296) * 1024 + unit(substr(s, 7)) - 56320
					used = 12
				}
				c = utf8(n)
			} else if (c in escapes) c = escapes[c]
			out = out c
		}
		return out s
	}
	BEGIN { escapes["n"] = "\n"; escapes["t"] = "\t"; escapes["r"] = "\r"; escapes["b"] = "\b"; escapes["f"] = "\f" }
	{ doc = doc $0 "\n" }
	END {
		while (match(doc, /"([^"\\]|\\.)*"|[][{}:,]|[^][{}:," \t\r\n]+/)) {
			token = substr(doc, RSTART, RLENGTH)
			doc = substr(doc, RSTART + RLENGTH)
			if (token ~ /^[[{]$/) depth++
			else if (token ~ /^[]}]$/) depth--
			else if (token == "," && depth == 1) found = 0
			else if (token == ":" && depth == 1) found = (key == name)
			else if (found && token !~ /^[:,]$/) print (token ~ /^"/ ? text(token) : token)
			else if (depth == 1) key = text(token)
		}
	}' "$POP_PAYLOAD_FILE"
}

# path prints a member of the payload that must be the whole path of a file or folder. A handler has a folder of its own, so a
# relative path would not mean what the customer had in mind.
path() {
	value=$(get "$1")
	case $value in
	'') fail "the payload has no $1" ;;
	*[[:cntrl:]]*) fail "$1 holds a line break or another control character" ;;
	/*) printf '%s\n' "$value" ;;
	*) fail "$1 is \"$value\"; it must be a whole path, one that begins with a slash" ;;
	esac
}

# number prints a member of the payload that must be a number.
number() {
	value=$(get "$1")
	case $value in
	'') fail "the payload has no $1" ;;
	*[!0-9.]* | *.*.* | .) fail "$1 is \"$value\"; it must be a number" ;;
	*) printf '%s\n' "$value" ;;
	esac
}

# even prints the smaller of two widths, made even as the codecs want it.
even() { awk -v a="$1" -v b="$2" 'BEGIN { n = int((a < b ? a : b) / 2) * 2; print (n < 2 ? 2 : n) }'; }

# quote prints a text as JSON.
quote() { printf '"%s"' "$(printf %s "$1" | sed 's/["\\]/\\&/g')"; }
