package credential

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/mattn/go-shellwords"

	"github.com/pop-platform/pop/core/client"
)

const (
	// maxOutput is how much a program may write.
	maxOutput = 1 << 20
	// maxComplaint is how much of what a program says when it fails is shown.
	maxComplaint = 1000
	// patience is how long a program may keep its output open after it has ended.
	patience = 5 * time.Second
)

// File returns a source that reads a file, such as the one of a projected service account of Kubernetes. It is read again shortly
// before the token in it ends, and when the server refuses that.
func File(name string) client.TokenSource {
	return func(context.Context) (client.Token, error) {
		text, err := os.ReadFile(name)
		if err != nil {
			return client.Token{}, err
		}
		value := strings.TrimSpace(string(text))
		if value == "" {
			return client.Token{}, fmt.Errorf("%s: is empty", name)
		}
		return client.Token{Value: value, Expiry: Expiry(value)}, nil
	}
}

// Command returns a source that runs a program, without a shell. The program writes a token, or an answer as an OAuth 2.0 token
// endpoint gives it.
func Command(line string, now func() time.Time) (client.TokenSource, error) {
	parser := shellwords.NewParser()
	words, err := parser.Parse(line)
	switch {
	case err != nil || len(words) == 0:
		return nil, errors.New("is not a program and its arguments; quote arguments that hold blanks")
	case parser.Position >= 0:
		return nil, errors.New("is run without a shell, and holds a character for one; quote it, or write sh -c '...' around the whole")
	}
	return func(ctx context.Context) (client.Token, error) {
		asked := now()
		output, err := run(ctx, words)
		if err == nil {
			var token client.Token
			if token, err = parse(output, asked); err == nil {
				return token, nil
			}
		}
		return client.Token{}, fmt.Errorf("the token command %s: %w", words[0], err)
	}, nil
}

func run(ctx context.Context, words []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.WaitDelay = patience
	output, complaint := limited{left: maxOutput}, limited{left: maxOutput}
	cmd.Stdout, cmd.Stderr = &output, &complaint
	err := cmd.Run()
	switch text := strings.TrimSpace(string(complaint.text)); {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("took too long: %w", ctx.Err())
	case err != nil && text != "":
		return nil, fmt.Errorf("%w: %s", err, text[max(len(text)-maxComplaint, 0):])
	case err != nil:
		return nil, err
	}
	return output.text, nil
}

// limited is a buffer that drops what is too much: a program that waits for its output to be read would never end.
type limited struct {
	text []byte
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.text = append(l.text, p[:n]...)
	return len(p), nil
}

// parse reads what a program has written. Errors hold nothing of it.
func parse(output []byte, asked time.Time) (client.Token, error) {
	output = bytes.TrimSpace(output)
	if len(output) == 0 {
		return client.Token{}, errors.New("wrote nothing to standard output")
	}
	if output[0] != '{' {
		value := string(output)
		return client.Token{Value: value, Expiry: Expiry(value)}, nil
	}
	var answer struct {
		Token string  `json:"access_token"`
		Type  string  `json:"token_type"`
		Life  float64 `json:"expires_in"` // seconds
	}
	switch err := json.Unmarshal(output, &answer); {
	case err != nil:
		return client.Token{}, errors.New("wrote JSON that is not the answer of a token endpoint: access_token, token_type, expires_in")
	case answer.Token == "":
		return client.Token{}, errors.New("wrote JSON without access_token")
	case answer.Type != "" && !strings.EqualFold(answer.Type, "Bearer"):
		return client.Token{}, errors.New("fetched a token whose token_type is not Bearer")
	}
	token := client.Token{Value: answer.Token, Expiry: Expiry(answer.Token)}
	if answer.Life > 0 {
		token.Expiry = asked.Add(time.Duration(min(answer.Life, maxLife.Seconds()) * float64(time.Second)))
	}
	return token, nil
}

// maxLife is longer than any token lives.
const maxLife = 100 * 365 * 24 * time.Hour

// Claims are what a JSON Web Token says of itself.
type Claims struct {
	Issuer   string          `json:"iss"`
	Subject  string          `json:"sub"`
	Audience json.RawMessage `json:"aud"` // a text or a list
	Expiry   float64         `json:"exp"` // seconds since 1970
}

// Read returns what a JSON Web Token says, and false for any other token. Nothing of it is verified.
func Read(token string) (Claims, bool) {
	var c Claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	return c, err == nil && json.Unmarshal(text, &c) == nil
}

// Expiry returns when a token ends, if it is a JSON Web Token that says so, and zero otherwise.
func Expiry(token string) time.Time {
	c, ok := Read(token)
	if !ok || c.Expiry <= 0 || c.Expiry > float64(time.Now().Add(maxLife).Unix()) {
		return time.Time{}
	}
	return time.Unix(int64(c.Expiry), 0)
}
