package awstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Account is the number of the account that everything here belongs to.
const Account = "000000000000"

const homeRegion = "us-east-1"

// Access is what IAM has to allow: an action on a resource.
type Access struct{ Action, Resource string }

// Grant is a part of a policy: an action on the resources that a pattern stands for.
type Grant struct{ Action, Pattern string }

// Allows reports whether the grant allows an access.
func (g Grant) Allows(a Access) bool {
	if g.Action != a.Action {
		return false
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(g.Pattern), `\*`, ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(a.Resource)
}

// Grants returns the parts of a policy document.
func Grants(document string) (all []Grant, err error) {
	var policy struct {
		Statement []struct{ Action, Resource []string }
	}
	if err := json.Unmarshal([]byte(document), &policy); err != nil {
		return nil, fmt.Errorf("read the policy: %w", err)
	}
	for _, s := range policy.Statement {
		for _, action := range s.Action {
			for _, pattern := range s.Resource {
				all = append(all, Grant{action, pattern})
			}
		}
	}
	return all, nil
}

// refused returns the first of what a request needs that the policy does not allow, and nil if it allows all.
func (s *Server) refused(all ...Access) *fault {
	if s.opts.Allow == nil {
		return nil
	}
	for _, a := range all {
		if !s.opts.Allow(a) {
			return denied(a)
		}
	}
	return nil
}

// denied is how AWS refuses a request that needs more than is allowed.
func denied(a Access) *fault {
	return &fault{
		Type:    "com.amazon.coral.service#AccessDeniedException",
		Message: "User: arn:aws:iam::" + Account + ":user/test is not authorized to perform: " + a.Action + " on resource: " + a.Resource + " because no identity-based policy allows the action",
	}
}

var scope = regexp.MustCompile(`Credential=([^/]+)/[0-9]+/([^/]+)/`)

// signer returns the access key and the region that a request is signed with.
func signer(r *http.Request) (key, region string) {
	if found := scope.FindStringSubmatch(r.Header.Get("Authorization")); found != nil {
		return found[1], found[2]
	}
	return "", homeRegion
}

// named are the operations that IAM has another name for.
var named = map[string]string{"SendMessageBatch": "SendMessage", "DeleteMessageBatch": "DeleteMessage"}

// accesses returns what IAM has to allow for an operation of DynamoDB or SQS.
func accesses(region, target string, body []byte) (all []Access) {
	service, operation, _ := strings.Cut(target, ".")
	if other, ok := named[operation]; ok {
		operation = other
	}
	var in struct {
		TableName, IndexName string
		QueueName, QueueUrl  string
		RequestItems         map[string]any
		TransactItems        []map[string]struct{ TableName string }
	}
	_ = json.Unmarshal(body, &in) // whoever answers the request says what is wrong with it
	if service == "AmazonSQS" {
		name := in.QueueName
		if u, err := url.Parse(in.QueueUrl); err == nil && name == "" {
			name = u.Path[strings.LastIndexByte(u.Path, '/')+1:]
		}
		return []Access{{"sqs:" + operation, queueARN(region, name)}}
	}
	table := func(name string) string { return "arn:aws:dynamodb:" + region + ":" + Account + ":table/" + name }
	switch {
	case operation == "TransactWriteItems":
		for _, item := range in.TransactItems {
			for kind, of := range item {
				action := map[string]string{"Put": "PutItem", "Delete": "DeleteItem", "Update": "UpdateItem", "ConditionCheck": "ConditionCheckItem"}[kind]
				all = append(all, Access{"dynamodb:" + action, table(of.TableName)})
			}
		}
	case in.RequestItems != nil:
		for name := range in.RequestItems {
			all = append(all, Access{"dynamodb:" + operation, table(name)})
		}
	case in.IndexName != "":
		all = append(all, Access{"dynamodb:" + operation, table(in.TableName) + "/index/" + in.IndexName})
	default:
		all = append(all, Access{"dynamodb:" + operation, table(in.TableName)})
	}
	return all
}
