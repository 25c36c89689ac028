package model

import (
	"encoding/json"
	"time"
)

// Meta holds the fields that every object has.
type Meta struct {
	ID          string    `json:"id,omitempty" doc:"Unique within its type. Generated when absent; an agenda's id is always the server's."`
	CID         string    `json:"cid,omitempty" maxLength:"200" doc:"Correlation id, free text, copied from an agenda to its progress and to log records."`
	CustomerID  string    `json:"customerId,omitempty" doc:"Customer that owns the object."`
	Title       string    `json:"title,omitempty" maxLength:"400"`
	LinkID      string    `json:"linkId,omitempty" maxLength:"200" doc:"The caller's id that ties all objects of one piece of work together."`
	AddedTime   time.Time `json:"addedTime,omitzero" readOnly:"true"`
	UpdatedTime time.Time `json:"updatedTime,omitzero" readOnly:"true"`
}

// Params is a free-form JSON object. The presence of a key can matter even if its value is null.
type Params map[string]json.RawMessage

// Has reports whether p has the key, whatever its value.
func (p Params) Has(key string) bool {
	_, ok := p[key]
	return ok
}

// Text returns the value of a key as text: a string as it is, anything else as its JSON, and "" for an absent key or null.
func (p Params) Text(key string) string {
	raw, ok := p[key]
	if !ok || string(raw) == "null" {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// Well-known keys of [Params].
const (
	ParamDependsOn      = "dependsOn"      // of an operation: names it waits for
	ParamDoNotRun       = "doNotRun"       // of an agenda: present means store but do not schedule
	ParamDefaultInsight = "defaultInsight" // of an agenda: id or title of the insight to prefer
	ParamExternalID     = "externalId"     // of an agenda: copied to its progress
)
