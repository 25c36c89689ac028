// Package strict reads YAML and JSON that people write, and reports every mistake at once with its path: fields that are not
// there, values of the wrong type, keys given twice.
//
// It imports core/model for its issues, and must not know what it reads.
package strict
