package aws

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/pop-platform/pop/plugins/driver"
)

// Scan implements [driver.Store].
func (s *Store) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	done, err := s.begin(ctx, "scan")
	if err != nil {
		return driver.ScanResponse{}, err
	}
	defer done()
	if err := req.Validate(); err != nil {
		return driver.ScanResponse{}, err
	}
	if req.Limit == 0 || req.Limit > maxScanLimit {
		req.Limit = maxScanLimit
	}
	if req.To != "" && req.From >= req.To {
		return driver.ScanResponse{}, nil
	}
	places, err := parseCursor(req.Cursor)
	if err != nil {
		return driver.ScanResponse{}, err
	}
	if req.Index == "" {
		return s.scanRecords(ctx, req, places)
	}
	return s.scanIndex(ctx, req, places)
}

// place is where a scan of one partition goes on: after the item with this key. The last place is that of a partition that has no more.
type place struct {
	Part  string `json:"p,omitempty"` // the keys of the table
	Sort  string `json:"s,omitempty"`
	Index string `json:"i,omitempty"` // the sort key of the index
	Last  bool   `json:"last,omitempty"`
}

func parseCursor(cursor string) ([]place, error) {
	if cursor == "" {
		return nil, nil
	}
	var places []place
	if err := json.Unmarshal([]byte(cursor), &places); err != nil {
		return nil, driver.Errorf(driver.Invalid, "dynamodb: scan", "the cursor is not one of this store: %w", err)
	}
	return places, nil
}

// cursorOf returns the cursor to go on with; empty if no partition has more.
func cursorOf(places []place) (string, error) {
	if !slices.ContainsFunc(places, func(p place) bool { return !p.Last }) {
		return "", nil
	}
	text, err := json.Marshal(places)
	if err != nil {
		return "", driver.Errorf(driver.Internal, "dynamodb: scan", "encode the cursor: %w", err)
	}
	return string(text), nil
}

// scanRecords reads a page of the primary key.
func (s *Store) scanRecords(ctx context.Context, req driver.ScanRequest, places []place) (driver.ScanResponse, error) {
	in := s.query(req, attrPart, attrSort, partKey(req.Kind, req.Part))
	in.ConsistentRead = awssdk.Bool(true)
	in.FilterExpression = awssdk.String(notExpired)
	in.ExpressionAttributeValues[valueNow] = s.nowValue()
	if len(places) == 1 {
		in.ExclusiveStartKey = item{attrPart: text(partKey(req.Kind, req.Part)), attrSort: text(places[0].Sort)}
	}
	resp, err := s.db.Query(ctx, in)
	if err != nil {
		return driver.ScanResponse{}, s.fault(ctx, "scan", *in.TableName, err)
	}
	found := make([]*driver.Record, 0, len(resp.Items))
	for _, it := range resp.Items {
		r, err := s.decode(it)
		if err != nil {
			return driver.ScanResponse{}, driver.Errorf(driver.Corrupt, "dynamodb: scan", "%w", err)
		}
		if r.Key.Sort != req.To {
			found = append(found, r)
		}
	}
	if err := s.refill(ctx, found); err != nil {
		return driver.ScanResponse{}, err
	}
	var out driver.ScanResponse
	for _, r := range found {
		if r.Version != "" && !s.expired(r) {
			out.Records = append(out.Records, *r)
		}
	}
	if len(resp.LastEvaluatedKey) > 0 {
		out.Next, err = cursorOf([]place{{Sort: textOf(resp.LastEvaluatedKey[attrSort])}})
	}
	return out, err
}

// refill fetches bodies that are elsewhere. A record that was replaced meanwhile becomes the one that is there now, or an empty one.
func (s *Store) refill(ctx context.Context, records []*driver.Record) error {
	gone, err := s.fill(ctx, records)
	if err != nil || len(gone) == 0 {
		return err
	}
	again, err := s.read(ctx, gone)
	if err != nil {
		return err
	}
	for i, k := range gone {
		at := slices.IndexFunc(records, func(r *driver.Record) bool { return r.Key == k })
		if *records[at] = (driver.Record{}); again[i] != nil {
			*records[at] = *again[i]
		}
	}
	return nil
}

// scanIndex reads a page of an index, merged from its lanes.
func (s *Store) scanIndex(ctx context.Context, req driver.ScanRequest, places []place) (driver.ScanResponse, error) {
	if places == nil {
		places = make([]place, s.lanes(req.Index))
	}
	pages := make([][]driver.Record, len(places))
	more := make([]bool, len(places))
	err := parallel(len(places), func(lane int) (err error) {
		if !places[lane].Last {
			pages[lane], more[lane], err = s.scanLane(ctx, req, lane, places[lane])
		}
		return err
	})
	if err != nil {
		return driver.ScanResponse{}, err
	}
	var out driver.ScanResponse
	for len(out.Records) < req.Limit {
		lane := firstLane(pages, req.Reverse)
		if lane < 0 {
			break
		}
		r := pages[lane][0]
		pages[lane] = pages[lane][1:]
		out.Records = append(out.Records, r)
		places[lane] = place{Part: partKey(r.Key.Kind, r.Key.Part), Sort: r.Key.Sort, Index: r.Index[0].Sort}
		if len(pages[lane]) == 0 && more[lane] {
			break // what comes next in this lane is not known yet
		}
	}
	for lane := range places {
		places[lane].Last = places[lane].Last || len(pages[lane]) == 0 && !more[lane]
	}
	out.Next, err = cursorOf(places)
	return out, err
}

// firstLane returns the lane whose next entry comes first; -1 if none has one.
func firstLane(pages [][]driver.Record, reverse bool) int {
	first := -1
	for lane, page := range pages {
		if len(page) == 0 {
			continue
		}
		if first < 0 {
			first = lane
			continue
		}
		order := strings.Compare(page[0].Index[0].Sort, pages[first][0].Index[0].Sort)
		if reverse && order > 0 || !reverse && order < 0 {
			first = lane
		}
	}
	return first
}

// scanLane reads entries of one lane of an index, and reports whether there are more.
func (s *Store) scanLane(ctx context.Context, req driver.ScanRequest, lane int, from place) ([]driver.Record, bool, error) {
	part, sort := indexAttributes(req.Index)
	gpk := lanePart(req.Kind, req.Part, lane)
	in := s.query(req, part, sort, gpk)
	in.IndexName = awssdk.String(indexName(req.Index))
	if from.Part != "" {
		in.ExclusiveStartKey = item{attrPart: text(from.Part), attrSort: text(from.Sort), part: text(gpk), sort: text(from.Index)}
	}
	for {
		resp, err := s.db.Query(ctx, in)
		if err != nil {
			return nil, false, s.fault(ctx, "scan", *in.TableName, err)
		}
		var found []driver.Record
		for _, it := range resp.Items {
			r, err := s.decode(it)
			if err != nil {
				return nil, false, driver.Errorf(driver.Corrupt, "dynamodb: scan", "%w", err)
			}
			if r.Index[0].Sort != req.To {
				found = append(found, *r)
			}
		}
		more := len(resp.LastEvaluatedKey) > 0
		if len(found) > 0 || !more {
			return found, more, nil
		}
		in.ExclusiveStartKey = resp.LastEvaluatedKey
	}
}

// query returns the query of a range. As DynamoDB has no half-open ranges, it may find an item at To, which the caller drops.
func (s *Store) query(req driver.ScanRequest, part, sort, partKey string) *dynamodb.QueryInput {
	in := &dynamodb.QueryInput{
		TableName:                 awssdk.String(s.table(req.Kind)),
		ExpressionAttributeNames:  map[string]string{"#p": part},
		ExpressionAttributeValues: item{":p": text(partKey)},
		ScanIndexForward:          awssdk.Bool(!req.Reverse),
		Limit:                     awssdk.Int32(int32(req.Limit)),
		ReturnConsumedCapacity:    types.ReturnConsumedCapacityIndexes,
	}
	condition := "#p = :p"
	if req.From != "" || req.To != "" {
		in.ExpressionAttributeNames["#s"] = sort
	}
	if req.From != "" {
		in.ExpressionAttributeValues[":from"] = text(cutBound(req.From))
	}
	if req.To != "" {
		in.ExpressionAttributeValues[":to"] = text(cutBound(req.To))
	}
	switch {
	case req.From != "" && req.To != "":
		condition += " AND #s BETWEEN :from AND :to"
	case req.From != "":
		condition += " AND #s >= :from"
	case req.To != "":
		condition += " AND #s < :to"
	}
	in.KeyConditionExpression = &condition
	return in
}

// nowValue is the time as expiries are compared with.
func (s *Store) nowValue() types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(s.now().Unix(), 10)}
}
