package aws_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// putOffHalf lets DynamoDB see the first half of a batch, and puts the rest off.
func putOffHalf(operation string, body []byte, next http.RoundTripper, r *http.Request) (*http.Response, error) {
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	items := in["RequestItems"].(map[string]any)
	left := map[string]any{}
	for table, requests := range items {
		switch list := requests.(type) {
		case []any: // writes
			items[table], left[table] = list[:(len(list)+1)/2], list[(len(list)+1)/2:]
		case map[string]any: // reads
			keys := list["Keys"].([]any)
			left[table] = map[string]any{"Keys": keys[(len(keys)+1)/2:], "ConsistentRead": true}
			list["Keys"] = keys[:(len(keys)+1)/2]
		}
	}
	shorter, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	again := r.Clone(r.Context())
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(shorter)), int64(len(shorter))
	resp, err := next.RoundTrip(again)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, err
	}
	if name := map[string]string{"BatchWriteItem": "UnprocessedItems", "BatchGetItem": "UnprocessedKeys"}[operation]; !strings.Contains(string(shorter), `:[]`) {
		out[name] = emptied(left)
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	return answer(http.StatusOK, string(text)), nil
}

// emptied drops the tables of which nothing is left.
func emptied(left map[string]any) map[string]any {
	for table, requests := range left {
		list, ok := requests.([]any)
		if !ok {
			list = requests.(map[string]any)["Keys"].([]any)
		}
		if len(list) == 0 {
			delete(left, table)
		}
	}
	return left
}
