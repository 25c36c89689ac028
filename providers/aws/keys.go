package aws

import (
	"fmt"
	"hash/fnv"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/pop-platform/pop/plugins/driver"
)

// The attributes of an item. Those of an index have names of their own, see [indexAttributes].
const (
	attrPart    = "pk"
	attrSort    = "sk"
	attrVersion = "v"
	attrBody    = "b"
	attrExpiry  = "exp" // in seconds since 1970; DynamoDB's time to live
)

// partKey is the partition key of a record: its kind and its part. The kind is escaped, so that it ends at the first "#".
func partKey(kind driver.Kind, part string) string { return url.QueryEscape(string(kind)) + "#" + part }

// splitPartKey undoes [partKey].
func splitPartKey(pk string) (driver.Kind, string, error) {
	escaped, part, ok := strings.Cut(pk, "#")
	kind, err := url.QueryUnescape(escaped)
	if !ok || err != nil || kind == "" {
		return "", "", fmt.Errorf("partition key %q is not one of POP's", pk)
	}
	return driver.Kind(kind), part, nil
}

// lanePart is the partition key of an index for one lane of a part. Those of lane 0 look like a part that is not spread, so that a
// spread may be raised.
func lanePart(kind driver.Kind, part string, lane int) string {
	if lane == 0 {
		return partKey(kind, part)
	}
	return fmt.Sprintf("%s@%d#%s", url.QueryEscape(string(kind)), lane, part)
}

// laneOf returns the lane that a record's entries are in.
func laneOf(key driver.Key, lanes int) int {
	if lanes <= 1 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key.Part + "\x00" + key.Sort)) // never fails
	return int(h.Sum32() % uint32(lanes))
}

// unlane returns the part of a partition key of an index.
func unlane(gpk string) string {
	_, part, _ := strings.Cut(gpk, "#")
	return part
}

// indexName is the name of the secondary index for an index of the schema.
func indexName(index string) string { return "by-" + url.QueryEscape(index) }

// indexAttributes are the names of an index's keys.
func indexAttributes(index string) (part, sort string) {
	name := url.QueryEscape(index)
	return name + partSuffix, name + sortSuffix
}

const (
	partSuffix = "Part"
	sortSuffix = "Sort"
)

// maxBound is longer than any sort key, so that cutting a bound to it keeps its place among them.
const maxBound = driver.MaxSortBytes + 64

// cutBound shortens the bound of a range to what DynamoDB takes.
func cutBound(s string) string {
	if len(s) <= maxBound {
		return s
	}
	n := maxBound
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func textOf(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// itemKey is the primary key of a record as DynamoDB takes it.
func itemKey(k driver.Key) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{attrPart: text(partKey(k.Kind, k.Part)), attrSort: text(k.Sort)}
}
