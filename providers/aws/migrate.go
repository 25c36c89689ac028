package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/pop-platform/pop/plugins/driver"
)

// Migrate implements [driver.Store]: it creates the tables and indexes that are missing, and switches time to live on. Tables that are
// made by others it only checks.
func (s *Store) Migrate(ctx context.Context, req driver.MigrateRequest) (driver.MigrateResponse, error) {
	done, err := s.begin(ctx, "migrate")
	if err != nil {
		return driver.MigrateResponse{}, err
	}
	defer done()
	var steps []step
	for _, t := range s.plan(req.Schema) {
		todo, err := s.missing(ctx, t)
		if err != nil {
			return driver.MigrateResponse{}, err
		}
		steps = append(steps, todo...)
	}
	var resp driver.MigrateResponse
	for _, st := range steps {
		resp.Steps = append(resp.Steps, st.what)
	}
	switch {
	case s.config.CheckOnly && len(steps) > 0:
		return driver.MigrateResponse{}, driver.Errorf(driver.Invalid, "dynamodb: migrate",
			"the tables are not as POP needs them, and store.checkOnly forbids to change them: check region and table, or see to this where they are made: %s", strings.Join(resp.Steps, "; "))
	case req.DryRun:
		return resp, nil
	}
	for _, st := range steps {
		if err := st.do(ctx); err != nil {
			return driver.MigrateResponse{}, err
		}
	}
	s.migrated.Store(true)
	return resp, nil
}

// step is something that a migration does, and how it is said.
type step struct {
	what string
	do   func(ctx context.Context) error
}

// wantedTable is a table as a schema needs it.
type wantedTable struct {
	name    string
	indexes []string
}

// plan returns the tables that a schema needs, in order of their names.
func (s *Store) plan(schema driver.Schema) []wantedTable {
	indexes := map[string]map[string]bool{s.config.Table: {}}
	for _, k := range schema.Kinds {
		table := s.table(k.Kind)
		if indexes[table] == nil {
			indexes[table] = map[string]bool{}
		}
		for _, index := range k.Indexes {
			indexes[table][index] = true
		}
	}
	var tables []wantedTable
	for _, name := range sortedKeys(indexes) {
		tables = append(tables, wantedTable{name, sortedKeys(indexes[name])})
	}
	return tables
}

// missing returns the steps that lead to a table.
func (s *Store) missing(ctx context.Context, want wantedTable) ([]step, error) {
	expiry := step{
		fmt.Sprintf("table %s in %s: switch time to live on, by attribute %s", want.name, s.conn.where, attrExpiry),
		func(ctx context.Context) error { return s.enableExpiry(ctx, want.name) },
	}
	is, err := s.db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &want.name})
	if _, absent := errors.AsType[*types.ResourceNotFoundException](err); absent {
		return []step{{
			fmt.Sprintf("table %s in %s: create, billed on demand, with keys %s and %s, %s", want.name, s.conn.where, attrPart, attrSort, describeIndexes(want.indexes)),
			func(ctx context.Context) error { return s.createTable(ctx, want) },
		}, expiry}, nil
	}
	if err != nil {
		return nil, s.fault(ctx, "migrate", want.name, err)
	}
	if got := describeKeys(is.Table.KeySchema); got != attrPart+", "+attrSort {
		return nil, driver.Errorf(driver.Invalid, "dynamodb: migrate", "table %s has the keys %s, POP needs %s, %s; name another table", want.name, got, attrPart, attrSort)
	}
	var steps []step
	for _, index := range want.indexes {
		name := indexName(index)
		at := slices.IndexFunc(is.Table.GlobalSecondaryIndexes, func(g types.GlobalSecondaryIndexDescription) bool { return awssdk.ToString(g.IndexName) == name })
		if at < 0 {
			steps = append(steps, step{
				fmt.Sprintf("table %s in %s: add %s", want.name, s.conn.where, describeIndexes([]string{index})),
				func(ctx context.Context) error { return s.createIndex(ctx, want.name, index) },
			})
			continue
		}
		if err := checkIndex(want.name, index, is.Table.GlobalSecondaryIndexes[at]); err != nil {
			return nil, err
		}
	}
	life, err := s.db.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &want.name})
	if err != nil {
		return nil, s.fault(ctx, "migrate", want.name, err)
	}
	ttl := life.TimeToLiveDescription
	switch status := ttl.TimeToLiveStatus; {
	case status != types.TimeToLiveStatusEnabled && status != types.TimeToLiveStatusEnabling:
		steps = append(steps, expiry)
	case awssdk.ToString(ttl.AttributeName) != attrExpiry:
		return nil, driver.Errorf(driver.Invalid, "dynamodb: migrate",
			"table %s has its time to live by attribute %s, POP needs %s; change it, or name another table", want.name, awssdk.ToString(ttl.AttributeName), attrExpiry)
	}
	return steps, nil
}

func describeIndexes(indexes []string) string {
	texts := make([]string, len(indexes))
	for i, index := range indexes {
		part, sort := indexAttributes(index)
		texts[i] = fmt.Sprintf("index %s (%s, %s; keys only)", indexName(index), part, sort)
	}
	return strings.Join(texts, ", ")
}

func describeKeys(schema []types.KeySchemaElement) string {
	var names []string
	for _, k := range schema {
		names = append(names, awssdk.ToString(k.AttributeName))
	}
	return strings.Join(names, ", ")
}

func checkIndex(table, index string, is types.GlobalSecondaryIndexDescription) error {
	part, sort := indexAttributes(index)
	if got := describeKeys(is.KeySchema); got != part+", "+sort {
		return driver.Errorf(driver.Invalid, "dynamodb: migrate", "index %s of table %s has the keys %s, POP needs %s, %s; make it anew", indexName(index), table, got, part, sort)
	}
	if is.Projection != nil && is.Projection.ProjectionType != types.ProjectionTypeKeysOnly {
		return driver.Errorf(driver.Invalid, "dynamodb: migrate",
			"index %s of table %s projects %s, POP needs KEYS_ONLY: all else multiplies the cost of every write; make it anew", indexName(index), table, is.Projection.ProjectionType)
	}
	return nil
}

func keySchema(part, sort string) []types.KeySchemaElement {
	return []types.KeySchemaElement{
		{AttributeName: &part, KeyType: types.KeyTypeHash}, {AttributeName: &sort, KeyType: types.KeyTypeRange},
	}
}

// attributes defines the keys of a table and of indexes, all of which are texts.
func attributes(indexes []string) []types.AttributeDefinition {
	names := []string{attrPart, attrSort}
	for _, index := range indexes {
		part, sort := indexAttributes(index)
		names = append(names, part, sort)
	}
	all := make([]types.AttributeDefinition, len(names))
	for i := range names {
		all[i] = types.AttributeDefinition{AttributeName: &names[i], AttributeType: types.ScalarAttributeTypeS}
	}
	return all
}

var keysOnly = &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly}

func (s *Store) createTable(ctx context.Context, want wantedTable) error {
	in := &dynamodb.CreateTableInput{
		TableName: &want.name, BillingMode: types.BillingModePayPerRequest,
		KeySchema: keySchema(attrPart, attrSort), AttributeDefinitions: attributes(want.indexes),
	}
	for _, index := range want.indexes {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: awssdk.String(indexName(index)), KeySchema: keySchema(indexAttributes(index)), Projection: keysOnly,
		})
	}
	_, err := s.db.CreateTable(ctx, in)
	if _, other := errors.AsType[*types.ResourceInUseException](err); err != nil && !other { // another server was faster
		return s.fault(ctx, "migrate", want.name, err)
	}
	return s.awaitActive(ctx, want.name)
}

func (s *Store) createIndex(ctx context.Context, table, index string) error {
	if err := s.awaitActive(ctx, table); err != nil { // one index can be added at a time
		return err
	}
	_, err := s.db.UpdateTable(ctx, &dynamodb.UpdateTableInput{
		TableName: &table, AttributeDefinitions: attributes([]string{index}),
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: awssdk.String(indexName(index)), KeySchema: keySchema(indexAttributes(index)), Projection: keysOnly,
		}}},
	})
	if err != nil {
		return s.fault(ctx, "migrate", table, err)
	}
	return s.awaitActive(ctx, table)
}

func (s *Store) enableExpiry(ctx context.Context, table string) error {
	_, err := s.db.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName:               &table,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: awssdk.String(attrExpiry), Enabled: awssdk.Bool(true)},
	})
	if err != nil && strings.Contains(err.Error(), "already enabled") { // another server was faster
		return nil
	}
	return s.fault(ctx, "migrate", table, err)
}

// awaitActive waits until a table and its indexes can be used.
func (s *Store) awaitActive(ctx context.Context, table string) error {
	wait := 50 * time.Millisecond
	for {
		is, err := s.describe(ctx, table)
		if err != nil {
			return err
		}
		building := slices.ContainsFunc(is.GlobalSecondaryIndexes, func(g types.GlobalSecondaryIndexDescription) bool {
			return g.IndexStatus != types.IndexStatusActive && g.IndexStatus != ""
		})
		if is.TableStatus == types.TableStatusActive && !building {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("dynamodb: migrate: table %s is still being made: %w", table, ctx.Err())
		}
		wait = min(2*wait, 5*time.Second)
	}
}

func (s *Store) describe(ctx context.Context, table string) (*types.TableDescription, error) {
	resp, err := s.db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if err != nil {
		return nil, s.fault(ctx, "describe", table, err)
	}
	return resp.Table, nil
}
