package archtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// own returns an own package that imports some others.
func own(path string, imports ...string) pkg {
	return pkg{path: path, own: true, doc: "says what it is", files: []string{"doc.go"}, imports: imports}
}

// ownTest returns an own package whose tests import some others.
func ownTest(path string, imports ...string) pkg {
	p := own(path)
	p.tests = imports
	return p
}

func other(path string, imports ...string) pkg { return pkg{path: path, imports: imports} }

// TestEachRuleCatchesItsViolation breaks every rule of the real list in a made-up graph.
func TestEachRuleCatchesItsViolation(t *testing.T) {
	t.Parallel()
	violations := []struct {
		rule  string
		graph []pkg
		want  string // chain of the message
	}{
		{"the contract is plain Go", []pkg{own("plugins/driver", "fmt", "github.com/google/uuid")}, "plugins/driver → github.com/google/uuid"},
		{"the contract is plain Go", []pkg{own("plugins/driver", "core/model"), own("core/model")}, "plugins/driver → core/model"},
		{"the core knows no provider", []pkg{own("core/engine", "providers/local"), own("providers/local")}, "core/engine → providers/local"},
		{"the core knows no provider", []pkg{ownTest("core/engine", "providers/local"), own("providers/local")}, "core/engine → providers/local"},
		{"the core knows no plugin process", []pkg{own("core/store", "plugins/host"), own("plugins/host")}, "core/store → plugins/host"},
		{
			"the core knows no plugin process",
			[]pkg{own("core/store", "example.com/x"), other("example.com/x", "github.com/hashicorp/go-plugin")},
			"core/store → example.com/x → github.com/hashicorp/go-plugin",
		},
		{
			"the core knows no cloud and no storage engine",
			[]pkg{own("core/authz", "github.com/aws/aws-sdk-go-v2/service/sts")},
			"core/authz → github.com/aws/aws-sdk-go-v2/service/sts",
		},
		{
			"the core knows no cloud and no storage engine",
			[]pkg{own("core/store", "github.com/cockroachdb/pebble/v2")},
			"core/store → github.com/cockroachdb/pebble/v2",
		},
		{
			"the server links no cloud",
			[]pkg{own("cmd/pop", "providers/aws/webidentity"), own("providers/aws/webidentity", "github.com/aws/aws-sdk-go-v2/service/sts")},
			"cmd/pop → providers/aws/webidentity → github.com/aws/aws-sdk-go-v2/service/sts",
		},
		{
			"HTTP frameworks stay in the API",
			[]pkg{own("core/engine", "core/api"), own("core/api", "github.com/gin-gonic/gin")},
			"core/engine → core/api → github.com/gin-gonic/gin",
		},
		{"core/workflow is pure", []pkg{own("core/workflow", "core/model"), own("core/model")}, "core/workflow → core/model"},
		{"core/model is pure", []pkg{own("core/model", "github.com/google/uuid")}, "core/model → github.com/google/uuid"},
		{"core/scheduling is pure", []pkg{own("core/scheduling", "plugins/driver"), own("plugins/driver")}, "core/scheduling → plugins/driver"},
		{"pure packages do no I/O", []pkg{own("core/scheduling", "os")}, "core/scheduling → os"},
		{"the client is small", []pkg{own("core/client", "core/engine"), own("core/engine")}, "core/client → core/engine"},
		{"the wire types are plain", []pkg{own("core/api/wire", "core/api"), own("core/api")}, "core/api/wire → core/api"},
		{"the pool side knows no server", []pkg{own("core/pool/process", "core/engine"), own("core/engine")}, "core/pool/process → core/engine"},
		{"the handler SDK is small", []pkg{own("core/pool/handler", "core/model"), own("core/model")}, "core/pool/handler → core/model"},
		{"a provider knows only the contract", []pkg{own("providers/aws/sqs", "core/store"), own("core/store")}, "providers/aws/sqs → core/store"},
		{"a provider knows only the contract", []pkg{ownTest("providers/local", "core/engine"), own("core/engine")}, "providers/local → core/engine"},
		{
			"the AWS provider is the SDK of AWS and little else",
			[]pkg{own("providers/aws", "github.com/aws/aws-sdk-go-v2/aws", "github.com/aws/aws-lambda-go/lambda")},
			"providers/aws → github.com/aws/aws-lambda-go/lambda",
		},
		{
			"the stand-in for AWS stays in tests",
			[]pkg{own("cmd/pop-plugin-aws", "providers/aws"), own("providers/aws", "providers/aws/awstest"), own("providers/aws/awstest")},
			"providers/aws → providers/aws/awstest",
		},
		{
			"the Kubernetes provider knows only the pool side",
			[]pkg{own("providers/kubernetes", "core/pool", "core/engine"), own("core/pool"), own("core/engine")},
			"providers/kubernetes → core/engine",
		},
		{"the boundary knows neither side", []pkg{own("plugins/sdk", "core/telemetry"), own("core/telemetry")}, "plugins/sdk → core/telemetry"},
		{"the SDK knows no host", []pkg{own("plugins/sdk", "plugins/host"), own("plugins/host")}, "plugins/sdk → plugins/host"},
		{"the host knows no SDK", []pkg{own("plugins/host", "plugins/sdk"), own("plugins/sdk")}, "plugins/host → plugins/sdk"},
		{"the protocol is plain", []pkg{own("plugins/pluginv1", "plugins/driver"), own("plugins/driver")}, "plugins/pluginv1 → plugins/driver"},
		{
			"what both sides share knows neither go-plugin nor a side",
			[]pkg{own("plugins/internal/wire", "github.com/hashicorp/go-plugin")},
			"plugins/internal/wire → github.com/hashicorp/go-plugin",
		},
		{"the conformance suite needs only the contract", []pkg{own("plugins/drivertest", "github.com/stretchr/testify")}, "plugins/drivertest → github.com/stretchr/testify"},
		{"the conformance suite stays in tests", []pkg{own("cmd/pop", "plugins/drivertest"), own("plugins/drivertest")}, "cmd/pop → plugins/drivertest"},
		{"the Terraform provider is a client", []pkg{own("terraform/provider", "core/engine"), own("core/engine")}, "terraform/provider → core/engine"},
		{"nobody imports cmd", []pkg{own("examples/media", "cmd/internal/table"), own("cmd/internal/table")}, "examples/media → cmd/internal/table"},
		{
			"providers know nothing of each other",
			[]pkg{own("providers/aws", "providers/local/log"), own("providers/local/log")},
			"providers/aws → providers/local/log",
		},
	}
	proven := map[string]bool{}
	for _, v := range violations {
		proven[v.rule] = true
		rules := append(siblings(v.graph), layers...)
		messages := check(v.graph, rules)
		i := slices.IndexFunc(rules, func(r rule) bool { return r.name == v.rule })
		if i < 0 {
			t.Errorf("no rule is called %q", v.rule)
			continue
		}
		if want := v.rule + ": " + v.want + "\n\t" + rules[i].why; !slices.Contains(messages, want) {
			t.Errorf("missing message:\n%s\ngot:\n%s", want, strings.Join(messages, "\n"))
		}
	}
	for _, r := range layers {
		if !proven[r.name] {
			t.Errorf("nothing proves that rule %q catches anything", r.name)
		}
		if r.why == "" {
			t.Errorf("rule %q gives no reason", r.name)
		}
	}
}

func TestAllowedImportsBreakNoRule(t *testing.T) {
	t.Parallel()
	graph := []pkg{
		own("plugins/driver", "context", "fmt"),
		own("plugins/drivertest", "plugins/driver", "testing", "pgregory.net/rapid", "github.com/google/go-cmp/cmp"),
		own("core/workflow", "strings"),
		own("core/model", "core/workflow", "encoding/json"),
		own("core/scheduling", "core/model", "cmp"),
		own("core/api/wire", "core/model", "net/http"),
		own("core/client", "core/api/wire", "core/model", "net/http"),
		{path: "core/store", own: true, imports: []string{"plugins/driver"}, tests: []string{"plugins/drivertest"}},
		own("core/engine", "core/store", "core/scheduling", "log/slog"),
		own("core/api", "core/engine", "github.com/gin-gonic/gin", "github.com/danielgtaylor/huma/v2"),
		own("core/pool", "core/client", "os/exec"),
		own("providers/local", "plugins/driver", "providers/local/journal"),
		own("providers/local/journal", "github.com/cockroachdb/pebble/v2"),
		own("providers/kubernetes", "core/pool", "k8s.io/client-go/kubernetes"),
		own("terraform/provider", "core/client", "github.com/hashicorp/terraform-plugin-framework"),
		own("cmd/pop", "core/api", "providers/local", "cmd/internal/table"),
		own("cmd/internal/table"),
	}
	if diff := cmp.Diff([]string(nil), check(graph, append(siblings(graph), layers...))); diff != "" {
		t.Error(diff)
	}
}

func TestViolationIsReportedOnceWhereItHappens(t *testing.T) {
	t.Parallel()
	r := rule{name: "r", why: "because", from: []string{"core/..."}, never: []string{"providers/..."}}
	graph := []pkg{own("core/api", "core/engine"), own("core/engine", "providers/aws"), own("providers/aws")}
	if diff := cmp.Diff([]string{"r: core/engine → providers/aws\n\tbecause"}, check(graph, []rule{r})); diff != "" {
		t.Error(diff)
	}
}

func TestShortestChainIsReported(t *testing.T) {
	t.Parallel()
	r := rule{name: "r", why: "because", from: []string{"core/api"}, never: []string{"providers/..."}}
	graph := []pkg{
		own("core/api", "a.com/long", "a.com/short"),
		other("a.com/long", "a.com/longer"),
		other("a.com/longer", "providers/aws"),
		other("a.com/short", "providers/aws"),
		own("providers/aws"),
	}
	if diff := cmp.Diff([]string{"r: core/api → a.com/short → providers/aws\n\tbecause"}, check(graph, []rule{r})); diff != "" {
		t.Error(diff)
	}
}

func TestPackagesWithoutACommentAreFound(t *testing.T) {
	t.Parallel()
	silent := own("core/silent")
	silent.doc = ""
	onlyTests := own("examples/quickstart")
	onlyTests.doc, onlyTests.files = "", nil
	if diff := cmp.Diff([]string{"core/silent"}, undocumented([]pkg{own("core/model"), silent, onlyTests, other("fmt")})); diff != "" {
		t.Error(diff)
	}
}

func TestNamesOfNoPackageAreFound(t *testing.T) {
	t.Parallel()
	rules := []rule{{from: []string{"core/..."}, never: []string{"plugins/gone", "plugins/host/...", "github.com/x/y", "os"}, only: []string{"core/model"}}}
	graph := []pkg{own("core/model"), own("core/pool/process")}
	want := []string{
		"plugins/gone is named by a rule and doesn't exist: rename it in the rule, or delete the rule",
		"core/pool exists now: take it off the planned list, so that the rules about it can't go stale",
		"core/pool is planned and no rule names it: take it off the list",
	}
	if diff := cmp.Diff(want, misnamed(graph, rules, []string{"plugins/host", "core/pool"})); diff != "" {
		t.Error(diff)
	}
}
