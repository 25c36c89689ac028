package aws

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Policy is a policy document of IAM.
type Policy struct {
	Version   string
	Statement []Statement
}

// Statement allows actions on resources, under a condition if it has one: operators, keys and values.
type Statement struct {
	Sid, Effect      string
	Action, Resource []string
	Condition        map[string]map[string]any `json:",omitempty"`
}

// The actions that the drivers need, by what they are for.
var (
	recordActions = []string{
		"dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable",
		"dynamodb:DescribeTimeToLive", "dynamodb:PutItem", "dynamodb:Query",
	}
	tableActions  = []string{"dynamodb:CreateTable", "dynamodb:UpdateTable", "dynamodb:UpdateTimeToLive"}
	hintActions   = []string{"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:PurgeQueue", "sqs:ReceiveMessage", "sqs:SendMessage"}
	queueActions  = []string{"sqs:CreateQueue"}
	objectActions = []string{"s3:DeleteObject", "s3:GetObject", "s3:PutObject"}
	bucketActions = []string{"s3:ListBucket"} // without it S3 denies what is not there, and a body may have been replaced a moment ago
)

// PolicyFor returns the least that the role of a server must be allowed for a configuration. An account or a region that is not known is
// "*".
func PolicyFor(c Config, account string) (Policy, error) {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return Policy{}, err
	}
	region := c.Region
	if region == "" {
		region = "*"
	}
	partition := partitionOf(region)
	names := []string{c.Store.Table}
	for _, table := range c.Store.Tables {
		names = append(names, table)
	}
	slices.Sort(names)
	var tables, indexes []string
	for _, name := range slices.Compact(names) {
		arn := fmt.Sprintf("arn:%s:dynamodb:%s:%s:table/%s", partition, region, account, name)
		tables, indexes = append(tables, arn), append(indexes, arn+"/index/*")
	}
	queues := []string{fmt.Sprintf("arn:%s:sqs:%s:%s:%s*", partition, region, account, c.Queue.Prefix)}
	p := Policy{Version: policyVersion}
	allow := func(sid string, actions, resources []string) {
		p.Statement = append(p.Statement, Statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources})
	}
	allow("Records", recordActions, tables)
	allow("Indexes", []string{"dynamodb:Query"}, indexes)
	if !c.Store.CheckOnly {
		allow("Tables", tableActions, tables)
	}
	allow("Hints", hintActions, queues)
	if !c.Queue.CheckOnly {
		allow("Queues", queueActions, queues)
	}
	if b := c.Store.Bodies; b.Bucket != "" {
		bucket := "arn:" + partition + ":s3:::" + b.Bucket
		allow("Bodies", objectActions, []string{bucket + "/" + b.Prefix + "*"})
		allow("Bucket", bucketActions, []string{bucket})
	}
	return p, nil
}

// PolicyForCaller returns the least that a role must be allowed that gets tokens for one audience, each for so long at most.
func PolicyForCaller(audience string, lifetime time.Duration) Policy {
	return Policy{Version: policyVersion, Statement: []Statement{{
		Sid: "Token", Effect: "Allow", Action: []string{"sts:GetWebIdentityToken"}, Resource: []string{"*"},
		Condition: map[string]map[string]any{
			"ForAllValues:StringEquals": {"sts:IdentityTokenAudience": []string{audience}},
			"NumericLessThanEquals":     {"sts:DurationSeconds": int(lifetime.Seconds())},
		},
	}}}
}

const policyVersion = "2012-10-17"

// partitionOf returns the part of AWS that a region is in, which the names of all its resources begin with.
func partitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "eusc-"):
		return "aws-eusc"
	}
	return "aws"
}

// String returns the document.
func (p Policy) String() string {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err.Error() // texts cannot fail
	}
	return string(text)
}
