package aws

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Config is the configuration of the drivers. Credentials are not part of it: the SDK finds them in the environment, in the
// shared files, or from the role of the machine, the pod or the function.
type Config struct {
	// Region of the tables and queues. Empty means that of the environment or of the shared files.
	Region string `json:"region,omitempty"`
	// Endpoint, if not empty, is asked instead of AWS: the URL of an emulator, or of a private endpoint.
	Endpoint string      `json:"endpoint,omitempty"`
	Store    StoreConfig `json:"store,omitzero"`
	Queue    QueueConfig `json:"queue,omitzero"`
}

// StoreConfig is the part of a [Config] about DynamoDB.
type StoreConfig struct {
	// Table holds all records but those of Tables. Default "pop".
	Table string `json:"table,omitempty"`
	// Tables puts kinds of record into tables of their own, so that a busy one has a quota and alarms of its own. Records that
	// are there already are not moved.
	Tables map[string]string `json:"tables,omitempty"`
	// CheckOnly says that the tables are made by others, such as Terraform: they are checked and never changed.
	CheckOnly bool `json:"checkOnly,omitempty"`
	// Spread divides the entries of an index that have the same part over so many partitions, each of which takes 1,000 writes a
	// second. A scan then reads as many partitions. It may be raised, on all servers at once, and must not be lowered.
	Spread map[string]int `json:"spread,omitempty"`
	// Bodies says where large bodies are kept. Without a bucket that is in further items of the table.
	Bodies BodiesConfig `json:"bodies,omitzero"`
}

// BodiesConfig is the part of a [Config] about S3.
type BodiesConfig struct {
	Bucket string `json:"bucket,omitempty"`
	Prefix string `json:"prefix,omitempty"` // of the objects' keys. Default "pop/"
	// Above is the size in bytes, after compression, from which a body is kept in the bucket. Default 8192: from there on an object
	// is cheaper than writing the item.
	Above int `json:"above,omitempty"`
}

// QueueConfig is the part of a [Config] about SQS.
type QueueConfig struct {
	// Prefix begins the names of the queues. Default "pop-".
	Prefix string `json:"prefix,omitempty"`
	// CheckOnly says that the queues are made by others: they are looked for and never created.
	CheckOnly bool `json:"checkOnly,omitempty"`
	// DeadLetterAfter is how often a hint is received before it is moved to the dead-letter queue. Default 10.
	DeadLetterAfter int `json:"deadLetterAfter,omitempty"`
}

// Defaults of a [Config].
const (
	defaultTable           = "pop"
	defaultPrefix          = "pop-"
	defaultBodiesPrefix    = "pop/"
	defaultAbove           = 8 << 10
	defaultDeadLetterAfter = 10
)

const (
	maxSpread       = 64
	maxQueuePrefix  = 30
	maxInline       = 350 << 10 // of the 400 KB of an item, the rest is for keys
	maxReceiveCount = 1000
)

var (
	tableName   = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)
	queuePrefix = regexp.MustCompile(`^[a-zA-Z0-9_-]*$`)
	bucketName  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionName  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)
)

// ParseConfig reads a configuration from JSON. The error names every problem with its path.
func ParseConfig(text []byte) (Config, error) {
	var c Config
	if len(strings.TrimSpace(string(text))) == 0 {
		text = []byte("{}")
	}
	var raw any
	if err := json.Unmarshal(text, &raw); err != nil {
		return c, fmt.Errorf("the configuration is not JSON: %w", err)
	}
	if problems := compare("", raw, reflect.TypeFor[Config]()); len(problems) > 0 {
		return c, problemsError(problems)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	c = c.withDefaults()
	return c, c.Validate()
}

// compare returns what of a JSON value does not fit a type, each with its path.
func compare(path string, value any, want reflect.Type) (problems []string) {
	wrong := func(what string) []string {
		return []string{fmt.Sprintf("%s: must be %s", cmpPath(path), what)}
	}
	switch want.Kind() {
	case reflect.Struct:
		object, ok := value.(map[string]any)
		if !ok {
			return wrong("an object")
		}
		fields := map[string]reflect.Type{}
		var names []string
		for f := range want.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields[name], names = f.Type, append(names, name)
		}
		for _, name := range sortedKeys(object) {
			typ, known := fields[name]
			if !known {
				problems = append(problems, fmt.Sprintf("%s: there is no such setting; there are %s", join(path, name), strings.Join(names, ", ")))
				continue
			}
			problems = append(problems, compare(join(path, name), object[name], typ)...)
		}
	case reflect.Map:
		object, ok := value.(map[string]any)
		if !ok {
			return wrong("an object")
		}
		for _, name := range sortedKeys(object) {
			problems = append(problems, compare(join(path, name), object[name], want.Elem())...)
		}
	case reflect.String:
		if _, ok := value.(string); !ok {
			return wrong("a text")
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			return wrong("true or false")
		}
	default:
		if n, ok := value.(float64); !ok || n != float64(int(n)) {
			return wrong("a whole number")
		}
	}
	return problems
}

func cmpPath(path string) string {
	if path == "" {
		return "the configuration"
	}
	return path
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

func (c Config) withDefaults() Config {
	orText(&c.Store.Table, defaultTable)
	orText(&c.Queue.Prefix, defaultPrefix)
	orText(&c.Store.Bodies.Prefix, defaultBodiesPrefix)
	if c.Store.Bodies.Above == 0 {
		c.Store.Bodies.Above = defaultAbove
	}
	if c.Queue.DeadLetterAfter == 0 {
		c.Queue.DeadLetterAfter = defaultDeadLetterAfter
	}
	return c
}

func orText(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// Validate returns an error that names every problem with its path.
func (c Config) Validate() error {
	var problems []string
	check := func(ok bool, path, format string, args ...any) {
		if !ok {
			problems = append(problems, path+": "+fmt.Sprintf(format, args...))
		}
	}
	check(c.Region == "" || regionName.MatchString(c.Region), "region", "%q is not the name of a region, such as eu-central-1", c.Region)
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		check(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", "endpoint", "%q must be a URL, such as http://localhost:8000", c.Endpoint)
	}
	const tableRule = "%q must have 3 to 255 letters, digits, dots, dashes or underscores"
	check(tableName.MatchString(c.Store.Table), "store.table", tableRule, c.Store.Table)
	for _, kind := range sortedKeys(c.Store.Tables) {
		check(tableName.MatchString(c.Store.Tables[kind]), "store.tables."+kind, tableRule, c.Store.Tables[kind])
	}
	for _, index := range sortedKeys(c.Store.Spread) {
		n := c.Store.Spread[index]
		check(n >= 1 && n <= maxSpread, "store.spread."+index, "must be 1 to %d", maxSpread)
	}
	b := c.Store.Bodies
	check(b.Bucket == "" || bucketName.MatchString(b.Bucket), "store.bodies.bucket", "%q is not the name of a bucket", b.Bucket)
	check(b.Above >= 1 && b.Above <= maxInline, "store.bodies.above", "must be 1 to %d", maxInline)
	check(len(b.Prefix) <= 256 && !strings.HasPrefix(b.Prefix, "/"), "store.bodies.prefix", "must have at most 256 bytes and not begin with a slash")
	q := c.Queue
	check(queuePrefix.MatchString(q.Prefix) && len(q.Prefix) <= maxQueuePrefix, "queue.prefix", "%q must have at most %d letters, digits, dashes or underscores", q.Prefix, maxQueuePrefix)
	check(q.DeadLetterAfter >= 1 && q.DeadLetterAfter <= maxReceiveCount, "queue.deadLetterAfter", "must be 1 to %d", maxReceiveCount)
	return problemsError(problems)
}

func problemsError(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
