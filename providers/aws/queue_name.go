package aws

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// A queue of SQS has up to 80 letters, digits, dashes and underscores. A name that has no more than those is kept. Any other becomes what
// can be kept of it, two dashes and a hash; so that no two names meet, a name with two dashes in it is hashed too.
const (
	maxPlainName = 80 - maxQueuePrefix
	hashMark     = "--"
	hashBytes    = 10
)

// deadLetterName is that of the one dead-letter queue.
const deadLetterName = "dead" + hashMark + "letters"

var (
	plainName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	notPlain  = regexp.MustCompile(`[^a-zA-Z0-9_]+`)
)

// sqsName returns what a named queue is called in SQS, without the prefix.
func sqsName(name string) string {
	if len(name) <= maxPlainName && plainName.MatchString(name) && !strings.Contains(name, hashMark) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	kept := strings.Trim(notPlain.ReplaceAllString(name, "-"), "-")
	kept = kept[:min(len(kept), maxPlainName-len(hashMark)-2*hashBytes)]
	return kept + hashMark + hex.EncodeToString(sum[:hashBytes])
}

// plainGroup is a message group id that SQS takes.
var plainGroup = regexp.MustCompile("^[a-zA-Z0-9!\"#$%&'()*+,./:;<=>?@\\[\\\\\\]^_`{|}~-]{1,128}$")

// sqsGroup returns the message group id for a group; SQS uses it to be fair between groups, and nobody reads it back.
func sqsGroup(group string) string {
	if plainGroup.MatchString(group) {
		return group
	}
	sum := sha256.Sum256([]byte(group))
	return "sha256:" + hex.EncodeToString(sum[:16])
}
