package aws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	sqs "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/pop-platform/pop/plugins/driver"
)

// call is what is known of a call that failed.
type call struct {
	op    string // "dynamodb: write"
	about string // what it is about, for messages: "table pop"
	where string // region, and endpoint
	write bool   // whether a lost reply leaves the outcome open
}

// The codes with which AWS refuses a request before it does anything.
var (
	throttleCodes = []string{
		"ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException", "Throttling", "ThrottledException",
		"RequestThrottled", "RequestThrottledException", "TooManyRequestsException", "LimitExceededException", "OverLimit",
		"SlowDown", "BandwidthLimitExceeded", "KmsThrottled", "AWS.SimpleQueueService.OverLimit",
	}
	deniedCodes  = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized", "KmsAccessDenied", "AllAccessDisabled"}
	expiredCodes = []string{"ExpiredTokenException", "ExpiredToken", "TokenRefreshRequired"}
	unknownCodes = []string{
		"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException", "IncompleteSignature", "InvalidToken", "NotSignedUp", "OptInRequired",
	}
	signatureCodes = []string{"InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed", "SignatureExpired"}
	missingTable   = []string{"ResourceNotFoundException", "TableNotFoundException"}
	missingQueue   = []string{"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
	missingBucket  = []string{"NoSuchBucket", "PermanentRedirect", "AuthorizationHeaderMalformed"} // the latter two if it is in another region
)

// fault turns an error of the SDK into one of the contract, with a message that names the fix.
func (c call) fault(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if end := ctx.Err(); end != nil {
		return fmt.Errorf("%s: %w", c.op, end)
	}
	e := &driver.Error{Code: driver.Internal, Op: c.op, Err: err}
	if c.write {
		e.Outcome = driver.Unknown
	}
	refused := func(code driver.Code, format string, args ...any) error {
		e.Code, e.Outcome, e.Message = code, driver.NotApplied, fmt.Sprintf(format, args...)
		return e
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return c.transportFault(e, err)
	}
	code, message := api.ErrorCode(), api.ErrorMessage()
	status := 0
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = resp.HTTPStatusCode()
	}
	switch {
	case slices.Contains(throttleCodes, code):
		reason := throttling(err)
		e.RetryAfter = reason.wait
		return refused(driver.Throttled, "%s: %s%s", c.about, reason.what, reason.resource)
	case slices.Contains(deniedCodes, code):
		return refused(driver.Denied, "%s: AWS denies it: %s; add the action to the policy of POP's role (docs/aws.md has the whole policy)", c.about, message)
	case slices.Contains(expiredCodes, code):
		return refused(driver.Denied, "the credentials have expired; renew them, or let POP take those of a role, which renew themselves")
	case slices.Contains(signatureCodes, code):
		return c.signatureFault(e, err, message)
	case slices.Contains(unknownCodes, code):
		return refused(driver.Denied, "AWS does not know the credentials (%s); check the access key, and that it belongs to the partition of %s", code, c.where)
	case isMissingQueue(err, code):
		return refused(driver.Invalid, "there is no %s in %s", c.about, c.where)
	case slices.Contains(missingTable, code) && !strings.Contains(message, "index"):
		return refused(driver.Unavailable, "there is no %s in %s: check region and table, or create it as docs/aws.md says", c.about, c.where)
	case strings.Contains(message, "specified index") || slices.Contains(missingTable, code):
		return refused(driver.Unavailable, "%s lacks an index: %s; restart POP, which adds it, or add it where the table is made", c.about, message)
	case slices.Contains(missingBucket, code):
		return refused(driver.Unavailable, "there is no %s in %s (%s): check store.bodies.bucket and region", c.about, c.where, code)
	case code == "ResourceInUseException":
		return refused(driver.Unavailable, "%s is being changed: %s", c.about, message)
	case code == "InternalServerError" || code == "InternalFailure" || code == "ServiceUnavailable" || status >= http.StatusInternalServerError:
		e.Code, e.Message = driver.Unavailable, fmt.Sprintf("%s: AWS failed: %s %s", c.about, code, message)
		return e
	case strings.Contains(message, "size has exceeded") || code == "RequestTooLarge" || code == "BatchRequestTooLong" || code == "AWS.SimpleQueueService.BatchRequestTooLong":
		return refused(driver.TooLarge, "%s: %s", c.about, message)
	default:
		return refused(driver.Internal, "%s: AWS refuses the request: %s: %s", c.about, code, message)
	}
}

// isMissingQueue goes by the type too: the code is that of an older protocol, and not every service at an endpoint of one's own sends it.
func isMissingQueue(err error, code string) bool {
	_, typed := errors.AsType[*sqs.QueueDoesNotExist](err)
	return typed || slices.Contains(missingQueue, code)
}

// transportFault is of an error that is no answer of AWS.
func (c call) transportFault(e *driver.Error, err error) error {
	e.Code = driver.Unavailable
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		e.Outcome = driver.NotApplied
		e.Message = fmt.Sprintf("the name %q cannot be resolved; check region, endpoint and network", dns.Name)
	case errors.As(err, &op) && op.Op == "dial":
		e.Outcome = driver.NotApplied
		e.Message = fmt.Sprintf("%s cannot be reached: %v; check region, endpoint and network, and HTTPS_PROXY if there is a proxy", c.where, op)
	case isSigning(err):
		e.Code, e.Outcome = driver.Denied, driver.NotApplied
		e.Message = fmt.Sprintf("there are no credentials: %v; give POP a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and name it in the plugin's env", rootOf(err))
	default:
		e.Message = fmt.Sprintf("%s: the connection to %s broke: %v", c.about, c.where, rootOf(err))
	}
	return e
}

// isSigning reports whether a request could not be signed, so was never sent.
func isSigning(err error) bool {
	text := err.Error()
	return strings.Contains(text, "get identity:") || strings.Contains(text, "failed to refresh cached credentials") ||
		strings.Contains(text, "failed to sign request") || strings.Contains(text, "static credentials are empty")
}

// signatureFault tells a wrong clock from a wrong key by the time that AWS put into its answer.
func (c call) signatureFault(e *driver.Error, err error, message string) error {
	e.Code, e.Outcome = driver.Denied, driver.NotApplied
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && resp.Response != nil {
		if theirs, parseErr := http.ParseTime(resp.Response.Header.Get("Date")); parseErr == nil {
			if skew := time.Since(theirs).Round(time.Second); skew.Abs() > 4*time.Minute {
				e.Message = fmt.Sprintf("the clock of this machine differs from that of AWS by %s; set it right, for example with chrony", skew.Abs())
				return e
			}
		}
	}
	if strings.Contains(message, "expired") || strings.Contains(message, "not yet current") {
		e.Message = "AWS takes the time of the request for wrong: " + message + "; set the clock of this machine right, for example with chrony"
		return e
	}
	e.Message = "AWS does not accept the signature: " + message + "; check the secret access key"
	return e
}

func rootOf(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// throttle is why DynamoDB or SQS asks for less, and for how long to leave it alone.
type throttle struct {
	what     string
	resource string
	wait     time.Duration
}

// throttling reads the reason out of an error. A hot key range cools down while DynamoDB splits it, which takes longest;
// on-demand capacity follows the load within moments.
func throttling(err error) throttle {
	t := throttle{what: "AWS asks for less", wait: 100 * time.Millisecond}
	reasons := throttlingReasons(err)
	if len(reasons) == 0 {
		return t
	}
	reason, resource := deref(reasons[0].Reason), deref(reasons[0].Resource)
	if resource != "" {
		t.resource = " (" + resource + ")"
	}
	switch {
	case strings.Contains(reason, "KeyRangeThroughputExceeded"):
		t.what, t.wait = "a part of the keys is too busy; see store.spread for an index, or slow the customer down", 500*time.Millisecond
	case strings.Contains(reason, "MaxOnDemandThroughputExceeded"):
		t.what, t.wait = "the maximum that was set for the table is reached; raise it", time.Second
	case strings.Contains(reason, "AccountLimitExceeded"):
		t.what, t.wait = "the quota of the account is reached; ask AWS to raise it", 2*time.Second
	case strings.Contains(reason, "ProvisionedThroughputExceeded"):
		t.what, t.wait = "the provisioned capacity is used up; raise it or bill on demand", 500*time.Millisecond
	case reason != "":
		t.what = "AWS asks for less: " + reason
	}
	return t
}

func throttlingReasons(err error) []ddb.ThrottlingReason {
	if e, ok := errors.AsType[*ddb.ProvisionedThroughputExceededException](err); ok {
		return e.ThrottlingReasons
	}
	if e, ok := errors.AsType[*ddb.RequestLimitExceeded](err); ok {
		return e.ThrottlingReasons
	}
	if e, ok := errors.AsType[*ddb.ThrottlingException](err); ok {
		return e.ThrottlingReasons
	}
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
