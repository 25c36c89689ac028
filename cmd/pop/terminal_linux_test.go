package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudoterminal.
func openTerminal(t *testing.T, columns, lines uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: lines}); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

var sequence = regexp.MustCompile(`^\x1b\[(\??[0-9]*)([A-Za-z])`)

// screen returns what a terminal shows after it was sent some text.
func screen(text string) []string {
	lines, row := []string{""}, 0
	for len(text) > 0 {
		if m := sequence.FindStringSubmatch(text); m != nil {
			text = text[len(m[0]):]
			switch m[2] {
			case "A":
				n, _ := strconv.Atoi(m[1])
				row -= n
			case "K":
				lines[row] = ""
			case "J":
				lines = append(lines[:row], "")
			}
			continue
		}
		c, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		switch c {
		case '\r':
		case '\n':
			if row++; row == len(lines) {
				lines = append(lines, "")
			}
		default:
			lines[row] += string(c)
		}
	}
	return lines
}

func TestWatchOnATerminalDrawsOneTreeInPlace(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	master, slave := openTerminal(t, 100, 30)
	cmd := x.command(t.Context(), "agenda", "submit", "--template", "words", "--customer", "acme", "--watch")
	cmd.Stdout = slave
	shown := &syncBuffer{}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			_, _ = shown.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last frame", func() bool { return strings.Contains(shown.String(), "succeeded, insight text") })
	all := shown.String()
	contains(t, all, "\x1b[5A", "░", "after report", "\x1b[36m●")

	var last []string
	eventually(t, "the last line", func() bool {
		last = screen(shown.String())
		return len(last) == 6
	})
	for i, start := range []string{"✔ Report on a text  succeeded, insight text  100%  ", "├─ ✔ count", "├─ ✔ upper", "├─ ✔ report", "└─ ✔ publish", ""} {
		if !strings.HasPrefix(last[i], start) {
			t.Errorf("line %d is %q, want %q", i, last[i], start)
		}
	}
}

func TestWhatToTypeNextIsSaidOnATerminalAndNamesTheServer(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	d := x.dev()
	without := slices.DeleteFunc(slices.Clone(x.env), func(v string) bool { return strings.HasPrefix(v, "POP_SERVER=") })
	for _, c := range []struct {
		env  []string
		args []string
		want string
	}{
		{x.env, nil, binary + " agenda watch "}, // POP_SERVER will be there again
		{without, []string{"--server", d.url}, binary + " --server " + d.url + " agenda watch "},
	} {
		master, slave := openTerminal(t, 200, 30)
		cmd := x.command(t.Context(), append([]string{"agenda", "submit", "--template", "words", "--customer", "acme"}, c.args...)...)
		cmd.Env, cmd.Stderr = c.env, slave
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 4096)
		n, err := master.Read(said)
		if err != nil {
			t.Fatal(err)
		}
		contains(t, string(said[:n]), "accepted for insight text; follow it with: "+c.want)
	}
}
