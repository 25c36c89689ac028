package aws

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/pop-platform/pop/plugins/driver"
)

// maxTransactionBytes is what a transaction holds of bodies, of the 4 MB that it may have in all.
const maxTransactionBytes = 3 << 20

// transact applies a group of several operations. A body elsewhere that such a group replaces or deletes without naming its version
// stays behind.
func (s *Store) transact(ctx context.Context, group driver.Group) driver.WriteResult {
	versions := make([]driver.Version, len(group))
	var items []types.TransactWriteItem
	var at []int // index in the group of each item
	var kept, old []blob
	forget := func(blobs []blob) {
		for _, b := range blobs {
			s.discard(ctx, b.kind, b.place)
		}
	}
	above := min(s.blobs.above(), maxTransactionBytes/len(group))
	for i := range group {
		op := &group[i]
		if op.Type == driver.Check && op.Cond == driver.Always {
			continue
		}
		key := op.Record.Key
		table := awssdk.String(s.table(key.Kind))
		condition, values := s.condition(op)
		const onFailure = types.ReturnValuesOnConditionCheckFailureAllOld
		var it types.TransactWriteItem
		switch op.Type {
		case driver.Put:
			packed, place, err := s.keep(ctx, op, above)
			if err != nil {
				forget(kept)
				return failed(notApplied(err))
			}
			kept = append(kept, blob{key.Kind, place})
			put := &types.Put{TableName: table, ConditionExpression: condition, ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: onFailure}
			put.Item, versions[i] = s.encode(&op.Record, packed, place)
			it.Put = put
		case driver.Delete:
			it.Delete = &types.Delete{TableName: table, Key: itemKey(key), ConditionExpression: condition, ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: onFailure}
		default:
			it.ConditionCheck = &types.ConditionCheck{TableName: table, Key: itemKey(key), ConditionExpression: condition, ExpressionAttributeValues: values, ReturnValuesOnConditionCheckFailure: onFailure}
		}
		if op.Type != driver.Check && op.Cond == driver.IfVersion {
			old = append(old, blob{key.Kind, blobOf(op.Version)})
		}
		items, at = append(items, it), append(at, i)
	}
	if len(items) == 0 {
		return driver.WriteResult{Versions: versions}
	}
	in := &dynamodb.TransactWriteItemsInput{TransactItems: items, ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes}
	_, err := patiently(ctx, func() (*dynamodb.TransactWriteItemsOutput, error) { return s.db.TransactWriteItems(ctx, in) })
	if err == nil {
		forget(old)
		return driver.WriteResult{Versions: versions}
	}
	result := s.cancellation(ctx, group, at, err)
	if driver.OutcomeOf(result.Err) == driver.NotApplied {
		forget(kept)
	}
	return result
}

// blob is a body that is not in the item of its record.
type blob struct {
	kind  driver.Kind
	place string
}

// cancellation is the result of a transaction that failed.
func (s *Store) cancellation(ctx context.Context, group driver.Group, at []int, err error) driver.WriteResult {
	table := s.table(group[0].Record.Key.Kind)
	cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok {
		return failed(s.writeFault(ctx, table, err))
	}
	var other error
	for i, reason := range cancelled.CancellationReasons {
		switch code := awssdk.ToString(reason.Code); code {
		case "ConditionalCheckFailed":
			current, err := s.current(ctx, reason.Item)
			if err != nil {
				return failed(notApplied(err))
			}
			return conflict(at[i], current)
		case "", "None":
		default:
			other = s.cancelFault(s.table(group[at[i]].Record.Key.Kind), code, awssdk.ToString(reason.Message))
		}
	}
	if other == nil {
		other = driver.Errorf(driver.Internal, "dynamodb: write", "a transaction was cancelled for no reason: %w", err)
	}
	return failed(other)
}

// cancelFault is the error of a transaction that was cancelled for another reason than a condition.
func (s *Store) cancelFault(table, code, message string) error {
	e := &driver.Error{Code: driver.Internal, Op: "dynamodb: write", Message: fmt.Sprintf("table %s: transaction cancelled: %s: %s", table, code, message)}
	switch {
	case code == "TransactionConflict":
		e.Code, e.RetryAfter = driver.Throttled, 50*time.Millisecond
		e.Message = "table " + table + ": others write the same records all the time"
	case code == "ThrottlingError" || code == "ProvisionedThroughputExceeded":
		e.Code, e.RetryAfter = driver.Throttled, 500*time.Millisecond
	case strings.Contains(message, "size"):
		e.Code = driver.TooLarge
	}
	return s.calm.after(table, e)
}

// maxTries bounds how often a write is made that met another one on its way.
const maxTries = 8

// patiently makes a write again that DynamoDB has refused because it met another one on the same record. It is the wait for a lock, and
// tells nothing about the conditions.
func patiently[T any](ctx context.Context, write func() (*T, error)) (*T, error) {
	for try := 1; ; try++ {
		out, err := write()
		if err == nil || try == maxTries || !isMeeting(err) {
			return out, err
		}
		timer := time.NewTimer(time.Duration(try)*2*time.Millisecond + rand.N(time.Duration(try)*8*time.Millisecond))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return out, err
		}
	}
}

func isMeeting(err error) bool {
	if _, ok := errors.AsType[*types.TransactionConflictException](err); ok {
		return true
	}
	cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok {
		return false
	}
	meeting := false
	for _, reason := range cancelled.CancellationReasons {
		switch awssdk.ToString(reason.Code) {
		case "TransactionConflict":
			meeting = true
		case "ConditionalCheckFailed":
			return false
		}
	}
	return meeting
}
