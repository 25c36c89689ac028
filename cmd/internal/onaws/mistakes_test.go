package onaws

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/aws"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

// mistake is something that is wrong with AWS, or with what POP is told of it.
type mistake struct {
	aws    awstest.Options
	made   []driver.KindSchema // the table pop is there, in us-east-1, with these kinds
	config string              // of the plugin, in place of the region us-east-1
	env    string              // a variable, in place of credentials
	says   []string            // by the server, which does not start, and by pop doctor
	starts bool                // the server starts: pop doctor alone says it
	warns  bool                // it may be meant: pop doctor warns of it
	check  string              // of pop doctor that finds it; default backends
}

func denying(actions ...string) awstest.Options {
	return awstest.Options{Allow: func(a awstest.Access) bool {
		for _, action := range actions {
			if strings.HasPrefix(a.Action, action) {
				return false
			}
		}
		return true
	}}
}

// TestMistakesAreSaidOnceWithTheirRemedy makes the usual mistakes of an operator, one by one, and has a server started and pop doctor
// look at its configuration, each a process with the plugin as a process of its own.
func TestMistakesAreSaidOnceWithTheirRemedy(t *testing.T) {
	t.Parallel()
	whole := append(engine.Schema(), catalog.Schema()...)
	for name, m := range map[string]mistake{
		"a region that is none": {config: "region: Frankfurt", says: []string{`region: "Frankfurt" is not the name of a region, such as eu-central-1`}},
		"a region that is not that of the table": {
			made: whole, config: "region: eu-west-1, store: {checkOnly: true}",
			says: []string{"table pop in region eu-west-1", "check region and table"},
		},
		"a region in which a table would be made": {
			made: whole, config: "region: eu-west-1", starts: true, warns: true,
			says: []string{"at its start", "table pop in region eu-west-1", "create"},
		},
		"a table that is not there": {
			made: whole, config: "region: us-east-1, store: {table: pup, checkOnly: true}", says: []string{"table pup in region us-east-1", "check region and table", "create"},
		},
		"an index that is not there": {
			made: []driver.KindSchema{{Kind: "run", Indexes: []string{"live", "customer"}}}, config: "region: us-east-1, store: {checkOnly: true}",
			says: []string{"table pop in region us-east-1", "add index by-link (linkPart, linkSort; keys only)"},
		},
		"an index that the server would add": {
			made: []driver.KindSchema{{Kind: "run", Indexes: []string{"live", "customer", "link"}}}, starts: true, warns: true, says: []string{"at its start", "add index by-folded"},
		},
		"no right to anything":     {aws: denying(""), says: []string{"not authorized to perform: dynamodb:DescribeTable", "add the action to the policy"}},
		"no right to query":        {aws: denying("dynamodb:Query"), made: whole, says: []string{"not authorized to perform: dynamodb:Query", "table/pop", "add the action to the policy"}},
		"no right to delete":       {aws: denying("dynamodb:DeleteItem"), made: whole, starts: true, says: []string{"not authorized to perform: dynamodb:DeleteItem", "add the action to the policy"}},
		"no right to use queues":   {aws: denying("sqs:"), made: whole, starts: true, says: []string{"not authorized to perform: sqs:GetQueueUrl", "add the action to the policy"}},
		"no right to keep bodies":  {aws: denying("s3:"), made: whole, config: "region: us-east-1, store: {bodies: {bucket: bodies}}", starts: true, says: []string{"not authorized to perform: s3:PutObject", "bucket bodies", "add the action to the policy"}},
		"credentials that expired": {aws: awstest.Options{Expired: "test"}, says: []string{"the credentials have expired", "renew them"}},
		"no credentials":           {env: "AWS_EC2_METADATA_DISABLED=true", says: []string{"there are no credentials", "give POP a role", "the plugin's env"}},
		"a clock that is late":     {aws: awstest.Options{Ahead: 45 * time.Minute}, says: []string{"the clock of this machine differs from that of AWS by 4", "set it right"}},
		"a clock that is early":    {aws: awstest.Options{Ahead: -45 * time.Minute}, says: []string{"the clock of this machine differs from that of AWS by 45m", "set it right"}},
		"a name that is none":      {config: "region: us-east-1, endpoint: 'http://dynamodb.eu-centrl-1.invalid'", says: []string{`"dynamodb.eu-centrl-1.invalid" cannot be resolved`, "check region, endpoint and network"}},
		"an endpoint that is away": {config: "region: us-east-1, endpoint: 'http://127.0.0.1:1'", says: []string{"http://127.0.0.1:1 cannot be reached", "check region, endpoint and network"}},
		"a setting that is none":   {config: "region: us-east-1, table: pop", says: []string{"plugins.aws.config.table", "there is no such setting"}, check: "configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &house{T: t, dir: t.TempDir()}
			var err error
			h.bin, err = programs()
			h.must(err)
			h.make(m)
			if !m.starts {
				h.refuses(m)
			}
			h.diagnoses(m)
		})
	}
}

// make makes the table and writes the settings.
func (h *house) make(m mistake) {
	h.Helper()
	if m.config == "" {
		m.config = "region: us-east-1"
	}
	var made atomic.Bool
	if allow := m.aws.Allow; allow != nil {
		m.aws.Allow = func(a awstest.Access) bool { return !made.Load() || allow(a) }
	}
	cloud := awstest.New(m.aws)
	if m.made != nil {
		s, err := aws.OpenStore(h.Context(), aws.Config{Region: "us-east-1", Endpoint: "http://aws.test"}, aws.Options{
			Credentials: credentials.NewStaticCredentialsProvider("maker", "test", ""), Transport: cloud,
		})
		h.must(err)
		_, err = s.Migrate(h.Context(), driver.MigrateRequest{Schema: driver.Schema{Kinds: m.made}})
		h.must(err)
		h.must(s.Close(h.Context()))
	}
	made.Store(true)
	if !strings.Contains(m.config, "endpoint:") {
		m.config += ", endpoint: '" + cloud.Start(h) + "'"
	}
	h.write("tokens.yaml", "tokens: []")
	h.write("pop.yaml", fmt.Sprintf(`
server: {addr: "127.0.0.1:0", data: %q, tokens: %q}
drivers: {store: aws, queue: aws}
plugins:
  aws: {path: %q, env: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_EC2_METADATA_DISABLED], config: {%s}}
`, filepath.Join(h.dir, "data"), filepath.Join(h.dir, "tokens.yaml"), filepath.Join(h.bin, "pop-plugin-aws"), m.config))
}

func (h *house) with(m mistake, args ...string) *exec.Cmd {
	cmd := h.command(args...)
	if m.env != "" {
		cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", m.env)
	}
	return cmd
}

// refuses checks that a server does not start, and says why in one error.
func (h *house) refuses(m mistake) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 2*time.Minute)
	defer cancel()
	cmd := h.with(m, "serve", "--config", filepath.Join(h.dir, "pop.yaml"))
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	out, err := cmd.CombinedOutput()
	if failure, ok := errors.AsType[*exec.ExitError](err); !ok || failure.ExitCode() != 1 {
		h.Errorf("pop serve: %v, want that it fails:\n%s", err, out)
	}
	_, said, ok := strings.Cut("\n"+string(out), "\npop: ")
	if !ok || strings.Contains(said, "\npop: ") || strings.Contains(string(out), "level=ERROR") {
		h.Errorf("pop serve says other than one error:\n%s", out)
	}
	h.contains("pop serve", said, m.says)
}

// diagnoses checks that pop doctor finds the mistake, and nothing else.
func (h *house) diagnoses(m mistake) {
	h.Helper()
	cmd := h.with(m, "doctor", "--config", filepath.Join(h.dir, "pop.yaml"), "--server", "http://127.0.0.1:1", "-o", "json")
	out, err := cmd.Output()
	level, status := "fail", 1
	if m.warns {
		level, status = "warn", 0
	}
	if cmd.ProcessState.ExitCode() != status {
		h.Errorf("pop doctor: %v, want exit status %d", err, status)
	}
	var findings []struct{ Check, Level, Detail, Remedy string }
	h.must(json.Unmarshal(out, &findings))
	check, found := cmp.Or(m.check, "backends"), 0
	for _, f := range findings {
		switch {
		case f.Check == check:
			found++
			if f.Level != level || f.Remedy == "" {
				h.Errorf("pop doctor finds %+v, want level %s and a remedy", f, level)
			}
			h.contains("pop doctor", f.Detail, m.says)
		case f.Level == "fail":
			h.Errorf("pop doctor finds %+v too", f)
		}
	}
	if found != 1 {
		h.Errorf("pop doctor has %d findings of check %q, want one:\n%s", found, check, out)
	}
}

// TestDoctorSaysWhatKeepsAServerFromAWS takes all rights from a server that runs.
func TestDoctorSaysWhatKeepsAServerFromAWS(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.serve(0)
	h.deny.Store(true)
	out, err := h.command("--server", h.url(0), "--token", adminToken, "doctor").CombinedOutput()
	if err == nil {
		t.Error("pop doctor finds nothing that fails")
	}
	h.contains("pop doctor", string(out), []string{"the server is not ready", "table pop: AWS denies it", "add the action to the policy"})
}

func (h *house) contains(who, text string, parts []string) {
	h.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			h.Errorf("%s does not say %q:\n%s", who, part, text)
		}
	}
}
