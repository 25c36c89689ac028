package awstest

import (
	"regexp"
	"strings"
)

// expression is a condition, a filter or a key condition: comparisons, BETWEEN, attribute_not_exists, AND, OR and parentheses.
type expression struct {
	*expressions
	tokens []string
	it     item
}

// expressions are what the expressions of one request share.
type expressions struct {
	names  map[string]string
	values item
	used   map[string]bool
}

func newExpressions(names map[string]string, values item) *expressions {
	return &expressions{names, values, map[string]bool{}}
}

var token = regexp.MustCompile(`\s*([A-Za-z_][A-Za-z0-9_]*|[#:][A-Za-z0-9_]+|<=|>=|<>|[=<>()])`)

// holds reports whether an item fulfils an expression; none is fulfilled by all.
func (c *expressions) holds(it item, text *string) (bool, error) {
	if text == nil {
		return true, nil
	}
	e := &expression{expressions: c, it: it}
	for rest := *text; strings.TrimSpace(rest) != ""; {
		m := token.FindStringSubmatchIndex(rest)
		if m == nil || m[0] != 0 {
			return false, invalid("Invalid expression: syntax error near %q", rest)
		}
		e.tokens, rest = append(e.tokens, rest[m[2]:m[3]]), rest[m[1]:]
	}
	ok, err := e.or()
	if err == nil && len(e.tokens) > 0 {
		err = invalid("Invalid expression: syntax error near %q", e.tokens[0])
	}
	return ok, err
}

// unused returns an error if a name or a value was in no expression so far, as DynamoDB does.
func (c *expressions) unused() error {
	for name := range c.names {
		if !c.used[name] {
			return invalid("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", name)
		}
	}
	for name := range c.values {
		if !c.used[name] {
			return invalid("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", name)
		}
	}
	return nil
}

func (e *expression) next() string {
	if len(e.tokens) == 0 {
		return ""
	}
	t := e.tokens[0]
	e.tokens = e.tokens[1:]
	return t
}

func (e *expression) is(t string) bool {
	if len(e.tokens) > 0 && strings.EqualFold(e.tokens[0], t) {
		e.tokens = e.tokens[1:]
		return true
	}
	return false
}

func (e *expression) or() (bool, error) {
	left, err := e.and()
	for err == nil && e.is("OR") {
		var right bool
		right, err = e.and()
		left = left || right
	}
	return left, err
}

func (e *expression) and() (bool, error) {
	left, err := e.term()
	for err == nil && e.is("AND") {
		var right bool
		right, err = e.term()
		left = left && right
	}
	return left, err
}

func (e *expression) term() (bool, error) {
	if e.is("(") {
		ok, err := e.or()
		if err == nil && !e.is(")") {
			err = invalid("Invalid expression: a parenthesis is open")
		}
		return ok, err
	}
	if e.is("attribute_not_exists") {
		if !e.is("(") {
			return false, invalid("Invalid expression: attribute_not_exists needs a path")
		}
		name, err := e.name(e.next())
		if err == nil && !e.is(")") {
			err = invalid("Invalid expression: a parenthesis is open")
		}
		_, there := e.it[name]
		return !there, err
	}
	left, there, err := e.operand()
	if err != nil {
		return false, err
	}
	op := e.next()
	right, thereToo, err := e.operand()
	if err != nil {
		return false, err
	}
	if strings.EqualFold(op, "BETWEEN") {
		if !e.is("AND") {
			return false, invalid("Invalid expression: BETWEEN needs AND")
		}
		high, _, err := e.operand()
		if err != nil {
			return false, err
		}
		low, okLow := compare(left, right)
		top, okTop := compare(left, high)
		return there && okLow && okTop && low >= 0 && top <= 0, nil
	}
	c, oneType := compare(left, right)
	ok, err := fits(op, c)
	return ok && there && thereToo && oneType, err
}

func fits(op string, c int) (bool, error) {
	switch op {
	case "=":
		return c == 0, nil
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	case ">=":
		return c >= 0, nil
	}
	return false, invalid("Invalid expression: unknown operator %q", op)
}

func (e *expression) operand() (value attr, there bool, err error) {
	t := e.next()
	if strings.HasPrefix(t, ":") {
		e.used[t] = true
		value, there = e.values[t]
		if !there {
			err = invalid("Invalid expression: An expression attribute value used in expression is not defined; attribute value: %s", t)
		}
		return value, there, err
	}
	name, err := e.name(t)
	value, there = e.it[name]
	return value, there, err
}

// reserved are the words that are not names in an expression, of those that somebody may be tempted to use.
var reserved = map[string]bool{
	"TTL": true, "NAME": true, "VALUE": true, "KEY": true, "DATA": true, "STATUS": true, "COUNT": true, "HASH": true, "INDEX": true,
	"SIZE": true, "SORT": true, "PART": true, "PARTITION": true, "BODY": true, "VERSION": true, "TIME": true, "TYPE": true,
}

func (e *expression) name(t string) (string, error) {
	if strings.HasPrefix(t, "#") {
		name, ok := e.names[t]
		e.used[t] = true
		if !ok {
			return "", invalid("Invalid expression: An expression attribute name used in the document path is not defined; attribute name: %s", t)
		}
		return name, nil
	}
	if t == "" || reserved[strings.ToUpper(t)] {
		return "", invalid("Invalid expression: Attribute name is a reserved keyword; reserved keyword: %s", t)
	}
	return t, nil
}
