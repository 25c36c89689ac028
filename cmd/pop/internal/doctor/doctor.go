package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/config"
)

// Level says how bad a finding is.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Finding is the result of one check.
type Finding struct {
	Check  string `json:"check"`
	Level  Level  `json:"level"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Options say what to look at.
type Options struct {
	Server   string // address
	Token    string
	Tokens   client.TokenSource // in place of Token
	Config   *config.Loaded     // of a server; nil to leave it out
	Data     string             // folder; empty to leave it out
	Handlers string             // file; empty to leave it out
	Version  string             // of this program
	Now      func() time.Time
}

// Examine makes all checks. The error is one of the options; what is wrong with the platform are findings.
func Examine(ctx context.Context, o Options) ([]Finding, error) {
	var r report
	server, err := newServerChecks(o, &r)
	if err != nil {
		return nil, err
	}
	server.run(ctx)
	if o.Config != nil {
		checkConfig(ctx, &r, o.Config)
	}
	if o.Data != "" {
		checkData(ctx, &r, o.Data)
	}
	if o.Handlers != "" {
		if set := checkHandlers(&r, o.Handlers); set != nil {
			checkTypes(&r, server.taken, o.Handlers, set.Types())
		}
	}
	return r.findings, nil
}

// report collects findings.
type report struct{ findings []Finding }

func (r *report) ok(check, detail string, args ...any) {
	r.findings = append(r.findings, Finding{check, OK, fmt.Sprintf(detail, args...), ""})
}

func (r *report) warn(check, remedy, detail string, args ...any) {
	r.findings = append(r.findings, Finding{check, Warn, fmt.Sprintf(detail, args...), remedy})
}

func (r *report) fail(check, remedy, detail string, args ...any) {
	r.findings = append(r.findings, Finding{check, Fail, fmt.Sprintf(detail, args...), remedy})
}
