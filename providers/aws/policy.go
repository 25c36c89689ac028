package aws

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Policy is a policy document of IAM.
type Policy struct {
	Version   string
	Statement []Statement
}

// Statement allows actions on resources.
type Statement struct {
	Sid, Effect      string
	Action, Resource []string
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
	names := []string{c.Store.Table}
	for _, table := range c.Store.Tables {
		names = append(names, table)
	}
	slices.Sort(names)
	var tables, indexes []string
	for _, name := range slices.Compact(names) {
		arn := fmt.Sprintf("arn:aws:dynamodb:%s:%s:table/%s", region, account, name)
		tables, indexes = append(tables, arn), append(indexes, arn+"/index/*")
	}
	queues := []string{fmt.Sprintf("arn:aws:sqs:%s:%s:%s*", region, account, c.Queue.Prefix)}
	p := Policy{Version: "2012-10-17"}
	allow := func(sid string, actions, resources []string) {
		p.Statement = append(p.Statement, Statement{sid, "Allow", actions, resources})
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
		allow("Bodies", objectActions, []string{"arn:aws:s3:::" + b.Bucket + "/" + b.Prefix + "*"})
	}
	return p, nil
}

// String returns the document.
func (p Policy) String() string {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err.Error() // texts cannot fail
	}
	return string(text)
}
