package awstest

// capacity is what an operation costs.
type capacity struct {
	table   float64
	indexes map[string]float64
}

func writeUnits(bytes int) float64 { return float64(max(1, (bytes+1023)/1024)) }

// readUnits are those of a strongly consistent read; an eventually consistent one costs half.
func readUnits(bytes int) float64 { return float64(max(1, (bytes+4095)/4096)) }

func (c capacity) add(other capacity) capacity {
	sum := capacity{c.table + other.table, map[string]float64{}}
	for _, m := range []map[string]float64{c.indexes, other.indexes} {
		for name, n := range m {
			sum.indexes[name] += n
		}
	}
	return sum
}

// consumed is a capacity as DynamoDB reports it.
type consumed struct {
	TableName              string
	CapacityUnits          float64
	Table                  *units           `json:",omitempty"`
	GlobalSecondaryIndexes map[string]units `json:",omitempty"`
}

type units struct{ CapacityUnits float64 }

func (c capacity) report(table, wanted string) *consumed {
	if wanted != "INDEXES" {
		return nil
	}
	r := &consumed{TableName: table, CapacityUnits: c.table, Table: &units{c.table}, GlobalSecondaryIndexes: map[string]units{}}
	for name, n := range c.indexes {
		r.CapacityUnits += n
		r.GlobalSecondaryIndexes[name] = units{n}
	}
	return r
}

// reportAll is a report of several tables.
func reportAll(costs map[string]capacity, wanted string) []*consumed {
	var all []*consumed
	for table, c := range costs {
		if r := c.report(table, wanted); r != nil {
			all = append(all, r)
		}
	}
	return all
}
