package archtest

import "strings"

// A rule binds some packages of the module to what they may import. Own packages are named by their path below the module's
// root, packages of the standard library by their path, and the rest by their full path. A pattern that ends in /... also
// means every package below.
type rule struct {
	name string
	why  string // what breaks if the rule does; part of every message

	from   []string // own packages the rule binds
	except []string // own packages it doesn't bind after all

	// never lists what the packages must not reach, directly or through others, unless it is in butFor.
	never  []string
	butFor []string
	tests  bool // the tests of the packages must not reach it either

	// only, if not empty, lists all that the packages may import directly.
	only []string
}

// Stand-ins for packages in a rule's lists.
const (
	std        = "std"         // the standard library
	thirdParty = "third-party" // other people's modules
)

// planned are own packages that rules name before they are there. One that has come to exist must be taken off the list.
var planned = []string{
	"core/console",
	"providers/kubernetes",
	"terraform",
}

// sdks are those of clouds, which only a provider and its plugin may know.
var sdks = []string{
	"github.com/aws/aws-sdk-go/...",
	"github.com/aws/aws-sdk-go-v2/...",
	"github.com/Azure/azure-sdk-for-go/...",
	"cloud.google.com/go/...",
	"google.golang.org/api/...",
}

// clouds are the SDKs of what POP runs on, which only a provider may know.
var clouds = append([]string{"k8s.io/..."}, sdks...)

// engines are the storage engines behind local stores, which only a provider may know.
var engines = []string{
	"github.com/cockroachdb/pebble/...",
	"modernc.org/sqlite/...",
}

// server are the packages that only a server needs.
var server = []string{"core/api/...", "core/authz/...", "core/catalog/...", "core/engine/...", "core/queue/...", "core/scheduling/...", "core/store/..."}

// impure are the packages of the standard library that make a result depend on more than the arguments.
var impure = []string{
	"database/sql/...", "log/...", "math/rand/...", "net", "net/http/...", "os/...", "plugin", "syscall/...", "testing/...",
}

var layers = []rule{
	{
		name: "the contract is plain Go",
		why:  "plugins/driver is imported by every driver, ours and other people's, and must force no dependency on them",
		from: []string{"plugins/driver"},
		only: []string{std},
	},
	{
		name:  "the core knows no provider",
		why:   "only cmd wires, so that one core runs on every cloud and links none; take what you need through plugins/driver",
		from:  []string{"core/..."},
		never: []string{"providers/...", "cmd/...", "terraform/..."},
		tests: true,
	},
	{
		name: "the core knows no plugin process",
		why:  "a driver is used linked in or as a process, and the core must not be able to tell; cmd hands it a driver",
		from: []string{"core/..."},
		never: []string{
			"plugins/host/...", "plugins/sdk/...", "plugins/pluginv1/...", "github.com/hashicorp/go-plugin/...",
			"google.golang.org/grpc/...",
		},
		tests: true,
	},
	{
		name:  "the core knows no cloud and no storage engine",
		why:   "what the core can name, it will come to need; SDKs and engines belong in a provider, behind plugins/driver",
		from:  []string{"core/...", "plugins/..."},
		never: append(append([]string{}, clouds...), engines...),
		tests: true,
	},
	{
		name:   "HTTP frameworks stay in the API",
		why:    "the engine must serve any transport, and the client and the pool side must stay small; Gin and Huma are core/api's business",
		from:   []string{"core/...", "plugins/...", "providers/...", "terraform/..."},
		except: []string{"core/api/...", "core/console/..."},
		never:  []string{"github.com/gin-gonic/gin/...", "github.com/danielgtaylor/huma/..."},
	},
	{
		name: "core/workflow is pure",
		why:  "the server's validation and the executor must read a graph the same way, with nothing but the standard library",
		from: []string{"core/workflow"},
		only: []string{std},
	},
	{
		name: "core/model is pure",
		why:  "clients, server and tools share the data objects, so they may bring nothing along but core/workflow",
		from: []string{"core/model"},
		only: []string{std, "core/workflow"},
	},
	{
		name: "core/scheduling is pure",
		why:  "preview, what-if and the real pass are one function of a snapshot, which holds only if it sees nothing else",
		from: []string{"core/scheduling"},
		only: []string{std, "core/model"},
	},
	{
		name:  "pure packages do no I/O",
		why:   "a decision that reads a file, the network or chance can't be replayed, previewed or tested as a table; pass the value in",
		from:  []string{"core/model", "core/workflow", "core/scheduling"},
		never: impure,
	},
	{
		name: "the client is small",
		why:  "every Go program that talks to POP imports core/client, and shouldn't get a server with it",
		from: []string{"core/client"},
		only: []string{std, "core/api/wire", "core/model"},
	},
	{
		name: "the wire types are plain",
		why:  "client and server share them, so they may bring nothing of either along",
		from: []string{"core/api/wire"},
		only: []string{std, "core/model"},
	},
	{
		name:   "the pool side knows no server",
		why:    "pullers and executors run elsewhere, with no store at hand; they talk to the server through an interface that core/client fills",
		from:   []string{"core/pool/..."},
		never:  server,
		butFor: []string{"core/api/wire"},
	},
	{
		name: "the handler SDK is small",
		why:  "it goes into other people's programs",
		from: []string{"core/pool/handler"},
		only: []string{std},
	},
	{
		name:   "a provider knows only the contract",
		why:    "providers are plain Go libraries behind plugins/driver, tested with no core and no process; the core decides, cmd wires and serves",
		from:   []string{"providers/..."},
		except: []string{"providers/kubernetes/..."},
		never:  []string{"core/...", "plugins/sdk/...", "plugins/host/...", "plugins/pluginv1/...", "cmd/...", "terraform/..."},
		tests:  true,
	},
	{
		name:   "the AWS provider is the SDK of AWS and little else",
		why:    "a driver goes into other people's programs, with all that it needs: what is neither the contract nor the SDK needs a reason",
		from:   []string{"providers/aws/..."},
		except: []string{"providers/aws/awstest/..."},
		only: []string{
			std, "plugins/driver", "providers/aws/...", "github.com/aws/aws-sdk-go-v2/...", "github.com/aws/smithy-go/...",
			"github.com/klauspost/compress/...",
		},
	},
	{
		name:   "the stand-in for AWS stays in tests",
		why:    "it loses everything when it ends; nothing that ships may hold it",
		from:   []string{"..."},
		except: []string{"providers/aws/awstest/..."},
		never:  []string{"providers/aws/awstest/..."},
	},
	{
		name:   "the Kubernetes provider knows only the pool side",
		why:    "it implements core/pool's launcher, and must not come to depend on the server",
		from:   []string{"providers/kubernetes/..."},
		never:  append([]string{"plugins/sdk/...", "plugins/host/...", "cmd/...", "terraform/..."}, server...),
		butFor: []string{"core/api/wire"},
		tests:  true,
	},
	{
		name:  "the boundary knows neither side",
		why:   "people outside this repository build drivers from plugins/..., and must not get the platform or our drivers with it",
		from:  []string{"plugins/..."},
		never: []string{"core/...", "providers/...", "cmd/...", "terraform/..."},
		tests: true,
	},
	{
		name:  "the SDK knows no host",
		why:   "it goes into other people's programs, which start no plugins and serve no metrics",
		from:  []string{"plugins/sdk/..."},
		never: []string{"plugins/host/...", "plugins/drivertest/...", "github.com/prometheus/..."},
	},
	{
		name:  "the host knows no SDK",
		why:   "the two sides share plugins/internal/wire alone, so that neither can rely on what the protocol does not say",
		from:  []string{"plugins/host/..."},
		never: []string{"plugins/sdk/..."},
	},
	{
		name: "the protocol is plain",
		why:  "other programs may speak it: what is in it comes from plugins/proto, and needs no more than gRPC",
		from: []string{"plugins/pluginv1"},
		only: []string{std, "google.golang.org/grpc/...", "google.golang.org/protobuf/..."},
	},
	{
		name:  "what both sides share knows neither go-plugin nor a side",
		why:   "the services can be served over any connection; how a process is started is the business of SDK and host",
		from:  []string{"plugins/internal/..."},
		never: []string{"plugins/sdk/...", "plugins/host/...", "github.com/hashicorp/go-plugin/..."},
	},
	{
		name: "the conformance suite needs only the contract",
		why:  "other people run it on drivers that we have never seen, so it may know nothing of ours",
		from: []string{"plugins/drivertest/..."},
		only: []string{
			std, "plugins/driver", "plugins/drivertest/...",
			"github.com/google/go-cmp/...", "github.com/tidwall/btree", "go.uber.org/goleak", "pgregory.net/rapid",
		},
	},
	{
		name:   "the conformance suite stays in tests",
		why:    "it links the testing package and in-memory drivers that lose everything; nothing that ships may hold them",
		from:   []string{"..."},
		except: []string{"plugins/drivertest/...", "cmd/pop-conformance"},
		never:  []string{"plugins/drivertest/..."},
	},
	{
		name:  "the server links no cloud",
		why:   "one binary runs everywhere and stays small; what needs an SDK is a plugin, or a program that --token-command runs",
		from:  []string{"cmd/pop/..."},
		never: sdks,
	},
	{
		name: "the Terraform provider is a client",
		why:  "what it can do, every client of the API can do",
		from: []string{"terraform/..."},
		only: []string{std, thirdParty, "core/client", "core/model", "terraform/..."},
	},
	{
		name:   "nobody imports cmd",
		why:    "cmd holds thin mains that wire; what others need lives in a package that says what it is",
		from:   []string{"..."},
		except: []string{"cmd/..."},
		never:  []string{"cmd/..."},
		tests:  true,
	},
}

// siblings returns one rule for each provider in the graph: it must not reach another.
func siblings(graph []pkg) []rule {
	var rules []rule
	seen := map[string]bool{}
	for _, p := range graph {
		below, ok := strings.CutPrefix(p.path, "providers/")
		name, _, _ := strings.Cut(below, "/")
		if !p.own || !ok || seen[name] {
			continue
		}
		seen[name] = true
		own := "providers/" + name + "/..."
		rules = append(rules, rule{
			name:   "providers know nothing of each other",
			why:    "each is built, tested and shipped alone",
			from:   []string{own},
			never:  []string{"providers/..."},
			butFor: []string{own},
			tests:  true,
		})
	}
	return rules
}
