package model

import (
	"testing"
)

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, document string
		want           string // the error; none if empty
	}{
		{"nothing", ``, ``},
		{"as deep as may be", `[{"a":[]}]`, ``},
		{"siblings are not nested", `[[[]],[[]],{"a":{}}]`, ``},
		{"too deep in arrays", `[[[[]]]]`, `is nested deeper than 3 levels at byte 4`},
		{"too deep in objects", `{"a":{"b":{"c":{}}}}`, `is nested deeper than 3 levels at byte 16`},
		{"brackets in text are text", `["[[[[", "\"[[[[", "\\"]`, ``},
		{"text ends behind an escaped backslash", `[["\\",[["]"]]]]`, `is nested deeper than 3 levels at byte 9`},
		{"all of Unicode", `["é漢💥", "` + "\uFFFD" + `"]`, ``},
		{"bytes that are no text", "[\"é\xff\"]", `is not UTF-8 at byte 5`},
		{"a character cut off", "\xe6\xbc", `is not UTF-8 at byte 1`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := CheckJSON([]byte(test.document), 3); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
