package api

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// etag returns the entity tag of a version, which may be any bytes.
func etag(v driver.Version) string {
	return `"` + base64.RawURLEncoding.EncodeToString([]byte(v)) + `"`
}

// versionOf returns the version of an entity tag, with or without its quotes; "" if it is none of ours.
func versionOf(tag string) driver.Version {
	v, err := base64.RawURLEncoding.DecodeString(strings.Trim(tag, `"`))
	if err != nil {
		return ""
	}
	return driver.Version(v)
}

// Conditions are the headers that make a request depend on the state of its object.
type Conditions struct {
	IfMatch     string `header:"If-Match" doc:"Do it only if the object has one of these entity tags; * for any."`
	IfNoneMatch string `header:"If-None-Match" doc:"* to do it only if there is no such object yet."`
}

// check returns a problem if an object, absent if it has no version, is not in the state that the caller wants.
func (c Conditions) check(v driver.Version) error {
	switch {
	case c.IfMatch != "" && v == "":
		return model.Errorf(model.Stale, "there is no such object, and If-Match wants one")
	case c.IfMatch != "" && !matches(c.IfMatch, v):
		return model.Errorf(model.Stale, "the object has changed since it was read: it is %s now, If-Match wants %s", etag(v), c.IfMatch)
	case c.IfNoneMatch == "":
		return nil
	case c.IfNoneMatch != "*":
		return &wire.Problem{
			Type: wire.TypeOf(model.Malformed), Status: http.StatusBadRequest, Detail: "If-None-Match of a change can only be *",
		}
	case v != "":
		return model.Errorf(model.Stale, "there is such an object already, and If-None-Match: * wants none")
	}
	return nil
}

// matches reports whether a list of entity tags holds that of a version. A weak tag is what a proxy made of ours.
func matches(tags string, v driver.Version) bool {
	want := etag(v)
	for tag := range strings.SplitSeq(tags, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || tag == want {
			return true
		}
	}
	return false
}
