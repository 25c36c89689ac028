//go:build unix

package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pop-platform/pop/core/pool/registry"
)

const (
	// maxSecret is the largest secret, in bytes.
	maxSecret = 64 << 10
	// minSecret is the shortest one: what is shorter is found by chance all over what a handler prints.
	minSecret = 4

	masked = "***"
)

// secret is what a handler is told beside its operation.
type secret struct {
	name  string
	value []byte
}

// readSecrets reads secrets from where the registry says. Errors name a secret and its source, never its value.
func readSecrets(sources map[string]registry.Source) ([]secret, error) {
	var all []secret
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		value, err := readSecret(sources[name])
		if err == nil && len(bytes.TrimSpace(value)) < minSecret {
			err = fmt.Errorf("%s has fewer than %d characters: it could not be kept out of logs", sources[name], minSecret)
		}
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", name, err)
		}
		all = append(all, secret{name, value})
	}
	return all, nil
}

func readSecret(s registry.Source) ([]byte, error) {
	if s.Env != "" {
		value, ok := os.LookupEnv(s.Env)
		if !ok {
			return nil, fmt.Errorf("%s is not set", s)
		}
		return []byte(value), nil
	}
	file, err := os.Open(s.File)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	value, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err == nil && len(value) > maxSecret {
		err = errors.New(s.String() + " is too large to be a secret")
	}
	return value, err
}

// mask replaces secrets in what a handler leaves behind. A nil mask replaces nothing.
type mask struct {
	replacer *strings.Replacer
	longest  int
}

// newMask returns a mask of secrets, also where they are quoted as JSON. Of one that has several lines each line is a secret.
func newMask(secrets []secret) *mask {
	forms := map[string]bool{}
	add := func(text string) {
		if text = strings.TrimSpace(text); len(text) < minSecret {
			return
		}
		forms[text] = true
		for _, escapeHTML := range []bool{false, true} {
			var quoted bytes.Buffer
			encoder := json.NewEncoder(&quoted)
			encoder.SetEscapeHTML(escapeHTML)
			if encoder.Encode(text) == nil {
				forms[strings.TrimSuffix(quoted.String()[1:], "\"\n")] = true
			}
		}
	}
	for _, s := range secrets {
		add(string(s.value))
		for line := range strings.Lines(string(s.value)) {
			add(line)
		}
	}
	if len(forms) == 0 {
		return nil
	}
	m := &mask{}
	var pairs []string
	for _, form := range slices.SortedFunc(maps.Keys(forms), func(a, b string) int { return len(b) - len(a) }) {
		pairs = append(pairs, form, masked) // the first that matches is replaced
		m.longest = max(m.longest, len(form))
	}
	m.replacer = strings.NewReplacer(pairs...)
	return m
}

func (m *mask) text(s string) string {
	if m == nil {
		return s
	}
	return m.replacer.Replace(s)
}

func (m *mask) bytes(b []byte) []byte {
	if m == nil {
		return b
	}
	return []byte(m.replacer.Replace(string(b)))
}

// held is how much of a piece of text must be seen again, as a secret may begin in it and not end.
func (m *mask) held() int {
	if m == nil {
		return 0
	}
	return m.longest - 1
}

// in returns whether a text holds a secret.
func (m *mask) in(b []byte) bool {
	return m != nil && m.replacer.Replace(string(b)) != string(b)
}
