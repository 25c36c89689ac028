package aws

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Config is the configuration of the drivers. Credentials are not part of it: the SDK finds them in the environment, in the
// shared files, or from the role of the machine, the pod or the function.
type Config struct {
	// Region of the tables and queues. Empty means that of the environment or of the shared files.
	Region string `json:"region,omitempty" jsonschema:"region of the tables and queues; by default that of AWS_REGION or of the shared files"`
	// Endpoint, if not empty, is asked instead of AWS: the URL of an emulator, or of a private endpoint.
	Endpoint string      `json:"endpoint,omitempty" jsonschema:"URL that is asked instead of AWS, such as that of an emulator"`
	Store    StoreConfig `json:"store,omitzero" jsonschema:"DynamoDB"`
	Queue    QueueConfig `json:"queue,omitzero" jsonschema:"SQS"`
}

// StoreConfig is the part of a [Config] about DynamoDB.
type StoreConfig struct {
	// Table holds all records but those of Tables. Default "pop".
	Table string `json:"table,omitempty" jsonschema:"table that holds the records; default pop"`
	// Tables puts kinds of record into tables of their own, so that a busy one has a quota and alarms of its own. Records that
	// are there already are not moved.
	Tables map[string]string `json:"tables,omitempty" jsonschema:"tables of their own for kinds of record, such as run or body"`
	// CheckOnly says that the tables are made by others, such as Terraform: they are checked and never changed.
	CheckOnly bool `json:"checkOnly,omitempty" jsonschema:"tables are made by others: check them and never change them"`
	// Spread divides the entries of an index that have the same part over so many partitions, each of which takes 1,000 writes a
	// second. A scan then reads as many partitions. It may be raised, on all servers at once, and must not be lowered.
	Spread map[string]int `json:"spread,omitempty" jsonschema:"over how many partitions an index spreads each of its parts; default 1; never lower it"`
	// Bodies says where large bodies are kept. Without a bucket that is in further items of the table.
	Bodies BodiesConfig `json:"bodies,omitzero" jsonschema:"S3 for large bodies; by default they are kept in further items of the table"`
}

// BodiesConfig is the part of a [Config] about S3.
type BodiesConfig struct {
	Bucket string `json:"bucket,omitempty" jsonschema:"bucket for large bodies"`
	// Prefix begins the keys of the objects. Default "pop/".
	Prefix string `json:"prefix,omitempty" jsonschema:"beginning of the keys of the objects; default pop/"`
	// Above is the size in bytes, after compression, from which a body is kept in the bucket. Default 8192: from there on an object
	// is cheaper than writing the item.
	Above int `json:"above,omitempty" jsonschema:"size in bytes after compression from which a body goes to the bucket; default 8192"`
}

// QueueConfig is the part of a [Config] about SQS.
type QueueConfig struct {
	// Prefix begins the names of the queues. Default "pop-".
	Prefix string `json:"prefix,omitempty" jsonschema:"beginning of the names of the queues; default pop-"`
	// CheckOnly says that the queues are made by others: they are looked for and never created.
	CheckOnly bool `json:"checkOnly,omitempty" jsonschema:"queues are made by others: look for them and never create one"`
	// DeadLetterAfter is how often a hint is received before it is moved to the dead-letter queue. Default 10.
	DeadLetterAfter int `json:"deadLetterAfter,omitempty" jsonschema:"how often a hint is received before it goes to the dead-letter queue; default 10"`
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
