package model

// ValidateID returns what is wrong with an id or a name that must be there: it has 1 to 200 bytes of visible UTF-8 and neither
// begins nor ends with space.
func ValidateID(path, id string) []Issue {
	var c checker
	c.required(path, id, "give one")
	return c.result()
}
