package simulate

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// recorded is an agenda that has run somewhere.
type recorded struct {
	customer string
	at, took time.Duration
}

// readTrace reads progress of agendas, one after the other or in lists. Times begin with the first agenda that was added. What has
// not run to its end is left out, as nobody knows how long it takes.
func readTrace(path string) ([]recorded, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	var runs []model.AgendaProgress
	for decoder := json.NewDecoder(file); ; {
		var value json.RawMessage
		if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		list := []model.AgendaProgress{{}}
		into := any(&list[0])
		if value[0] == '[' {
			into = &list
		}
		if err := json.Unmarshal(value, into); err != nil {
			return nil, err
		}
		for _, r := range list {
			if r.CustomerID != "" && !r.AddedTime.IsZero() && !r.StartedTime.IsZero() && r.CompletedTime.After(r.StartedTime) {
				runs = append(runs, r)
			}
		}
	}
	if len(runs) == 0 {
		return nil, errors.New("no agenda in it has run: each needs customerId, addedTime, startedTime and completedTime")
	}
	first := runs[0].AddedTime
	for _, r := range runs {
		if r.AddedTime.Before(first) {
			first = r.AddedTime
		}
	}
	agendas := make([]recorded, len(runs))
	for i, r := range runs {
		agendas[i] = recorded{r.CustomerID, r.AddedTime.Sub(first), r.CompletedTime.Sub(r.StartedTime)}
	}
	return agendas, nil
}
