//go:build unix

package process

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

func TestAHandlerAddsOperationsByAFile(t *testing.T) {
	tk := task()
	_, err := newLauncher(t, script(`echo '[{"name": "part", "type": "transcode", "payload": {"n": 1.50}, "when": "always"}]' >"$POP_OPERATIONS_FILE"`)).Launch(t.Context(), tk)
	want := []model.Operation{{Name: "part", Type: "transcode", Payload: json.RawMessage(`{"n":1.50}`), When: "always"}}
	if diff := cmp.Diff(want, tk.Generated()); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestAListOfOperationsThatIsNoneFailsTheOperation(t *testing.T) {
	t.Setenv("PROCESS_TEST_PASSWORD", "hunter22")
	for list, want := range map[string]string{
		`[{"name": "x", "tpye": "y"}]`: `wrote a list of operations that is none: json: unknown field "tpye"`,
		`{"name": "x"}`:                "wrote a list of operations that is none: json: cannot unmarshal object",
		`[`:                            `wrote a list of operations that is not JSON: "["`,
		`[{"name": "x", "type": "y", "payload":"hunter22"}]`: "adds an operation that holds one of its secrets",
	} {
		tk := task()
		_, err := newLauncher(t, withSecrets(t, `cat >"$POP_OPERATIONS_FILE" <<'END'
`+list+`
END`)).Launch(t.Context(), tk)
		if err == nil || !strings.Contains(err.Error(), want) || len(tk.Generated()) > 0 {
			t.Errorf("%s: %v, %v; want %s", list, tk.Generated(), err, want)
		}
	}
}
