package awstest

import (
	"net/http"
)

// condition is that of a write.
type condition struct {
	ConditionExpression                 *string
	ExpressionAttributeNames            map[string]string
	ExpressionAttributeValues           item
	ReturnValuesOnConditionCheckFailure string
}

// holds reports whether a condition holds for the item that is there, which may be nil.
func (c *condition) holds(there item) (bool, error) {
	e := newExpressions(c.ExpressionAttributeNames, c.ExpressionAttributeValues)
	ok, err := e.holds(there, c.ConditionExpression)
	if err == nil {
		err = e.unused()
	}
	return ok, err
}

func (c *condition) shown(there item) item {
	if c.ReturnValuesOnConditionCheckFailure == "ALL_OLD" {
		return there
	}
	return nil
}

type write struct {
	condition
	TableName              string
	Item                   item // of a put
	Key                    item // of a delete
	ReturnConsumedCapacity string
	ReturnValues           string
}

func (s *Server) putItem(_ *http.Request, in *write) (any, error) {
	return s.writeOne(in, in.Item, in.Item)
}

func (s *Server) deleteItem(_ *http.Request, in *write) (any, error) {
	return s.writeOne(in, in.Key, nil)
}

func (s *Server) writeOne(in *write, key, it item) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	if err := t.checkKey(key, t.keys); err != nil {
		return nil, err
	}
	if it != nil {
		if err := t.checkItem(it); err != nil {
			return nil, err
		}
	}
	part, sort := t.keys.of(key)
	old, _ := t.items.get(part, sort)
	ok, err := in.holds(old)
	if err != nil {
		return nil, err
	}
	if !ok {
		f := &fault{Type: "ConditionalCheckFailedException", Message: "The conditional request failed", more: map[string]any{}}
		if shown := in.shown(old); shown != nil {
			f.more["Item"] = shown
		}
		return nil, f
	}
	cost := t.write(part, sort, it, s.opts.IndexLag)
	answer := map[string]any{"ConsumedCapacity": cost.report(t.name, in.ReturnConsumedCapacity)}
	if in.ReturnValues == "ALL_OLD" && old != nil {
		answer["Attributes"] = old
	}
	return answer, nil
}

type batchWrite struct {
	RequestItems map[string][]struct {
		PutRequest    *struct{ Item item }
		DeleteRequest *struct{ Key item }
	}
	ReturnConsumedCapacity string
}

func (s *Server) batchWriteItem(_ *http.Request, in *batchWrite) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count, bytes := 0, 0
	seen := map[[3]string]bool{}
	for name, requests := range in.RequestItems {
		t, err := s.table(name)
		if err != nil {
			return nil, err
		}
		for _, r := range requests {
			count++
			var key item
			if r.PutRequest != nil {
				key = r.PutRequest.Item
				bytes += key.size()
				if err := t.checkItem(key); err != nil {
					return nil, err
				}
			} else {
				key = r.DeleteRequest.Key
			}
			if err := t.checkKey(key, t.keys); err != nil {
				return nil, err
			}
			part, sort := t.keys.of(key)
			if seen[[3]string{name, part, sort}] {
				return nil, invalid("Provided list of item keys contains duplicates")
			}
			seen[[3]string{name, part, sort}] = true
		}
	}
	if count == 0 || count > maxBatchWrite || bytes > maxBatchBytes {
		return nil, invalid("Too many items or bytes requested for the BatchWriteItem call")
	}
	costs := map[string]capacity{}
	for name, requests := range in.RequestItems {
		t := s.tables[name]
		for _, r := range requests {
			if r.PutRequest != nil {
				part, sort := t.keys.of(r.PutRequest.Item)
				costs[name] = costs[name].add(t.write(part, sort, r.PutRequest.Item, s.opts.IndexLag))
			} else {
				part, sort := t.keys.of(r.DeleteRequest.Key)
				costs[name] = costs[name].add(t.write(part, sort, nil, s.opts.IndexLag))
			}
		}
	}
	return map[string]any{"UnprocessedItems": map[string]any{}, "ConsumedCapacity": reportAll(costs, in.ReturnConsumedCapacity)}, nil
}

type keysToGet struct {
	Keys           []item
	ConsistentRead bool
}

type batchGet struct {
	RequestItems           map[string]keysToGet
	ReturnConsumedCapacity string
}

func (s *Server) batchGetItem(_ *http.Request, in *batchGet) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count, bytes := 0, 0
	responses, left := map[string][]item{}, map[string]keysToGet{}
	costs := map[string]capacity{}
	for name, want := range in.RequestItems {
		t, err := s.table(name)
		if err != nil {
			return nil, err
		}
		seen := map[[2]string]bool{}
		for _, key := range want.Keys {
			if count++; count > maxBatchGet {
				return nil, invalid("Too many items requested for the BatchGetItem call")
			}
			if err := t.checkKey(key, t.keys); err != nil {
				return nil, err
			}
			part, sort := t.keys.of(key)
			if seen[[2]string{part, sort}] {
				return nil, invalid("Provided list of item keys contains duplicates")
			}
			seen[[2]string{part, sort}] = true
			it, ok := t.items.get(part, sort)
			if bytes += it.size(); bytes > maxBatchBytes {
				l := left[name]
				l.ConsistentRead, l.Keys = want.ConsistentRead, append(l.Keys, key)
				left[name] = l
				continue
			}
			units := readUnits(it.size())
			if !want.ConsistentRead {
				units /= 2
			}
			costs[name] = costs[name].add(capacity{table: units})
			if ok {
				responses[name] = append(responses[name], it)
			}
		}
	}
	return map[string]any{"Responses": responses, "UnprocessedKeys": left, "ConsumedCapacity": reportAll(costs, in.ReturnConsumedCapacity)}, nil
}

type transaction struct {
	TransactItems []struct {
		Put            *write
		Delete         *write
		ConditionCheck *write
	}
	ClientRequestToken     string
	ReturnConsumedCapacity string
}

func (s *Server) transactWriteItems(_ *http.Request, in *transaction) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(in.TransactItems); n == 0 || n > maxTxItems {
		return nil, invalid("Member must have length less than or equal to %d", maxTxItems)
	}
	type action struct {
		t          *table
		w          *write
		part, sort string
		it         item
		check      bool
	}
	var actions []action
	bytes := 0
	seen := map[[3]string]bool{}
	for _, entry := range in.TransactItems {
		a := action{}
		var key item
		switch {
		case entry.Put != nil:
			a.w, a.it, key = entry.Put, entry.Put.Item, entry.Put.Item
		case entry.Delete != nil:
			a.w, key = entry.Delete, entry.Delete.Key
		case entry.ConditionCheck != nil:
			a.w, a.check, key = entry.ConditionCheck, true, entry.ConditionCheck.Key
			if a.w.ConditionExpression == nil {
				return nil, invalid("The expression can not be empty")
			}
		}
		t, err := s.table(a.w.TableName)
		if err != nil {
			return nil, err
		}
		a.t = t
		if err := t.checkKey(key, t.keys); err != nil {
			return nil, err
		}
		if a.it != nil {
			if err := t.checkItem(a.it); err != nil {
				return nil, err
			}
		}
		a.part, a.sort = t.keys.of(key)
		if seen[[3]string{t.name, a.part, a.sort}] {
			return nil, invalid("Transaction request cannot include multiple operations on one item")
		}
		seen[[3]string{t.name, a.part, a.sort}] = true
		there, _ := t.items.get(a.part, a.sort)
		if bytes += max(a.it.size(), there.size()); bytes > maxTxBytes {
			return nil, invalid("Collective size of items in transaction has exceeded the maximum size limit of %d bytes", maxTxBytes)
		}
		actions = append(actions, a)
	}
	type reason struct {
		Code    string
		Message string `json:",omitempty"`
		Item    item   `json:",omitempty"`
	}
	reasons, cancelled := make([]reason, len(actions)), false
	for i, a := range actions {
		there, _ := a.t.items.get(a.part, a.sort)
		ok, err := a.w.holds(there)
		if err != nil {
			return nil, err
		}
		if reasons[i].Code = "None"; !ok {
			cancelled = true
			reasons[i] = reason{"ConditionalCheckFailed", "The conditional request failed", a.w.shown(there)}
		}
	}
	if cancelled {
		return nil, &fault{Type: "TransactionCanceledException", Message: "Transaction cancelled", more: map[string]any{"CancellationReasons": reasons}}
	}
	costs := map[string]capacity{}
	for _, a := range actions {
		var cost capacity
		if a.check {
			there, _ := a.t.items.get(a.part, a.sort)
			cost.table = writeUnits(there.size())
		} else {
			cost = a.t.write(a.part, a.sort, a.it, s.opts.IndexLag)
		}
		cost.table *= 2 // prepare and commit
		costs[a.t.name] = costs[a.t.name].add(cost)
	}
	return map[string]any{"ConsumedCapacity": reportAll(costs, in.ReturnConsumedCapacity)}, nil
}

type query struct {
	TableName                 string
	IndexName                 string
	KeyConditionExpression    *string
	FilterExpression          *string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues item
	ExclusiveStartKey         item
	ScanIndexForward          *bool
	ConsistentRead            bool
	Limit                     int
	ReturnConsumedCapacity    string
}

// partition returns the value that a key condition wants the partition key to have.
func (in *query) partition(k keys) string {
	for placeholder, name := range in.ExpressionAttributeNames {
		if name == k.part {
			return in.ExpressionAttributeValues.text(":" + placeholder[1:])
		}
	}
	return ""
}

func (s *Server) query(_ *http.Request, in *query) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	names, from := t.keys, t.items
	var x *index
	if in.IndexName != "" {
		if x = t.indexes[in.IndexName]; x == nil {
			return nil, invalid("The table does not have the specified index: %s", in.IndexName)
		}
		if in.ConsistentRead {
			return nil, invalid("Consistent reads are not supported on global secondary indexes")
		}
		names, from = x.keys, x.entries
	}
	all := from[in.partition(names)]
	return s.page(t, x, in, func(visit func(string, item) bool) {
		if all == nil {
			return
		}
		start := ""
		if in.ExclusiveStartKey != nil {
			if start = in.ExclusiveStartKey.text(t.keys.sort); x != nil {
				start = t.entrySort(x, in.ExclusiveStartKey)
			}
		}
		after := func(sort string, it item) bool { return sort == start || visit(sort, it) }
		switch forward := in.ScanIndexForward == nil || *in.ScanIndexForward; {
		case forward:
			all.Ascend(start, after)
		case start != "":
			all.Descend(start, after)
		default:
			all.Reverse(visit)
		}
	})
}

// page collects a page of a query from the items that walk visits.
func (s *Server) page(t *table, x *index, in *query, walk func(func(string, item) bool)) (any, error) {
	e := newExpressions(in.ExpressionAttributeNames, in.ExpressionAttributeValues)
	var failed error
	fits := func(it item, text *string) bool {
		ok, err := e.holds(it, text)
		if failed == nil {
			failed = err
		}
		return ok
	}
	// An item that has nothing, so that the expressions are looked at even if there is none.
	fits(item{}, in.KeyConditionExpression)
	fits(item{}, in.FilterExpression)
	if failed == nil {
		failed = e.unused()
	}
	var found []item
	var last item
	bytes, seen := 0, 0
	full := func() bool { return in.Limit > 0 && seen == in.Limit || bytes >= maxPageBytes }
	walk(func(_ string, it item) bool {
		if fits(it, in.KeyConditionExpression) {
			seen++
			bytes += it.size()
			last = it
			if fits(it, in.FilterExpression) {
				found = append(found, it)
			}
		}
		return failed == nil && !full()
	})
	if failed != nil {
		return nil, failed
	}
	cost := capacity{indexes: map[string]float64{}}
	units := readUnits(bytes)
	if !in.ConsistentRead {
		units /= 2
	}
	keyNames := []string{t.keys.part, t.keys.sort}
	if x != nil {
		cost.indexes[in.IndexName] = units
		keyNames = append(keyNames, x.keys.part, x.keys.sort)
	} else {
		cost.table = units
	}
	answer := map[string]any{"Items": found, "Count": len(found), "ScannedCount": seen, "ConsumedCapacity": cost.report(t.name, in.ReturnConsumedCapacity)}
	if full() { // as in DynamoDB, even if nothing follows
		answer["LastEvaluatedKey"] = last.only(keyNames...)
	}
	return answer, nil
}
