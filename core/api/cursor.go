package api

import (
	"encoding/base64"

	"github.com/pop-platform/pop/core/model"
)

// Paging are the query parameters of every list.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Most items on the page."`
	Cursor string `query:"cursor" doc:"The next of the page before; valid only with the same filters."`
}

// position returns where the cursor points to.
func (p Paging) position() (string, error) {
	at, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil {
		return "", errCursor(p.Cursor)
	}
	return string(at), nil
}

func errCursor(cursor string) error {
	return model.Errorf(model.Malformed, "the cursor %.40q is not the next of a page", cursor)
}

// cursorTo returns the cursor that points to a position, "" if there is none.
func cursorTo(position string) string { return base64.RawURLEncoding.EncodeToString([]byte(position)) }
