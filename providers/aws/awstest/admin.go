package awstest

import (
	"net/http"
	"time"
)

type keyElement struct{ AttributeName, KeyType string }

type attributeDefinition struct{ AttributeName, AttributeType string }

type indexDefinition struct {
	IndexName  string
	KeySchema  []keyElement
	Projection struct{ ProjectionType string }
}

type createTable struct {
	TableName              string
	BillingMode            string
	KeySchema              []keyElement
	AttributeDefinitions   []attributeDefinition
	GlobalSecondaryIndexes []indexDefinition
}

func keysOf(schema []keyElement) (keys, error) {
	if len(schema) != 2 || schema[0].KeyType != "HASH" || schema[1].KeyType != "RANGE" {
		return keys{}, invalid("a key schema must have a HASH and a RANGE key here")
	}
	return keys{schema[0].AttributeName, schema[1].AttributeName}, nil
}

func (s *Server) createTable(_ *http.Request, in *createTable) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables[in.TableName] != nil {
		return nil, &fault{Type: "ResourceInUseException", Message: "Table already exists: " + in.TableName}
	}
	k, err := keysOf(in.KeySchema)
	if err != nil {
		return nil, err
	}
	t := &table{name: in.TableName, keys: k, items: parts{}, indexes: map[string]*index{}, defined: map[string]bool{}}
	t.define(in.AttributeDefinitions)
	for _, d := range in.GlobalSecondaryIndexes {
		if err := t.addIndex(d); err != nil {
			return nil, err
		}
	}
	used := 2 + 2*len(t.indexes)
	if len(t.defined) != used || in.BillingMode != "PAY_PER_REQUEST" {
		return nil, invalid("Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	s.tables[in.TableName] = t
	return map[string]any{"TableDescription": t.describe()}, nil
}

func (t *table) define(definitions []attributeDefinition) {
	for _, d := range definitions {
		if d.AttributeType == "S" {
			t.defined[d.AttributeName] = true
		}
	}
}

func (t *table) addIndex(d indexDefinition) error {
	k, err := keysOf(d.KeySchema)
	if err != nil {
		return err
	}
	if !t.defined[k.part] || !t.defined[k.sort] || d.Projection.ProjectionType != "KEYS_ONLY" || t.indexes[d.IndexName] != nil {
		return invalid("index %s cannot be made", d.IndexName)
	}
	x := &index{keys: k, entries: parts{}}
	for _, m := range t.items {
		m.Scan(func(_ string, it item) bool {
			if e := t.entry(x, it); e != nil {
				x.entries.set(e.text(k.part), t.entrySort(x, e), e)
			}
			return true
		})
	}
	t.indexes[d.IndexName] = x
	return nil
}

func schemaOf(k keys) []keyElement {
	return []keyElement{{k.part, "HASH"}, {k.sort, "RANGE"}}
}

func (t *table) describe() any {
	var indexes []any
	for name, x := range t.indexes {
		indexes = append(indexes, map[string]any{
			"IndexName": name, "IndexStatus": "ACTIVE", "KeySchema": schemaOf(x.keys), "Projection": map[string]any{"ProjectionType": "KEYS_ONLY"},
		})
	}
	return map[string]any{"TableName": t.name, "TableStatus": "ACTIVE", "KeySchema": schemaOf(t.keys), "GlobalSecondaryIndexes": indexes}
}

// table returns a table; s.mu is held.
func (s *Server) table(name string) (*table, error) {
	t := s.tables[name]
	if t == nil {
		return nil, &fault{Type: "ResourceNotFoundException", Message: "Requested resource not found: Table: " + name + " not found"}
	}
	now := time.Now()
	for _, x := range t.indexes {
		t.catchUp(x, now)
	}
	return t, nil
}

func (s *Server) describeTable(_ *http.Request, in *struct{ TableName string }) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	return map[string]any{"Table": t.describe()}, nil
}

type updateTable struct {
	TableName                   string
	AttributeDefinitions        []attributeDefinition
	GlobalSecondaryIndexUpdates []struct{ Create indexDefinition }
}

func (s *Server) updateTable(_ *http.Request, in *updateTable) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	if len(in.GlobalSecondaryIndexUpdates) != 1 {
		return nil, &fault{Type: "LimitExceededException", Message: "Only 1 online index can be created or deleted simultaneously per table"}
	}
	t.define(in.AttributeDefinitions)
	if err := t.addIndex(in.GlobalSecondaryIndexUpdates[0].Create); err != nil {
		return nil, err
	}
	return map[string]any{"TableDescription": t.describe()}, nil
}

type timeToLive struct {
	TableName               string
	TimeToLiveSpecification struct {
		AttributeName string
		Enabled       bool
	}
}

func (s *Server) updateTimeToLive(_ *http.Request, in *timeToLive) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	if t.ttl != "" {
		return nil, invalid("TimeToLive is already enabled")
	}
	t.ttl = in.TimeToLiveSpecification.AttributeName
	return map[string]any{"TimeToLiveSpecification": in.TimeToLiveSpecification}, nil
}

func (s *Server) describeTimeToLive(_ *http.Request, in *struct{ TableName string }) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	description := map[string]string{"TimeToLiveStatus": "DISABLED"}
	if t.ttl != "" {
		description = map[string]string{"TimeToLiveStatus": "ENABLED", "AttributeName": t.ttl}
	}
	return map[string]any{"TimeToLiveDescription": description}, nil
}
